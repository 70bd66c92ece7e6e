"""Trials on a Ray cluster: on several machines, or on this one."""

import logging
from typing import Any

from hornbook.errors import InputError
from hornbook.tuning.executors.orphan_guard import OrphanGuard, descendants
from hornbook.tuning.executors.packing import Job
from hornbook.tuning.executors.protocol import WorkerDied
from hornbook.tuning.executors.resource_limits import limit_gpu_memory, limit_threads

GPU_MEMORY = 0.9  # The part of a GPU's memory that all workers together may use.


class Ray:
    """Runs several trials at once on a Ray cluster.

    It needs the extra `ray`. The project folder has to be on a file system that all
    machines share, under the same path, and all machines need the same packages.
    Otherwise it works as `Pool` does: a worker stays warm, the code that `build` needs
    is sent along, and a worker or a whole machine that dies costs one trial at most.

    Args:
        address: String, the address of a cluster, such as `"10.0.0.5:6379"` or
            `"auto"`. `None` uses the cluster that `ray.init` was called for, or else
            starts one on this machine, which ends with the search.
        workers: Integer, how many trials run at once. Defaults to as many as fit.
        cpus: Float, the cores of each worker.
        gpus: Float, the GPUs of each worker; 0.25 lets four workers share one.

    Raises:
        InputError: If an argument is wrong, or Ray is not installed.

    Example:

    ```python
    tuner = RandomSearch(build, "val_loss", max_trials=200, executor=Ray("auto"))
    tuner.search(x, y, validation_split=0.2, epochs=10)
    ```
    """

    def __init__(
        self,
        address: str | None = None,
        workers: int | None = None,
        *,
        cpus: float = 1,
        gpus: float = 0,
    ) -> None:
        if workers is not None and not (isinstance(workers, int) and workers > 0):
            raise InputError(
                f"`workers` must be a positive integer. Received: workers={workers!r}"
            )
        if cpus <= 0 or gpus < 0:
            raise InputError(
                "`cpus` must be above 0, and `gpus` at least 0. "
                f"Received: cpus={cpus}, gpus={gpus}"
            )
        try:
            import ray
        except ImportError as error:
            raise InputError(
                "`Ray` needs the package ray: pip install 'hornbook[ray]'"
            ) from error
        self.ray = ray
        self.address, self.wanted = address, workers
        self.workers = workers or 0  # Until `start` counts how many fit.
        self.cpus, self.gpus = cpus, gpus
        self.guard: OrphanGuard | None = None
        self.job: Any = None
        self.actor_class: Any = None
        self.actors: dict[int, Any] = {}
        self.running: dict[Any, int] = {}

    def start(self, job: Job) -> None:
        """Gets ready to run trials; a worker starts when a trial is sent to it.

        Args:
            job: The packed search.
        """
        self.running = {}
        if not self.ray.is_initialized():
            local = {}
            if self.address is None and self.wanted:
                local["num_cpus"] = max(1, round(self.wanted * self.cpus))
            before = descendants()
            self.ray.init(
                self.address,
                include_dashboard=False if self.address is None else None,
                logging_level=logging.WARNING,
                log_to_driver=False,
                **local,
            )
            # If the driver is killed, Ray's agents stay for more than a minute.
            self.guard = OrphanGuard(descendants() - before)
        self.workers = self.wanted or self._count_workers()
        job.environment |= limit_threads(max(1, int(self.cpus)))
        if self.gpus:
            job.environment |= limit_gpu_memory(GPU_MEMORY * min(self.gpus, 1))
        self.job = self.ray.put(job)
        options = {"num_cpus": self.cpus, "num_gpus": self.gpus}
        self.actor_class = self.ray.remote(**options)(_Actor)

    def send(self, worker: int, state: dict[str, Any], end_order: list[str]) -> None:
        """Has a worker run a trial; see `Executor.send`."""
        if worker not in self.actors:
            self.actors[worker] = self.actor_class.remote(self.job)
        self.running[self.actors[worker].run.remote(state, end_order)] = worker

    def receive(self) -> tuple[int, dict[str, Any] | WorkerDied]:
        """Waits until a worker answers or dies; see `Executor.receive`."""
        [done], _ = self.ray.wait(list(self.running), num_returns=1)
        worker = self.running.pop(done)
        try:
            return worker, self.ray.get(done)
        except self.ray.exceptions.RayActorError as error:
            del self.actors[worker]
            first = str(error).strip().splitlines()[0]
            return worker, WorkerDied(f"was killed, or its machine was lost ({first})")

    def stop(self) -> None:
        """Ends all workers, and the cluster if it was started here."""
        for actor in self.actors.values():
            self.ray.kill(actor)
        self.actors, self.running, self.job = {}, {}, None
        if self.guard is not None:
            self.ray.shutdown()
            self.guard.end()
            self.guard = None

    def _count_workers(self) -> int:
        available = self.ray.cluster_resources()
        counts = [available.get("CPU", 0) / self.cpus]
        if self.gpus:
            counts.append(available.get("GPU", 0) / self.gpus)
        count = int(min(counts))
        if count == 0:
            raise InputError(
                f"No worker fits on the cluster, which has {available}. "
                f"Received: cpus={self.cpus}, gpus={self.gpus}"
            )
        return count


class _Actor:
    def __init__(self, job: Job) -> None:
        import sys

        sys.path.extend(entry for entry in job.path if entry not in sys.path)
        from hornbook.tuning.executors.worker import Worker

        self.worker = Worker(job)

    def run(self, state: dict[str, Any], end_order: list[str]) -> dict[str, Any]:
        return self.worker.run(state, end_order)
