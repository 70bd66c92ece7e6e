"""Trials on a Ray cluster: on several machines, or on this one."""

import logging

from hornbook.errors import InputError
from hornbook.tuning.executors.driver import Died
from hornbook.tuning.executors.orphan_guard import Guard, descendants
from hornbook.tuning.executors.resource_limits import share_gpu, share_threads


class Ray:
    """Runs several trials at once on a Ray cluster.

    Needs the extra `ray`. The project folder must be on a file system that all machines
    share, under the same path, and all must have the same packages. Else it is as
    `Pool`: a worker stays warm, what `build` needs is sent along, and a worker that
    dies, or its whole machine, costs one trial at most.

    Args:
        address: Of a cluster, such as `"10.0.0.5:6379"` or `"auto"`. None uses the one
            that `ray.init` was called for, or else starts one on this machine, which
            ends with the search.
        workers: How many trials run at once; by default as many as fit.
        cpus: Cores of each worker.
        gpus: GPUs of each worker; 0.25 lets four share one.

    Example:

    ```python
    tuner = RandomSearch(build, "val_loss", max_trials=200, executor=Ray("auto"))
    tuner.search(x, y, validation_split=0.2, epochs=10)
    ```
    """

    def __init__(self, address=None, workers=None, *, cpus=1, gpus=0):
        if workers is not None and not (isinstance(workers, int) and workers > 0):
            raise InputError(
                f"`workers` must be a positive integer. Received: workers={workers!r}"
            )
        if cpus <= 0 or gpus < 0:
            raise InputError(
                "A worker needs some of a core, and no less than 0 GPUs. "
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
        self.cpus, self.gpus = cpus, gpus
        self.guard, self.actors = None, {}

    def start(self, job):
        """Makes ready to run trials of a `Job`; workers start when they are needed."""
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
            # Of a driver that was killed, Ray's agents stay for more than a minute.
            self.guard = Guard(descendants() - before)
        self.workers = self.wanted or self._count_places()
        job.environment |= share_threads(max(1, int(self.cpus)))
        if self.gpus:
            job.environment |= share_gpu(0.9 * min(self.gpus, 1))
        self.job = self.ray.put(job)
        options = {"num_cpus": self.cpus, "num_gpus": self.gpus}
        self.kind = self.ray.remote(**options)(_Actor)

    def send(self, place, *message):
        """Has the worker in a place, one of `range(workers)`, run a trial."""
        if place not in self.actors:
            self.actors[place] = self.kind.remote(self.job)
        self.running[self.actors[place].run.remote(*message)] = place

    def receive(self):
        """Waits for a worker.

        Returns:
            Its place, and its answer or `Died`.
        """
        [done], _ = self.ray.wait(list(self.running), num_returns=1)
        place = self.running.pop(done)
        try:
            return place, self.ray.get(done)
        except self.ray.exceptions.RayActorError as error:
            del self.actors[place]
            first = str(error).strip().splitlines()[0]
            return place, Died(f"was killed, or its machine was lost ({first})")

    def stop(self):
        """Ends all workers, and the cluster if it was started here."""
        for actor in self.actors.values():
            self.ray.kill(actor)
        self.actors, self.running, self.job = {}, {}, None
        if self.guard is not None:
            self.ray.shutdown()
            self.guard.end()
            self.guard = None

    def _count_places(self):
        have = self.ray.cluster_resources()
        places = [have.get("CPU", 0) / self.cpus]
        if self.gpus:
            places.append(have.get("GPU", 0) / self.gpus)
        count = int(min(places))
        if count == 0:
            raise InputError(
                f"No worker fits the cluster, which has {have}. "
                f"Received: cpus={self.cpus}, gpus={self.gpus}"
            )
        return count


class _Actor:
    def __init__(self, job):
        import sys

        sys.path.extend(entry for entry in job.path if entry not in sys.path)
        from hornbook.tuning.executors.worker import Worker

        self.worker = Worker(job)

    def run(self, state, end_order):
        return self.worker.run(state, end_order)
