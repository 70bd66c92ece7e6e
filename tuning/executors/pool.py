"""Trials in processes of their own, on this machine."""

import contextlib
import os
import pickle
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading

from hornbook.errors import InputError
from hornbook.resource_errors import naming_full_disk
from hornbook.tuning.executors.driver import Died
from hornbook.tuning.executors.protocol import write_job
from hornbook.tuning.executors.resource_limits import share_gpu, share_threads

CODE = """
import sys
sys.path = {path!r}
from hornbook.tuning.executors.pool_process import work
work({file!r})
"""


class Pool:
    """Runs several trials at once, each in a process of its own on this machine.

    Cores and GPU memory are shared out among the workers. The data lie once for all in
    a temporary file (in `TMPDIR`) that they map into memory. A worker stays warm from
    trial to trial. What `build` needs is sent along, also from a script or a notebook,
    and a script needs no `if __name__` guard. Workers print to the error stream, and
    show no progress bars. What `build` or a callback changes in the tuner, or in a
    global variable, changes in that worker only.

    A worker that crashes, or that the system kills for want of memory, costs one trial
    at most: the trial goes on in a new process from its last saved state, and if that
    one dies too, it has failed. (keras-tuner's `max_retries_per_trial` then says
    whether to try again.) Workers end with the process that started them, however it
    ends.

    Args:
        workers: How many trials run at once.
        threads: Threads of each worker. By default its share of the cores, or what
            the environment says (`OMP_NUM_THREADS`, ...).
        gpu_share: The part of a GPU's memory that each worker takes on JAX; by default
            its share of nine tenths. TensorFlow and torch take what they need.

    Raises:
        InputError: if an argument is wrong.

    Example:

    ```python
    tuner = RandomSearch(build, "val_loss", max_trials=30, executor=Pool(workers=3))
    tuner.search(x, y, validation_split=0.2, epochs=10)
    ```
    """

    def __init__(self, workers, *, threads=None, gpu_share=None):
        for name, value in {"workers": workers, "threads": threads or 1}.items():
            if not isinstance(value, int) or value < 1:
                raise InputError(
                    f"`{name}` must be a positive integer. Received: {name}={value!r}"
                )
        if gpu_share is not None and not 0 < gpu_share <= 1:
            raise InputError(
                f"`gpu_share` must be in (0, 1]. Received: gpu_share={gpu_share}"
            )
        self.workers, self.threads, self.gpu_share = workers, threads, gpu_share
        self.folder, self.processes = None, {}

    def start(self, job):
        """Makes ready to run trials of a `Job`; processes start when one is sent."""
        self.folder = tempfile.mkdtemp(prefix="hornbook-pool-")
        file = os.path.join(self.folder, "job")
        with naming_full_disk(self.folder):
            write_job(job, file)
        self.code = CODE.format(path=job.path, file=file)
        self.environment = self._shares(os.environ) | job.environment
        self.answers = queue.Queue()

    def send(self, place, *message):
        """Has the worker in a place, one of `range(workers)`, run a trial."""
        if place not in self.processes:
            self.processes[place] = self._start_process(place)
        pipe = self.processes[place].stdin
        with contextlib.suppress(OSError):  # It has died, and `receive` will say so.
            pickle.dump(message, pipe)
            pipe.flush()

    def receive(self):
        """Waits for a worker.

        Returns:
            Its place, and its answer or `Died`.
        """
        place, answer = self.answers.get()
        if answer is None:
            code = self.processes.pop(place).wait()
            answer = Died(_tell(code))
        return place, answer

    def stop(self):
        """Ends all workers, and gives back what they held."""
        for process in self.processes.values():
            with contextlib.suppress(OSError):
                process.stdin.close()  # Upon which a worker ends.
        for process in self.processes.values():
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
        self.processes = {}
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _shares(self, environment):
        threads = share_threads(self.threads or max(1, _count_cores() // self.workers))
        memory = share_gpu(self.gpu_share or 0.9 / self.workers)
        asked = {}
        if self.threads is not None:
            asked |= threads
        if self.gpu_share is not None:
            asked |= memory
        return threads | memory | dict(environment) | asked

    def _start_process(self, place):
        process = subprocess.Popen(
            [sys.executable, "-c", self.code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=self.environment,
        )
        reader = threading.Thread(
            target=_read, args=(place, process.stdout, self.answers), daemon=True
        )
        reader.start()
        return process


def _read(place, pipe, answers):
    """Passes on what a worker answers, and at its end None."""
    answer = True
    while answer is not None:
        try:
            answer = pickle.load(pipe)
        except (EOFError, OSError, pickle.UnpicklingError):
            answer = None
        answers.put((place, answer))
    pipe.close()


def _count_cores():
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _tell(code):
    if code >= 0:
        return f"ended by itself, with exit status {code}"
    name = signal.Signals(-code).name
    why = ", perhaps by the system for want of memory" if name == "SIGKILL" else ""
    return f"was killed by {name}{why}"
