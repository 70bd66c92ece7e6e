"""Running one trial: all its trainings, without an oracle, here or in any process."""

import contextlib
import copy
import functools
import hashlib
import json
import shutil
import time
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import keras
import numpy as np
from keras import tree
from keras_tuner.errors import FatalValueError

from hornbook.files import write_json
from hornbook.tuning.trials.checkpoints import ScoredWeights, TrialState
from hornbook.tuning.trials.cross_validation import split_folds
from hornbook.tuning.trials.pruning import Pruning
from hornbook.tuning.trials.scoring import score_history
from hornbook.tuning.trials.seeds import run_seed
from hornbook.tuning.warm.compiled_model import Engines, NotWarm
from hornbook.tuning.warm.epochs import keeping_kernels
from hornbook.tuning.warm.fit_arguments import Device, epochs_of, finish, read_fit
from hornbook.tuning.warm.population import Crowds

RECORD = "hornbook.json"
OWN_METHODS = (
    "fit",
    "evaluate",
    "reset_metrics",
    "make_train_function",
    "make_test_function",
)
UNIMPORTANT = {"callbacks", "verbose"}  # For what a training's state is worth.


@dataclass
class Runner:
    """Runs trials, keeping what was compiled from one to the next.

    It knows nothing of the oracle. An executor in another process makes one there and
    calls `run`.

    Args:
        build: Function from hyperparameters to a compiled model.
        objective: A `keras_tuner.Objective`.
        seed: Integer, of the search.
        warm: Whether trials of the same structure share what was compiled.
        score: Rule for `score_history`.
        executions: How many trainings a trial has, from different seeds.
        folds: None, or the number of folds of a cross-validation; then each execution
            has that many trainings.
        prune: None, "median" or "halving".
        save_every: Seconds between two states of a training.
        say: Function that tells the user a sentence.
        population: How many trials are trained at once, or None; see `population`.
    """

    build: object
    objective: object
    seed: int
    warm: bool = True
    score: object = "best"
    executions: int = 1
    folds: int | None = None
    prune: str | None = None
    save_every: float = 2.0
    say: object = print
    population: int | None = None
    engines: Engines = field(init=False, repr=False)

    def __post_init__(self):
        self.said = set()
        self.forget()

    def forget(self):
        """Lets go of data on the device and of what was compiled."""
        self.device, self.kept, self.seeds = Device(), set(), set()
        kind = Engines if self.population is None else Crowds
        self.engines = kind(self._say_once)

    def __getstate__(self):
        state = dict(vars(self))
        return state | {"device": None, "engines": None, "kept": None}

    def __setstate__(self, state):
        vars(self).update(state)
        self.forget()

    def _say_once(self, sentence):
        if sentence not in self.said:
            self.said.add(sentence)
            self.say(f"Warm trials: {sentence}.")

    def run(
        self,
        trial_id,
        hyperparameters,
        folder,
        *args,
        groups=None,
        prepare=None,
        earlier=(),
        **kwargs,
    ):
        """Runs a trial, or what is left of it.

        Args:
            trial_id: String; with `seed` it decides all that is random.
            hyperparameters: A `keras_tuner.HyperParameters`. `build` may add to it.
            folder: The trial's folder, for its record, weights and state.
            *args: For `fit`.
            groups: With `folds`, an array of labels: no group is split.
            prepare: Function from the callbacks of `fit`, copied, and the number of the
                execution to the callbacks to use.
            earlier: With `prune`, curves of the objective of trials that are done.
            **kwargs: For `fit`.

        Returns:
            The record, a dict that JSON can hold: the metrics, the epoch they are of,
            and each training with its seed, curves and seconds.
        """
        given = {"groups": groups, "prepare": prepare, "earlier": earlier}
        return finish(
            self.steps(trial_id, hyperparameters, folder, args, kwargs, **given)
        )

    def steps(
        self,
        trial_id,
        hyperparameters,
        folder,
        args,
        kwargs,
        *,
        groups=None,
        prepare=None,
        earlier=(),
    ):
        """As `run`, but leaves it to others to run the epochs, as `epochs_of` does."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        started = time.monotonic()
        about = self._identify(trial_id, hyperparameters, args, kwargs)
        record = self._resume(folder, about)
        weights = ScoredWeights(
            self.objective, self.score, folder / "checkpoint.weights.h5"
        )
        weights.best = record["best"]
        for number, (execution, fold) in enumerate(self._trainings()):
            if number < len(record["runs"]):
                continue
            seed = run_seed(self.seed, trial_id, execution, fold)
            pruning = Pruning(self.prune, self.objective, earlier)
            state = TrialState(folder / f"state-{about}-{number}", self.save_every)
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
            self._summarise(record)
            write_json(folder / RECORD, record)
            shutil.rmtree(state.directory, ignore_errors=True)
            if pruning.epoch is not None:
                break
        return record

    def _trainings(self):
        folds = [None] if self.folds is None else range(self.folds)
        return [(e, fold) for e in range(self.executions) for fold in folds]

    def train(self, hyperparameters, seed, *args, **kwargs):
        """Trains once.

        A hyperparameter called "batch_size" is that of `fit`, unless one is given.

        Returns:
            Dict of what is recorded of it.
        """
        return finish(self._train(hyperparameters, seed, args, kwargs))

    def _train(
        self,
        hyperparameters,
        seed,
        args,
        kwargs,
        *,
        fold=None,
        groups=None,
        prepare=None,
        extra=(),
        build_config=None,
    ):
        started = time.monotonic()
        kwargs = dict(kwargs)
        if "batch_size" in hyperparameters.values:
            kwargs.setdefault("batch_size", hyperparameters.values["batch_size"])
        callbacks = _copied(kwargs.pop("callbacks", None) or ())
        if prepare is not None:
            callbacks = prepare(callbacks)
        kwargs["callbacks"] = [*callbacks, *extra]
        model = self._build(hyperparameters, seed)
        engine, reason, warm = None, None, False
        try:
            fit = read_fit(args, kwargs)
            if fold is not None:
                fit = split_folds(fit, self.folds, fold, groups, self.seed)
            check_model(model)
            engines = self.engines if self.warm else Engines(self._say_once)
            engine, warm = self._find_engine(engines, model, fit, hyperparameters, seed)
        except NotWarm as error:
            if fold is not None:
                raise
            reason = str(error)
            self._say_once(f"plain `fit` is used, since {reason}")
        if engine is None:
            if not model.built:  # Nothing to restore a state to.
                callbacks = kwargs["callbacks"]
                states = [c for c in callbacks if isinstance(c, TrialState)]
                kwargs["callbacks"] = [c for c in callbacks if c not in states]
            history = model.fit(*args, **kwargs)
            self.kept = {model.name}  # Something that will be gone.
        else:
            try:
                history = yield from epochs_of(engine, fit, self.device, seed)
            except BaseException:
                engines.drop(engine)
                raise
            model = engine.model
        if build_config is not None:
            write_json(build_config, model.get_build_config())
        curves = {name: list(map(float, v)) for name, v in history.history.items()}
        metrics, place = score_history(curves, self.objective, self.score)
        stopped = [c for c in callbacks if getattr(c, "stopped_epoch", 0)]
        run = {
            "seed": seed,
            "metrics": metrics,
            "epoch": history.epoch[place],
            "epochs": len(history.epoch),
            "stopped_early": bool(stopped),
            "curves": curves,
            "seconds": time.monotonic() - started,
            "how": "plain" if engine is None else "warm" if warm else "compiled",
            "why_plain": reason,
        }
        if engine is not None:
            engines.release(engine)
        return run

    def _build(self, hyperparameters, seed):
        before, self.kept = self.kept, set(self.engines.engines)
        # What was compiled for a model that is gone is let go. A seed that comes again
        # has to start anew, as kernels of TensorFlow's own generators then do.
        may_keep = self.kept and before <= self.kept and seed not in self.seeds
        self.seeds.add(seed)
        with keeping_kernels() if may_keep else contextlib.nullcontext():
            keras.utils.clear_session(free_memory=False)
            keras.utils.set_random_seed(seed)
        return self.build(hyperparameters)

    def _find_engine(self, engines, model, fit, hyperparameters, seed):
        def build_other():
            return self._build(other_values(hyperparameters), seed)

        found = engines.find(model, fit.batch, build_other)
        with keeping_kernels():
            keras.utils.set_random_seed(seed)
        return found

    def _identify(self, trial_id, hyperparameters, args, kwargs):
        """What has to be the same for a trial to go on."""
        given = [*enumerate(args), *sorted(kwargs.items())]
        about = [
            trial_id,
            sorted(hyperparameters.values.items()),
            [self.seed, self.score, self.executions, self.folds],
            [(name, _digest(v)) for name, v in given if name not in UNIMPORTANT],
        ]
        return hashlib.sha256(repr(about).encode()).hexdigest()[:12]

    def _resume(self, folder, about):
        """The record of a trial that was begun; or a new one, in a clean folder."""
        path = folder / RECORD
        if path.exists():
            record = json.loads(path.read_text(encoding="utf-8"))
            if record["about"] == about:
                return record
            path.unlink()
        for state in folder.glob("state-*"):
            if not state.name.startswith(f"state-{about}-"):
                shutil.rmtree(state)
        return {"about": about, "score": self.score, "best": None} | {
            "seconds": 0.0,
            "runs": [],
        }

    def _summarise(self, record):
        runs = record["runs"]
        names = set.intersection(*(set(run["metrics"]) for run in runs))
        table = {name: [run["metrics"][name] for run in runs] for name in sorted(names)}
        record["metrics"] = {name: float(np.mean(v)) for name, v in table.items()}
        record["sd"] = {
            name: float(np.std(v, ddof=1)) if len(v) > 1 else None
            for name, v in table.items()
        }
        record["epoch"] = int(np.mean([run["epoch"] for run in runs]))


def _copied(callbacks):
    try:
        return copy.deepcopy(list(callbacks))
    except Exception as error:
        raise FatalValueError(
            "Callbacks are copied for each training, and these cannot be. "
            f"Received: callbacks={callbacks}"
        ) from error


def _digest(value):
    """What tells data and settings apart, without reading all of the data."""
    leaves = []
    for leaf in tree.flatten(value):
        if hasattr(leaf, "shape") and hasattr(leaf, "dtype"):
            sample = keras.ops.convert_to_numpy(leaf[:64]).tobytes()
            leaves.append((tuple(leaf.shape), str(leaf.dtype), zlib.crc32(sample)))
        elif isinstance(leaf, (bool, int, float, str, type(None))):
            leaves.append(leaf)
        else:
            leaves.append(type(leaf).__name__)
    return leaves


def check_model(model):
    """Raises `NotWarm` if a model trains otherwise than by its `train_step`."""
    kind = type(model)
    for name in OWN_METHODS:
        if getattr(kind, name) is not getattr(keras.Model, name):
            raise NotWarm(f"the model has a `{name}` of its own")
    if not model.compiled or model.optimizer is None:
        raise NotWarm("the model is not compiled with an optimizer")
    if model.run_eagerly:
        raise NotWarm("the model runs eagerly")
    if model.steps_per_execution != 1:
        raise NotWarm("the model has `steps_per_execution`")
    if keras.distribution.distribution() is not None:
        raise NotWarm("a distribution is set")
    strategy = getattr(model, "_distribute_strategy", None)
    if strategy is not None and strategy.num_replicas_in_sync > 1:
        raise NotWarm("the model is distributed")


def other_values(hyperparameters):
    """A copy in which each float that is active has another value in its region."""
    from hornbook.tuning.warm.traced_scalar import region

    other = hyperparameters.copy()
    for each in hyperparameters.space:
        value = other.values.get(each.name)
        if not isinstance(value, float) or not hyperparameters.is_active(each):
            continue
        for probability in (0.35, 0.65, 0.5):
            candidate = each.prob_to_value(probability)
            same = region(float(candidate)) == region(value)
            if candidate != value and same:
                other.values[each.name] = candidate
                break
    return other
