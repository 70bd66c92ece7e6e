"""Runs one trial: all its trainings, without an oracle, here or in any process."""

import contextlib
import copy
import functools
import os
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import keras_tuner
from keras_tuner.errors import FatalValueError

from hornbook.files import write_json
from hornbook.tuning.trials import record as records
from hornbook.tuning.trials.callbacks import Pruning, ScoredWeights, TrialState
from hornbook.tuning.trials.cross_validation import split_folds
from hornbook.tuning.trials.scoring import score_history
from hornbook.tuning.trials.seeds import run_seed
from hornbook.tuning.warm.compiled_model import CompiledModelCache
from hornbook.tuning.warm.fit_arguments import FitArguments, parse_fit_arguments
from hornbook.tuning.warm.fit_loop import (
    DeviceCache,
    EpochRequests,
    epoch_requests,
    run_epochs,
)
from hornbook.tuning.warm.plain_fit import NeedsPlainFit, check_model
from hornbook.tuning.warm.tensorflow_kernels import keep_kernels
from hornbook.tuning.warm.traced_scalar import signs


@dataclass
class Runner:
    """Runs trials, and keeps what was compiled from one to the next.

    It knows nothing of the oracle, so that a worker in another process can have one.

    Args:
        build: Function from `keras_tuner.HyperParameters` to a compiled model.
        objective: A `keras_tuner.Objective`.
        seed: Integer, the seed of the search.
        warm: Whether trials whose models have the same signature share what was
            compiled.
        score: Rule for `score_history`.
        executions: Integer, how many trainings a trial has, each with its own seed.
        folds: `None`, or the number of folds of a cross-validation; then each execution
            has that many trainings.
        prune: `None`, "median" or "halving".
        save_every: Float, the seconds between two saved states of a training.
        say: Function that tells the user a sentence.
        population: Integer, how many trials are trained at once, or `None`; see
            `hornbook.tuning.warm.population`.
    """

    build: Callable[[keras_tuner.HyperParameters], keras.Model]
    objective: keras_tuner.Objective
    seed: int
    warm: bool = True
    score: Any = "best"
    executions: int = 1
    folds: int | None = None
    prune: str | None = None
    save_every: float = 2.0
    say: Callable[[str], object] = print
    population: int | None = None
    said: set[str] = field(default_factory=set, init=False, repr=False)
    device: DeviceCache = field(default_factory=DeviceCache, init=False, repr=False)
    # What is compiled now, and the seeds that models were built with since it was.
    kept: set[Any] = field(default_factory=set, init=False, repr=False)
    seeds: set[int] = field(default_factory=set, init=False, repr=False)
    cache: CompiledModelCache = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.release_memory()

    def release_memory(self) -> None:
        """Releases the data on the device and what was compiled."""
        self.device, self.kept, self.seeds = DeviceCache(), set(), set()
        if self.population is None:
            self.cache = CompiledModelCache(self._say_once)
        else:
            from hornbook.tuning.warm.population import PopulationCache

            self.cache = PopulationCache(self._say_once)

    def __getstate__(self) -> dict[str, Any]:
        compiled = ("device", "cache", "kept", "seeds")
        return {name: v for name, v in vars(self).items() if name not in compiled}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self.release_memory()

    def _say_once(self, sentence: str) -> None:
        if sentence not in self.said:
            self.said.add(sentence)
            self.say(f"Warm trials: {sentence}.")

    def run(
        self,
        trial_id: str,
        hyperparameters: keras_tuner.HyperParameters,
        folder: str | os.PathLike[str],
        *args: Any,
        groups: Any = None,
        prepare: Callable[..., list[Any]] | None = None,
        earlier: Sequence[Sequence[float]] = (),
        **kwargs: Any,
    ) -> records.Record:
        """Runs a trial, or the rest of one that was interrupted.

        Args:
            trial_id: String. Together with `seed` it determines every random number.
            hyperparameters: A `keras_tuner.HyperParameters`. `build` may add to it.
            folder: Path of the trial's folder, for its record, weights and state.
            *args: Positional arguments of `fit`.
            groups: With `folds`, an array of labels: no group is split.
            prepare: Function from the callbacks given to `fit`, copied, and the number
                of the execution to the callbacks to use.
            earlier: With `prune`, curves of the objective of trials that are done.
            **kwargs: Keyword arguments of `fit`.

        Returns:
            The record, as in `hornbook.tuning.trials.record`.
        """
        requests = self.epoch_requests(
            trial_id,
            hyperparameters,
            folder,
            args,
            kwargs,
            groups=groups,
            prepare=prepare,
            earlier=earlier,
        )
        return run_epochs(requests)

    def epoch_requests(
        self,
        trial_id: str,
        hyperparameters: keras_tuner.HyperParameters,
        folder: str | os.PathLike[str],
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        *,
        groups: Any = None,
        prepare: Callable[..., list[Any]] | None = None,
        earlier: Sequence[Sequence[float]] = (),
    ) -> EpochRequests:
        """As `run`, but leaves it to the caller to run the epochs."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        started = time.monotonic()
        rules = [self.seed, self.score, self.executions, self.folds]
        key = records.trial_key(trial_id, hyperparameters, rules, args, kwargs)
        record = records.read_or_begin(folder, key, self.score)
        path = folder / "checkpoint.weights.h5"
        weights = ScoredWeights(self.objective, self.score, path, record["best"])
        for number, (execution, fold) in enumerate(self._trainings()):
            if number < len(record["runs"]):
                continue
            seed = run_seed(self.seed, trial_id, execution, fold)
            pruning = Pruning(self.prune, self.objective, earlier)
            state = TrialState(folder / f"state-{key}-{number}", self.save_every)
            run = yield from self._train(
                hyperparameters,
                seed,
                args,
                kwargs,
                fold=fold,
                groups=groups,
                prepare=prepare and functools.partial(prepare, execution=execution),
                extra=[pruning, weights, state],
                build_config=folder / "build_config.json",
            )
            run |= {"execution": execution, "fold": fold}
            run["pruned"] = pruning.epoch
            record["runs"].append(run)
            record["best"] = weights.best
            record["seconds"] += time.monotonic() - started
            started = time.monotonic()
            records.save(record, folder)
            shutil.rmtree(state.backup_dir, ignore_errors=True)
            if pruning.epoch is not None:
                break
        return record

    def _trainings(self) -> list[tuple[int, int | None]]:
        folds = [None] if self.folds is None else list(range(self.folds))
        return [(e, fold) for e in range(self.executions) for fold in folds]

    def train(
        self,
        hyperparameters: keras_tuner.HyperParameters,
        seed: int,
        *args: Any,
        **kwargs: Any,
    ) -> records.Record:
        """Trains once.

        A hyperparameter called "batch_size" becomes the `batch_size` of `fit`, unless
        `fit` is given one.

        Args:
            hyperparameters: A `keras_tuner.HyperParameters`.
            seed: Integer, the seed of the training.
            *args: Positional arguments of `fit`.
            **kwargs: Keyword arguments of `fit`.

        Returns:
            Dict of what is recorded of the training, one of the "runs" of a record.
        """
        return run_epochs(self._train(hyperparameters, seed, args, kwargs))

    def _train(
        self,
        hyperparameters: keras_tuner.HyperParameters,
        seed: int,
        args: Sequence[Any],
        kwargs: Mapping[str, Any],
        *,
        fold: int | None = None,
        groups: Any = None,
        prepare: Callable[..., list[Any]] | None = None,
        extra: Sequence[keras.callbacks.Callback] = (),
        build_config: Path | None = None,
    ) -> EpochRequests:
        started = time.monotonic()
        kwargs = dict(kwargs)
        if "batch_size" in hyperparameters.values:
            kwargs.setdefault("batch_size", hyperparameters.values["batch_size"])
        callbacks = _copied(kwargs.pop("callbacks", None) or ())
        if prepare is not None:
            callbacks = prepare(callbacks)
        kwargs["callbacks"] = [*callbacks, *extra]
        model = self._build(hyperparameters, seed)
        compiled, reason, is_warm = None, None, False
        try:
            arguments = parse_fit_arguments(args, kwargs)
            if fold is not None and self.folds is not None:
                arguments = split_folds(arguments, self.folds, fold, groups, self.seed)
            check_model(model)
            cache = self.cache if self.warm else CompiledModelCache(self._say_once)
            compiled, is_warm = self._find(
                cache, model, arguments, hyperparameters, seed
            )
        except NeedsPlainFit as error:
            if fold is not None:
                raise
            reason = str(error)
            self._say_once(f"plain `fit` is used, since {reason}")
        if compiled is None:
            history = self._plain_fit(model, args, kwargs)
        else:
            try:
                history = yield from epoch_requests(
                    compiled, arguments, self.device, seed
                )
            except BaseException:
                cache.drop(compiled)
                raise
            model = compiled.model
        if build_config is not None:
            write_json(build_config, model.get_build_config())
        curves = {name: list(map(float, v)) for name, v in history.history.items()}
        metrics, position = score_history(curves, self.objective, self.score)
        has_stopped = any(getattr(each, "stopped_epoch", 0) for each in callbacks)
        run = {
            "seed": seed,
            "metrics": metrics,
            "epoch": history.epoch[position],
            "epochs": len(history.epoch),
            "stopped_early": has_stopped,
            "curves": curves,
            "seconds": time.monotonic() - started,
            "how": "plain" if compiled is None else "warm" if is_warm else "compiled",
            "why_plain": reason,
        }
        if compiled is not None:
            cache.release(compiled)
        return run

    def _plain_fit(
        self, model: keras.Model, args: Sequence[Any], kwargs: dict[str, Any]
    ) -> keras.callbacks.History:
        if not model.built:  # There are no variables yet to restore.
            callbacks = kwargs["callbacks"]
            callbacks = [c for c in callbacks if not isinstance(c, TrialState)]
            kwargs = kwargs | {"callbacks": callbacks}
        history = model.fit(*args, **kwargs)
        # A name that no later set has: the kernels of this model are not kept.
        self.kept = {model.name}
        return history

    def _build(
        self, hyperparameters: keras_tuner.HyperParameters, seed: int
    ) -> keras.Model:
        before, self.kept = self.kept, set(self.cache.models)
        # The kernels of a model that is gone are released. A seed that comes again has
        # to start from the same state, as TensorFlow's own generators then do.
        may_keep = self.kept and before <= self.kept and seed not in self.seeds
        self.seeds.add(seed)
        with keep_kernels() if may_keep else contextlib.nullcontext():
            keras.utils.clear_session(free_memory=False)
            keras.utils.set_random_seed(seed)
        return self.build(hyperparameters)

    def _find(
        self,
        cache: CompiledModelCache,
        model: keras.Model,
        arguments: FitArguments,
        hyperparameters: keras_tuner.HyperParameters,
        seed: int,
    ) -> tuple[Any, bool]:
        def build_other():
            return self._build(other_values(hyperparameters), seed)

        found = cache.find(model, arguments.first_batch, build_other)
        with keep_kernels():
            keras.utils.set_random_seed(seed)
        return found


def _copied(callbacks: Sequence[Any]) -> list[Any]:
    try:
        return copy.deepcopy(list(callbacks))
    except Exception as error:
        raise FatalValueError(
            "Callbacks are copied for each training, and these cannot be copied. "
            f"Received: callbacks={callbacks}"
        ) from error


def other_values(
    hyperparameters: keras_tuner.HyperParameters,
) -> keras_tuner.HyperParameters:
    """Copies hyperparameters, and gives each active float another value.

    The `signs` of each float stay the same, so that only what traces as a float can
    differ between the two models.

    Args:
        hyperparameters: A `keras_tuner.HyperParameters`.
    """
    other = hyperparameters.copy()
    for each in hyperparameters.space:
        value = other.values.get(each.name)
        if not isinstance(value, float) or not hyperparameters.is_active(each):
            continue
        for probability in (0.35, 0.65, 0.5):
            candidate = each.prob_to_value(probability)
            has_same_signs = signs(float(candidate)) == signs(value)
            if candidate != value and has_same_signs:
                other.values[each.name] = candidate
                break
    return other
