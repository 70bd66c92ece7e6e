"""What an executor is: the methods by which the driver runs trials elsewhere."""

from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from hornbook.tuning.executors.packing import Job


@dataclass(frozen=True)
class WorkerDied:
    """What `Executor.receive` returns if a worker ended before it answered.

    Attributes:
        how: String, the end of the sentence "The worker ...", without a full stop.
    """

    how: str


@runtime_checkable
class Executor(Protocol):
    """Runs trials in other processes.

    `Pool` and `Ray` are executors. Any other object with these attributes and methods
    can be passed to a search as `executor`. Each worker makes a
    `hornbook.tuning.executors.worker.Worker` of the job, and calls its `run` with what
    it is sent.

    Attributes:
        workers: Integer, how many trials run at once. It is read after `start`.
    """

    workers: int

    def start(self, job: Job) -> None:
        """Gets ready to run the trials of a search.

        Args:
            job: What each worker needs.
        """

    def send(self, worker: int, state: dict[str, Any], end_order: list[str]) -> None:
        """Has a worker run a trial, and returns at once.

        A worker that was reported as dead is replaced by a new one.

        Args:
            worker: Integer, in `range(workers)`.
            state: Dict, the state of the trial.
            end_order: List of the ids of the trials that have ended.
        """

    def receive(self) -> tuple[int, dict[str, Any] | WorkerDied]:
        """Waits until a worker answers or dies.

        Returns:
            The number of the worker, and what `Worker.run` returned there.
        """

    def stop(self) -> None:
        """Ends all workers, and frees what they used."""
