"""Runs the trials of a search side by side in one compiled step, on JAX."""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import keras
from keras_tuner.engine.trial import Trial

from hornbook.errors import InputError


def check_population(size: Any) -> None:
    """Checks that so many trials can be trained at once.

    Args:
        size: The argument `population` of a search.

    Raises:
        InputError: If it is no positive integer, or the backend is not JAX.
    """
    if not isinstance(size, int) or isinstance(size, bool) or size < 1:
        raise InputError(
            f"`population` must be a positive integer. Received: population={size!r}"
        )
    backend = keras.backend.backend()
    if backend != "jax":
        raise InputError(
            "`population` needs the JAX backend: set KERAS_BACKEND=jax, or leave it "
            f"out. Received: population={size} on {backend}"
        )


class PopulationTrials:
    """Runs trials side by side, each until it needs an epoch.

    Args:
        tuner: A `Tuner`.
        size: Integer, how many trials run at once.
        args: Positional arguments of `fit`.
        kwargs: Dict of keyword arguments of `fit`.
    """

    def __init__(
        self, tuner: Any, size: int, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> None:
        self.tuner, self.slots, self.args = tuner, size, args
        # The progress bars of several trials would be mixed up.
        self.kwargs = {**kwargs, "verbose": 0}
        self.running: dict[int, _SteppedTrial] = {}

    def tuner_id(self, slot: int) -> str:
        return f"row{slot}"

    def start(self) -> None:
        """There is nothing to do."""

    def begin(self, slot: int, trial: Trial) -> None:
        self.running[slot] = _SteppedTrial(self.tuner, trial, self.args, self.kwargs)

    def wait(self) -> Iterator[tuple[int, Trial]]:
        while all(each.outcome is None for each in self.running.values()):
            _run_together(list(self.running.values()))
        for slot, each in list(self.running.items()):
            if each.outcome is not None:
                del self.running[slot]
                self.tuner.record_outcome(each.trial, each.outcome)
                yield slot, each.trial

    def stop(self) -> None:
        """There is nothing to do."""


class _SteppedTrial:
    """A trial that has run until it needs an epoch, or has ended.

    Attributes:
        request: The member and the epoch that the trial waits for.
        outcome: Function that returns the trial's record, or raises; `None` while the
            trial runs.
    """

    def __init__(
        self,
        tuner: Any,
        trial: Trial,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
    ) -> None:
        self.trial = trial
        self.request: Any = None  # then a tuple of these two
        self.outcome: Callable[[], Any] | None = None
        self.requests = tuner.runner.epoch_requests(
            trial.trial_id,
            trial.hyperparameters,
            tuner.get_trial_dir(trial.trial_id),
            args,
            {name: value for name, value in kwargs.items() if name != "groups"},
            groups=kwargs.get("groups"),
            prepare=functools.partial(tuner._prepare_callbacks, trial),
            earlier=tuner._earlier_curves(),
        )
        self.advance(functools.partial(next, self.requests))

    def advance(self, step: Callable[[], Any]) -> None:
        """Runs until the next epoch is needed.

        Args:
            step: Function that advances the generator of the requests.
        """
        try:
            self.request = step()
        except StopIteration as end:
            self.outcome = functools.partial(_return, end.value)
        except Exception as error:
            self.outcome = functools.partial(_raise, error)


def _return(value: Any) -> Any:
    return value


def _raise(error: Exception) -> Any:
    raise error


def _run_together(trials: Sequence[_SteppedTrial]) -> None:
    """Runs an epoch of all trials that wait for the same as the first does."""
    first = _compiled_epoch(trials[0])
    alike = [each for each in trials if _compiled_epoch(each) == first]
    population = alike[0].request[0].population
    try:
        answers = population.run_together([each.request for each in alike])
    except Exception as error:
        for each in alike:
            each.advance(functools.partial(each.requests.throw, error))
        return
    for each, logs in zip(alike, answers, strict=True):
        each.advance(functools.partial(each.requests.send, logs))


def _compiled_epoch(trial: _SteppedTrial) -> tuple[Any, ...]:
    """What has to be equal for two trials to run an epoch together."""
    member, (kind, data, order, batch_size) = trial.request
    leaves = keras.tree.flatten(data)
    ids = tuple(map(id, leaves))
    return id(member.population), kind, len(order), batch_size, ids
