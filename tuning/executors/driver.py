"""The search loop: the oracle proposes and records here, trials run anywhere."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from keras_tuner.engine.trial import Trial

from hornbook.tuning.executors.packing import pack
from hornbook.tuning.executors.protocol import Executor, WorkerDied

MAX_DEATHS = 2  # Workers that a trial may cost before it has failed.


class RunningTrials(Protocol):
    """The trials that run at the moment, each in a slot.

    There is an implementation for each place in which trials can run.

    Attributes:
        slots: Integer, how many trials can run at once. It is read after `start`.
    """

    @property
    def slots(self) -> int: ...

    def tuner_id(self, slot: int) -> str:
        """Returns the name by which the oracle knows a slot."""

    def start(self) -> None:
        """Gets ready to run trials."""

    def begin(self, slot: int, trial: Trial) -> None:
        """Begins a trial in a free slot."""

    def wait(self) -> Iterator[tuple[int, Trial]]:
        """Waits, and yields the slots that are free again with the trials that ended.

        It may yield nothing, if something else has happened.
        """

    def stop(self) -> None:
        """Ends what `start` began."""


def search(tuner: Any, trials: RunningTrials, kwargs: Mapping[str, Any]) -> None:
    """Searches as `keras_tuner.Tuner.search` does.

    Args:
        tuner: A `Tuner` that holds its project folder.
        trials: Where the trials run.
        kwargs: Keyword arguments of `fit`.
    """
    if "verbose" in kwargs:
        tuner.oracle.verbose = kwargs["verbose"]
    tuner.on_search_begin()
    try:
        trials.start()
        _run_all(tuner, trials)
    finally:
        trials.stop()
    tuner.on_search_end()


def _run_all(tuner: Any, trials: RunningTrials) -> None:
    occupied: set[int] = set()
    while True:
        _fill_slots(tuner, trials, occupied)
        if not occupied:
            return
        for slot, trial in trials.wait():
            occupied.remove(slot)
            tuner.on_trial_end(trial)


def _fill_slots(tuner: Any, trials: RunningTrials, occupied: set[int]) -> None:
    for slot in range(trials.slots):
        if slot in occupied:
            continue
        tuner.pre_create_trial()
        trial = tuner.oracle.create_trial(trials.tuner_id(slot))
        if trial.status != "RUNNING":  # None is left, or it waits for those that run.
            return
        tuner.on_trial_begin(trial)
        occupied.add(slot)
        trials.begin(slot, trial)


class LocalTrials:
    """Runs one trial after the other, in this process.

    Args:
        tuner: A `Tuner`.
        args: Positional arguments of `fit`.
        kwargs: Dict of keyword arguments of `fit`.
    """

    slots = 1

    def __init__(
        self, tuner: Any, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> None:
        self.tuner, self.args, self.kwargs = tuner, args, kwargs
        self.begun: list[Trial] = []

    def tuner_id(self, slot: int) -> str:
        return self.tuner.tuner_id

    def start(self) -> None:
        """There is nothing to do."""

    def begin(self, slot: int, trial: Trial) -> None:
        self.begun.append(trial)

    def wait(self) -> Iterator[tuple[int, Trial]]:
        trial = self.begun.pop()
        self.tuner._try_run_and_update_trial(trial, *self.args, **self.kwargs)
        yield 0, trial

    def stop(self) -> None:
        """There is nothing to do."""


class ExecutorTrials:
    """Runs trials in the workers of an executor, a slot for each.

    Args:
        tuner: A `Tuner`.
        executor: An `Executor`.
        args: Positional arguments of `fit`.
        kwargs: Dict of keyword arguments of `fit`.
    """

    def __init__(
        self,
        tuner: Any,
        executor: Executor,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
    ) -> None:
        self.tuner, self.executor = tuner, executor
        self.args, self.kwargs = args, kwargs
        self.is_started = False
        self.running: dict[int, Trial] = {}
        self.deaths: Counter[str] = Counter()
        self.said: set[str] = set()

    @property
    def slots(self) -> int:
        return self.executor.workers

    def tuner_id(self, slot: int) -> str:
        return f"worker{slot}"

    def start(self) -> None:
        job = pack(self.tuner, self.args, self.kwargs)
        self.is_started = True
        self.executor.start(job)

    def begin(self, slot: int, trial: Trial) -> None:
        self.running[slot] = trial
        self._send(slot)

    def wait(self) -> Iterator[tuple[int, Trial]]:
        slot, answer = self.executor.receive()
        if isinstance(answer, WorkerDied):
            trial = self._after_death(slot, answer)
        else:
            trial = self._ended(slot, answer)
        if trial is not None:
            yield slot, trial

    def stop(self) -> None:
        if self.is_started:
            self.executor.stop()

    def _send(self, slot: int) -> None:
        state = self.running[slot].get_state()
        self.executor.send(slot, state, list(self.tuner.oracle.end_order))

    def _ended(self, slot: int, answer: dict[str, Any]) -> Trial:
        for sentence in answer["said"]:
            if sentence not in self.said:  # Each worker finds out by itself.
                self.said.add(sentence)
                self.tuner._say(sentence)
        if "error" in answer:
            raise answer["error"]
        trial = Trial.from_state(answer["trial"])
        self.running.pop(slot).metrics = trial.metrics
        return trial

    def _after_death(self, slot: int, died: WorkerDied) -> Trial | None:
        """Sends a trial again; returns it if it has failed."""
        trial = self.running.get(slot)
        if trial is None:  # The worker had nothing to do; `send` starts another.
            return None
        self.deaths[trial.trial_id] += 1
        message = f"Trial {trial.trial_id}: its worker {died.how}"
        if self.deaths[trial.trial_id] < MAX_DEATHS:
            self.tuner._say(f"{message}. The trial goes on in a new worker.")
            self._send(slot)
            return None
        del self.running[slot], self.deaths[trial.trial_id]
        trial.status, trial.message = "INVALID", f"{message}."
        self.tuner._say(f"{message} again, so the trial has failed.")
        return trial
