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
from collections.abc import Mapping
from typing import IO, Any

from hornbook.errors import InputError
from hornbook.resource_errors import naming_full_disk
from hornbook.tuning.executors.packing import Job, write_job
from hornbook.tuning.executors.protocol import WorkerDied
from hornbook.tuning.executors.resource_limits import limit_gpu_memory, limit_threads

CODE = """
import sys
sys.path = {path!r}
from hornbook.tuning.executors.pool_process import work
work({file!r})
"""
GPU_MEMORY = 0.9  # The part of a GPU's memory that all workers together may use.


class Pool:
    """Runs several trials at once, each in a process of its own on this machine.

    The workers share the cores and the GPU memory equally. The data are written once,
    to a temporary file (in `TMPDIR`) that all workers map into memory. A worker stays
    warm from trial to trial. The code that `build` needs is sent along, also from a
    script or a notebook, and a script needs no `if __name__ == "__main__"` guard.
    Workers print to the error stream and show no progress bars. If `build` or a
    callback changes the tuner or a global variable, it changes in that worker only.

    A worker that crashes, or that is killed because the system ran out of memory, costs
    one trial at most: the trial goes on in a new process from its last saved state. If
    that process dies, too, the trial has failed. (keras-tuner's `max_retries_per_trial`
    then says whether to try again.) Workers end with the process that started them,
    even if it is killed.

    Args:
        workers: Integer, how many trials run at once.
        threads: Integer, the threads of each worker. Defaults to its share of the
            cores, or to what the environment says (`OMP_NUM_THREADS`, ...).
        gpu_share: Float in (0, 1], the part of a GPU's memory that each worker
            allocates on JAX. Defaults to its share of nine tenths of the memory.
            TensorFlow and torch allocate what they need.

    Raises:
        InputError: If an argument is wrong.

    Example:

    ```python
    tuner = RandomSearch(build, "val_loss", max_trials=30, executor=Pool(workers=3))
    tuner.search(x, y, validation_split=0.2, epochs=10)
    ```
    """

    def __init__(
        self,
        workers: int,
        *,
        threads: int | None = None,
        gpu_share: float | None = None,
    ) -> None:
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
        self.folder: str | None = None
        self.code = ""
        self.environment: dict[str, str] = {}
        self.processes: dict[int, subprocess.Popen[bytes]] = {}
        self.answers: queue.Queue[tuple[int, Any]] = queue.Queue()

    def start(self, job: Job) -> None:
        """Gets ready to run trials; a process starts when a trial is sent to it.

        Args:
            job: The packed search.
        """
        self.folder = tempfile.mkdtemp(prefix="hornbook-pool-")
        file = os.path.join(self.folder, "job")
        with naming_full_disk(self.folder, "call `search` again"):
            write_job(job, file)
        self.code = CODE.format(path=job.path, file=file)
        self.environment = self._limited(os.environ) | job.environment
        self.answers = queue.Queue()

    def send(self, worker: int, state: dict[str, Any], end_order: list[str]) -> None:
        """Has a worker run a trial; see `Executor.send`."""
        if worker not in self.processes:
            self.processes[worker] = self._start_process(worker)
        pipe: Any = self.processes[worker].stdin
        with contextlib.suppress(OSError):  # It has died, and `receive` will say so.
            pickle.dump((state, end_order), pipe)
            pipe.flush()

    def receive(self) -> tuple[int, dict[str, Any] | WorkerDied]:
        """Waits until a worker answers or dies; see `Executor.receive`."""
        worker, answer = self.answers.get()
        if answer is None:
            code = self.processes.pop(worker).wait()
            answer = WorkerDied(_how_it_ended(code))
        return worker, answer

    def stop(self) -> None:
        """Ends all workers, and deletes the temporary file."""
        for process in self.processes.values():
            pipe: Any = process.stdin
            with contextlib.suppress(OSError):
                pipe.close()  # At which a worker ends.
        for process in self.processes.values():
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
        self.processes = {}
        if self.folder is not None:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _limited(self, environment: Mapping[str, str]) -> dict[str, str]:
        threads = limit_threads(self.threads or max(1, _count_cores() // self.workers))
        memory = limit_gpu_memory(self.gpu_share or GPU_MEMORY / self.workers)
        given: dict[str, str] = {}
        if self.threads is not None:
            given |= threads
        if self.gpu_share is not None:
            given |= memory
        return threads | memory | dict(environment) | given

    def _start_process(self, worker: int) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-c", self.code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=self.environment,
        )
        reader = threading.Thread(
            target=_read, args=(worker, process.stdout, self.answers), daemon=True
        )
        reader.start()
        return process


def _read(worker: int, pipe: IO[bytes], answers: queue.Queue[tuple[int, Any]]) -> None:
    """Passes on what a worker answers, and `None` at its end."""
    answer: Any = True
    while answer is not None:
        try:
            answer = pickle.load(pipe)
        except (EOFError, OSError, pickle.UnpicklingError):
            answer = None
        answers.put((worker, answer))
    pipe.close()


def _count_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _how_it_ended(code: int) -> str:
    if code >= 0:
        return f"ended by itself, with exit status {code}"
    name = signal.Signals(-code).name
    why = ", perhaps because the system ran out of memory" if name == "SIGKILL" else ""
    return f"was killed by {name}{why}"
