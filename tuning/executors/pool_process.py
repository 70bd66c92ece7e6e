"""The process of a worker in a `Pool`."""

import os
import pickle
import queue
import shutil
import signal
import threading
from pathlib import Path
from typing import IO, Any, NoReturn

import cloudpickle

from hornbook.tuning.executors.packing import read_job
from hornbook.tuning.executors.worker import Worker


def work(file: str) -> NoReturn:
    """Runs trials until the driver closes the pipe, or ends.

    Args:
        file: Path of the job.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # The driver gets it, too.
    requests, answers = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)  # What is printed would garble the answers.
    messages: queue.Queue[Any] = queue.Queue()
    listener = threading.Thread(
        target=_listen, args=(requests, messages, file), daemon=True
    )
    listener.start()
    worker = Worker(read_job(file))
    while True:
        answer = worker.run(*messages.get())
        cloudpickle.dump(answer, answers)
        answers.flush()


def _listen(requests: IO[bytes], messages: queue.Queue[Any], file: str) -> NoReturn:
    while True:
        try:
            messages.put(pickle.load(requests))
        except (EOFError, OSError, pickle.UnpicklingError):
            # The driver may have been killed before it could clean up.
            shutil.rmtree(Path(file).parent, ignore_errors=True)
            os._exit(0)
