"""What the searches of `hornbook.tuning` do differently from keras-tuner's."""

import contextlib
import copy
import functools
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import keras_tuner
from keras_tuner.errors import FailedTrialError, FatalTypeError

from hornbook.errors import InputError
from hornbook.files import write_json
from hornbook.resource_errors import naming_full_disk, naming_full_memory
from hornbook.tuning.executors import driver
from hornbook.tuning.executors.population_driver import PopulationTrials
from hornbook.tuning.executors.protocol import Executor
from hornbook.tuning.search import project
from hornbook.tuning.search.keras_tuner_support import (
    FatalDiskFull,
    Outcome,
    freezing_garbage,
    replaced,
    return_first,
)
from hornbook.tuning.search.tuner_arguments import check_arguments, check_environment
from hornbook.tuning.trials.callbacks import TunerCallbacks
from hornbook.tuning.trials.cross_validation import check_folds
from hornbook.tuning.trials.record import RECORD
from hornbook.tuning.trials.runner import Runner

SEARCH_AGAIN = "call `search` again: it continues where it stopped"


class Tuner(keras_tuner.Tuner):
    """A `keras_tuner.Tuner` with warm and seeded trials, which survives a kill.

    Trials that differ only in floats share one compiled epoch: they are warm. Each
    training has a seed, and a trial's score follows a stated rule. The `hornbook.json`
    of each trial records both, and all curves.

    A trial fails, with a message, and the search continues, if `build` raises, if the
    model does not fit in memory, or if the objective is not a finite number. Three
    failures in a row end the search with an error, as in keras-tuner (which also has
    `max_retries_per_trial`). If the system kills a trial, it kills the search, which
    can be continued; in a worker of an executor only the trial fails. A full disk ends
    the search with an error, and it can be continued once there is space. A search
    space with fewer values than `max_trials`, or an empty one, is searched completely,
    and a message says so. A project folder of another search space, or of another
    version, is refused.

    A subclass that overrides `run_trial`, and a `HyperModel` that overrides `fit`, run
    as in keras-tuner: not warm, without a seed, and from the beginning after a kill.

    Args:
        oracle: As for `keras_tuner.Tuner`.
        hypermodel: As for `keras_tuner.Tuner`.
        warm: Boolean. `False` compiles each trial by itself; the results are the same.
        score: "best", "last" or `("mean", k)`: the epochs whose metrics are the score.
        folds: Integer, the number of folds of a cross-validation over the training
            data, or `None`. `search(..., groups=labels)` keeps examples with the same
            label in the same fold.
        prune: "median" or "halving" stops trials that are worse than earlier trials at
            the same epoch; `None` stops none.
        save_every: Float, the seconds between two saved states of a training.
        population: Integer, how many trials are trained at once, as rows of one
            compiled step, or `None`. It is for a GPU that one small model cannot fill,
            and needs the JAX backend.
        executor: `None` runs the trials in this process, one after the other. A
            `hornbook.tuning.Pool` or `hornbook.tuning.Ray` runs several at once, in
            other processes. A search can be continued with another executor.
        **kwargs: Arguments of `keras_tuner.Tuner`: `directory`,
            `executions_per_trial`, ...

    Raises:
        InputError: If an argument is wrong, if the project folder is corrupted or
            belongs to another search, or if the environment makes keras-tuner a chief
            or a worker.
    """

    is_worker = False  # Whether this is the copy of an executor's worker.

    def __init__(
        self,
        oracle: keras_tuner.Oracle,
        hypermodel: Any = None,
        *,
        warm: bool = True,
        score: Any = "best",
        folds: int | None = None,
        prune: str | None = None,
        save_every: float = 2.0,
        population: int | None = None,
        executor: Executor | None = None,
        **kwargs: Any,
    ) -> None:
        check_arguments(warm, score, folds, prune, population, executor)
        check_environment()
        if hypermodel is None and type(self).run_trial is Tuner.run_trial:
            raise InputError(
                "Only a tuner that overrides `run_trial` needs no hypermodel. "
                "Received: hypermodel=None"
            )
        self._warm, self._save_every, self._executor = warm, save_every, executor
        self._population = population
        self._rules = {"score": score, "folds": folds, "prune": prune}
        self._runner: Runner | None = None
        self._search_arguments: tuple[Any, Any] | None = None
        self._is_reloaded = False
        self._description: dict[str, Any] = {}
        project.save_whole(oracle)
        # keras-tuner gives up after 20 draws of what was tried, with more untried.
        oracle._max_collisions = 1000
        directory = kwargs.get("directory") or "."
        folder = Path(directory, kwargs.get("project_name") or "untitled_project")
        overwrite = kwargs.get("overwrite", False)
        space = oracle.get_space()
        with project.locked(folder) if overwrite else contextlib.nullcontext():
            if not overwrite:
                project.check_files(folder)
            super().__init__(oracle, hypermodel, **kwargs)
        self._initial_space = space
        if population is not None and (
            self._is_customised() or type(self).run_trial is not Tuner.run_trial
        ):
            raise InputError(
                "`population` trains the models itself, so it cannot call a `fit` or a "
                f"`run_trial` of your own. Received: population={population}"
            )
        self._describe_project()

    # --- the project folder

    def save(self) -> None:
        self.oracle.save()
        write_json(self._get_tuner_fname(), self.get_state())

    def reload(self) -> None:
        super().reload()
        self._is_reloaded = True

    def _describe_project(self) -> None:
        path = Path(self.project_dir, "hornbook.json")
        settings = self._rules | {"executions": self.executions_per_trial}
        if not self._is_reloaded:
            self._description = project.describe(self.oracle, settings)
            return
        # The search space as it was when the search began, explored once more.
        found, self.oracle.hyperparameters = (
            self.oracle.hyperparameters,
            self._initial_space,
        )
        self._populate_initial_space()
        self._description = project.describe(self.oracle, settings)
        self.oracle.hyperparameters = found
        if path.exists():
            project.check_same(path, self._description)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Locks the project folder, and loads what is in it."""
        folder = Path(self.project_dir)
        with project.locked(folder):
            if Path(self._get_tuner_fname()).exists():
                project.check_files(folder)
                self.oracle.trials = {}
                self.oracle._retry_queue = []
                self.reload()
                project.reconcile(self.oracle)
            else:
                for path in folder.glob("trial_*"):
                    shutil.rmtree(path)
            write_json(folder / "hornbook.json", self._description)
            self.save()
            yield

    # --- searching

    def search(self, *args: Any, **kwargs: Any) -> None:
        """Searches, or continues a search.

        Args:
            *args: Positional arguments of `fit`.
            **kwargs: Keyword arguments of `fit`. With `folds`, also `groups`, an array
                with a label for each example.

        Raises:
            InputError: If `folds` cannot be applied to the data, or the disk is full.
        """
        self._search_arguments = args, kwargs
        if not self._is_customised():
            others = {name: v for name, v in kwargs.items() if name != "groups"}
            check_folds(self._rules["folds"], args, others, kwargs.get("groups"))
        with (
            naming_full_disk(self.project_dir, SEARCH_AGAIN),
            self._writing(),
            freezing_garbage(),
        ):
            driver.search(self, self._running_trials(args, kwargs), kwargs)
            self._say_what_is_missing()
        self.runner.release_memory()

    def _running_trials(
        self, args: Sequence[Any], kwargs: dict[str, Any]
    ) -> driver.RunningTrials:
        if self._population is not None:
            return PopulationTrials(self, self._population, args, kwargs)
        if self._executor is not None:
            return driver.ExecutorTrials(self, self._executor, args, kwargs)
        return driver.LocalTrials(self, args, kwargs)

    def _say_what_is_missing(self) -> None:
        limit, done = self.oracle.max_trials, len(self.oracle.trials)
        if limit and done < limit:
            self._say(
                f"The search ended after {done} of {limit} trials: the search space "
                "has no other values."
                if self.oracle.get_space().space
                else f"The search ended after {done} of {limit} trials: `build` asks "
                "for no hyperparameters, so the search space is empty."
            )

    def _say(self, sentence: str) -> None:
        print(sentence)

    @property
    def runner(self) -> Runner:
        """The `Runner` that runs the trials of this search in this process."""
        if self._runner is None:
            self._runner = Runner(
                build=self._build,
                objective=self.oracle.objective,
                seed=self.oracle.seed,
                warm=self._warm,
                executions=self.executions_per_trial,
                save_every=self._save_every,
                population=self._population,
                say=self._say,
                **self._rules,
            )
        self._runner.seed = self.oracle.seed
        return self._runner

    def _build(self, hp: keras_tuner.HyperParameters) -> keras.Model:
        model = self._build_hypermodel(hp)
        if not isinstance(model, keras.Model):
            raise FatalTypeError(
                f"`build` must return a Keras model. Received: {model!r}"
            )
        if self.max_model_size and model.built:
            size = model.count_params()
            if size > self.max_model_size:
                raise FailedTrialError(
                    f"The model has {size} parameters, more than `max_model_size`. "
                    f"Received: max_model_size={self.max_model_size}"
                )
        return model

    def run_trial(self, trial: Any, *args: Any, **kwargs: Any) -> Any:
        """Runs a trial.

        Args:
            trial: The `keras_tuner` trial.
            *args: Positional arguments of `fit`.
            **kwargs: Keyword arguments of `fit`.

        Returns:
            An `Outcome`, the metrics.
        """
        if self.is_worker and ("verbose" in kwargs or not self._is_customised()):
            kwargs["verbose"] = 0  # Progress bars of several trials would be mixed up.
        if self._is_customised():
            kwargs.pop("groups", None)
            return super().run_trial(trial, *args, **kwargs)
        record = self.runner.run(
            trial.trial_id,
            trial.hyperparameters,
            self.get_trial_dir(trial.trial_id),
            *args,
            prepare=functools.partial(self._prepare_callbacks, trial),
            earlier=self._earlier_curves(),
            **kwargs,
        )
        return Outcome(record)

    def _run_and_update_trial(self, trial: Any, *args: Any, **kwargs: Any) -> None:
        with (
            naming_full_disk(self.project_dir, SEARCH_AGAIN, FatalDiskFull),
            naming_full_memory(self.runner.release_memory),
        ):
            results = self.run_trial(trial, *args, **kwargs)
        if isinstance(results, Outcome):
            self.oracle.update_trial(trial.trial_id, results, step=results.step)
        else:
            with replaced(self, "run_trial", functools.partial(return_first, results)):
                super()._run_and_update_trial(trial, *args, **kwargs)

    def _is_customised(self) -> bool:
        """Whether code of the user trains the models."""
        fit = getattr(type(self.hypermodel), "fit", None)  # None if there is none.
        return (
            fit not in (None, keras_tuner.HyperModel.fit)
            or type(self)._build_and_fit_model
            is not keras_tuner.Tuner._build_and_fit_model
        )

    def _earlier_curves(self) -> list[list[float]]:
        """With `prune`, the curves of the objective of the trials that have ended."""
        if self._rules["prune"] is None:
            return []
        ended = self.oracle.end_order
        paths = [Path(self.get_trial_dir(trial_id), RECORD) for trial_id in ended]
        records = [json.loads(p.read_bytes()) for p in paths if p.exists()]
        name = self.oracle.objective.name
        return [record["runs"][0]["curves"].get(name, []) for record in records]

    def _prepare_callbacks(
        self, trial: Any, callbacks: list[Any], execution: int
    ) -> list[Any]:
        """The user's callbacks, with TensorBoard's folder set, and the tuner's own."""
        self._configure_tensorboard_dir(callbacks, trial, execution)
        own = TunerCallbacks(self, trial)
        return [*callbacks, own] if own.overridden else callbacks

    def record_outcome(self, trial: Any, outcome: Callable[[], Any]) -> None:
        """Records a trial that has run elsewhere.

        Args:
            trial: The `keras_tuner` trial.
            outcome: Function that returns the trial's record, or raises.
        """

        def run_trial(*args, **kwargs):
            return Outcome(outcome())

        with replaced(self, "run_trial", run_trial):
            self._try_run_and_update_trial(trial)

    def _try_run_and_update_trial(self, trial: Any, *args: Any, **kwargs: Any) -> None:
        super()._try_run_and_update_trial(trial, *args, **kwargs)
        if trial.status in ("INVALID", "FAILED"):
            reason = (trial.message or "").strip().splitlines()[-1:]
            self._say(f"Trial {trial.trial_id} failed: {''.join(reason)}")

    # --- afterwards

    def retrain(self, trial: Any, *args: Any, **kwargs: Any) -> keras.Model:
        """Trains the model of a trial again, from the same seed.

        Args:
            trial: A trial of this search, from `oracle.trials` or
                `oracle.get_best_trials`.
            *args: Positional arguments of `fit`. Defaults to those of the last
                `search`.
            **kwargs: Keyword arguments of `fit`. Defaults to those of the last
                `search`.

        Returns:
            The model, with the weights of the epoch that was scored.

        Raises:
            InputError: If there are no arguments, and nothing was searched before.
        """
        if not args and not kwargs:
            if self._search_arguments is None:
                raise InputError(
                    "Pass the data and the arguments of `search` to `retrain`, because "
                    "`search` was not called in this process. Received: no arguments"
                )
            args, kwargs = self._search_arguments
        own_dir = self.get_trial_dir
        with tempfile.TemporaryDirectory() as folder:

            def trial_dir(trial_id):
                return folder if trial_id == trial.trial_id else own_dir(trial_id)

            with replaced(self, "get_trial_dir", trial_dir):
                self.run_trial(copy.deepcopy(trial), *args, **kwargs)
                return self.load_model(trial)
