"""The process of a worker in a `Pool`."""

import os
import pickle
import queue
import shutil
import signal
import threading
from pathlib import Path

import cloudpickle

from hornbook.tuning.executors.protocol import read_job
from hornbook.tuning.executors.worker import Worker


def work(file):
    """Runs trials until the driver closes the pipe, or ends.

    Args:
        file: Path of the job.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # The driver hears it too.
    asked, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)  # What is printed would garble the answers.
    messages = queue.Queue()
    threading.Thread(target=_listen, args=(asked, messages, file), daemon=True).start()
    worker = Worker(read_job(file))
    while True:
        answer = worker.run(*messages.get())
        cloudpickle.dump(answer, answers)
        answers.flush()


def _listen(asked, messages, file):
    while True:
        try:
            messages.put(pickle.load(asked))
        except (EOFError, OSError, pickle.UnpicklingError):
            # The driver may have had no time to tidy up.
            shutil.rmtree(Path(file).parent, ignore_errors=True)
            os._exit(0)
