"""What `hornbook.tuning`'s searches do otherwise than keras-tuner's."""

import contextlib
import copy
import functools
import gc
import json
import os
import shutil
import tempfile
from pathlib import Path

import keras
import keras_tuner
from keras_tuner.errors import FailedTrialError, FatalError, FatalTypeError

from hornbook.errors import InputError
from hornbook.files import write_json
from hornbook.resource_errors import DiskFull, naming_full_disk, naming_full_memory
from hornbook.tuning.executors import driver
from hornbook.tuning.search import project
from hornbook.tuning.trials.cross_validation import check_folds
from hornbook.tuning.trials.hooks import Hooks
from hornbook.tuning.trials.pruning import RULES
from hornbook.tuning.trials.runner import RECORD, Runner
from hornbook.tuning.trials.scoring import check_rule
from hornbook.tuning.warm.population import check_population
from hornbook.tuning.warm.population import search as search_together

WORKERS = (
    "keras-tuner's chief and workers are not used here: they hang when one of them "
    "dies. Unset {names}, and pass `executor=hornbook.tuning.Pool(workers=4)` to run "
    "trials side by side on this machine, or `hornbook.tuning.Ray(address)` on several."
)


SEARCH_AGAIN = "call `search` again: it goes on where it was"


class FatalDiskFull(FatalError, DiskFull):
    """Ends the search: keras-tuner would count any other error against the trial."""


class Tuner(keras_tuner.Tuner):
    """A `keras_tuner.Tuner` with warm, honest trials that survive a kill.

    Warm: trials that differ only in numbers share one compiled epoch. Honest: each
    training has a seed, and the score a stated rule. Each trial's `hornbook.json` has
    both, with all curves.

    A trial fails, which is said, and the search goes on: where `build` raises, where
    the model does not fit in memory, where the objective is not a number. Three
    failures in a row end it with an error, as in keras-tuner (which also has
    `max_retries_per_trial`). A trial that the system kills takes the search with it,
    which can go on; in an executor's worker it fails alone. A full disk ends the search
    with an error, and it goes on once there is room. A space with fewer values than
    `max_trials`, or an empty one, is searched whole, and the search says that it ended
    for that. A folder of another space, or of another version, is refused.

    A subclass that overrides `run_trial`, and a `HyperModel` that overrides `fit`, run
    as in keras-tuner: cold, with no seed of ours, and from the beginning after a kill.

    Args:
        oracle: As for `keras_tuner.Tuner`.
        hypermodel: As for `keras_tuner.Tuner`.
        warm: False compiles each trial by itself; the results are the same.
        score: "best", "last" or ("mean", k): which epochs' metrics are the score.
        folds: Number of folds of a cross-validation over the training data, or None.
            `search(..., groups=labels)` keeps examples with the same label together.
        prune: "median" or "halving" ends trials early that have fallen behind.
        save_every: Seconds between two states of a training, to go on from.
        population: Number of trials to train at once, as rows of one compiled step, or
            None. For a GPU that one small model cannot fill; on the JAX backend only.
        executor: None runs the trials here, one after the other; a
            `hornbook.tuning.Pool` or `hornbook.tuning.Ray` runs several at once, in
            other processes. A search that was stopped can go on in any of them.
        **kwargs: For `keras_tuner.Tuner`: `directory`, `executions_per_trial`, ...

    Raises:
        InputError: if an argument is wrong, the project folder is another search's or
            damaged, or keras-tuner is told to be a chief or a worker.
    """

    def __init__(
        self,
        oracle,
        hypermodel=None,
        *,
        warm=True,
        score="best",
        folds=None,
        prune=None,
        save_every=2.0,
        population=None,
        executor=None,
        **kwargs,
    ):
        if population is not None:
            check_population(population)
            if executor is not None or not warm:
                raise InputError(
                    "`population` trains warm trials in this process. Received: "
                    f"population={population}, warm={warm}, executor={executor!r}"
                )
        if not (executor is None or hasattr(executor, "receive")):
            raise InputError(
                "`executor` must be None, a `hornbook.tuning.Pool` or a "
                f"`hornbook.tuning.Ray`. Received: executor={executor!r}"
            )
        names = [name for name in os.environ if name.startswith("KERASTUNER_ORACLE")]
        if names:
            raise InputError(WORKERS.format(names=" and ".join(sorted(names))))
        if hypermodel is None and type(self).run_trial is Tuner.run_trial:
            raise InputError(
                "Only a tuner that overrides `run_trial` can do without a hypermodel. "
                "Received: hypermodel=None"
            )
        check_rule(score)
        if folds is not None and (not isinstance(folds, int) or folds < 2):
            raise InputError(f"`folds` must be at least 2. Received: folds={folds}")
        if prune not in RULES:
            raise InputError(f"`prune` must be one of {RULES}. Received: prune={prune}")
        self._warm, self._save_every, self._executor = warm, save_every, executor
        self._population = population
        self._rules = {"score": score, "folds": folds, "prune": prune}
        self._runner = self._search_arguments = None
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
                "`population` trains models by itself, and cannot call a `fit` or a "
                f"`run_trial` of one's own. Received: population={population}"
            )
        self._describe_project()

    # --- the project folder

    def save(self):
        self.oracle.save()
        write_json(self._get_tuner_fname(), self.get_state())

    def reload(self):
        super().reload()
        self._is_reloaded = True

    _is_reloaded = False
    is_worker = False  # Whether this is an executor's copy.

    def _describe_project(self):
        path = Path(self.project_dir, "hornbook.json")
        settings = self._rules | {"executions": self.executions_per_trial}
        if not self._is_reloaded:
            self._description = project.describe(self.oracle, settings)
            return
        # What the space was when the search began: found again from the same start.
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
    def _writing(self):
        """Holds the folder, and takes up what is in it."""
        folder = Path(self.project_dir)
        with project.locked(folder):
            if Path(self._get_tuner_fname()).exists():
                project.check_files(folder)
                self.oracle.trials = {}
                self.oracle._retry_queue = []
                self.reload()
                project.mend(self.oracle)
            else:
                for path in folder.glob("trial_*"):
                    shutil.rmtree(path)
            write_json(folder / "hornbook.json", self._description)
            self.save()
            yield

    # --- searching

    def search(self, *args, **kwargs):
        """Searches, or goes on with a search.

        Args:
            *args: For `fit`.
            **kwargs: For `fit`. With `folds`, also `groups`.
        """
        self._search_arguments = args, kwargs
        if not self._is_customised():
            check_folds(self._rules["folds"], args, **kwargs)
        with (
            naming_full_disk(self.project_dir, SEARCH_AGAIN),
            self._writing(),
            collecting(),
        ):
            if self._population is not None:
                search_together(self, self._population, args, kwargs)
            elif self._executor is None:
                super().search(*args, **kwargs)
            else:
                driver.search(self, self._executor, args, kwargs)
            self._say_what_is_missing()
        self.runner.forget()

    def _say_what_is_missing(self):
        limit, done = self.oracle.max_trials, len(self.oracle.trials)
        if limit and done < limit:
            self._say(
                f"The search ended after {done} of {limit} trials: the space has no "
                "other values."
                if self.oracle.get_space().space
                else f"The search ended after {done} of {limit} trials: `build` asked "
                "for no hyperparameters, so that the space is empty."
            )

    def _say(self, sentence):
        print(sentence)

    @property
    def runner(self):
        """The `Runner` of this search, for an executor."""
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

    def _build(self, hp):
        model = self._build_hypermodel(hp)
        if not isinstance(model, keras.Model):
            raise FatalTypeError(
                f"`build` must return a Keras model. Received: {model!r}"
            )
        if self.max_model_size and model.built:
            size = model.count_params()
            if size > self.max_model_size:
                raise FailedTrialError(f"The model has {size} parameters: too many.")
        return model

    def run_trial(self, trial, *args, **kwargs):
        """Runs a trial.

        Returns:
            `Outcome`, the metrics.
        """
        if self.is_worker and ("verbose" in kwargs or not self._is_customised()):
            kwargs["verbose"] = 0  # Progress bars of several would mix.
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

    def _run_and_update_trial(self, trial, *args, **kwargs):
        with (
            naming_full_disk(self.project_dir, SEARCH_AGAIN, FatalDiskFull),
            naming_full_memory(self.runner.forget),
        ):
            results = self.run_trial(trial, *args, **kwargs)
        if isinstance(results, Outcome):
            self.oracle.update_trial(trial.trial_id, results, step=results.step)
        else:
            with _replaced(self, "run_trial", functools.partial(_return, results)):
                super()._run_and_update_trial(trial, *args, **kwargs)

    def _is_customised(self):
        """Whether the user's own code trains."""
        fit = getattr(type(self.hypermodel), "fit", None)  # None: only `run_trial`
        return (
            fit not in (None, keras_tuner.HyperModel.fit)
            or type(self)._build_and_fit_model
            is not keras_tuner.Tuner._build_and_fit_model
        )

    def _earlier_curves(self):
        """Of the trials that are done, with `prune`."""
        if self._rules["prune"] is None:
            return []
        ended = self.oracle.end_order
        paths = [Path(self.get_trial_dir(trial_id), RECORD) for trial_id in ended]
        records = [json.loads(p.read_bytes()) for p in paths if p.exists()]
        name = self.oracle.objective.name
        return [record["runs"][0]["curves"].get(name, []) for record in records]

    def _prepare_callbacks(self, trial, callbacks, execution):
        """Those of the user, TensorBoard's for the trial, and the tuner's own hooks."""
        self._configure_tensorboard_dir(callbacks, trial, execution)
        hooks = Hooks(self, trial)
        return [*callbacks, hooks] if hooks.names else callbacks

    def finish_trial(self, trial, outcome):
        """Records a trial, given a function that returns its record, or raises."""

        def run_trial(*args, **kwargs):
            return Outcome(outcome())

        with _replaced(self, "run_trial", run_trial):
            self._try_run_and_update_trial(trial)
        self.on_trial_end(trial)

    def _try_run_and_update_trial(self, trial, *args, **kwargs):
        super()._try_run_and_update_trial(trial, *args, **kwargs)
        if trial.status in ("INVALID", "FAILED"):
            reason = (trial.message or "").strip().splitlines()[-1:]
            self._say(f"Trial {trial.trial_id} failed: {''.join(reason)}")

    # --- afterwards

    def retrain(self, trial, *args, **kwargs):
        """Trains the model of a trial again, from the same seed.

        Args:
            trial: A trial of this search.
            *args: For `fit`; by default those of the last `search`.
            **kwargs: For `fit`.

        Returns:
            The model, with the weights that the score is about.
        """
        if not args and not kwargs:
            if self._search_arguments is None:
                raise InputError(
                    "Give the data and the arguments of `search` to `retrain`: nothing "
                    "was searched in this process."
                )
            args, kwargs = self._search_arguments
        own_dir = self.get_trial_dir
        with tempfile.TemporaryDirectory() as folder:

            def trial_dir(trial_id):
                return folder if trial_id == trial.trial_id else own_dir(trial_id)

            with _replaced(self, "get_trial_dir", trial_dir):
                self.run_trial(copy.deepcopy(trial), *args, **kwargs)
                return self.load_model(trial)


@contextlib.contextmanager
def _replaced(instance, name, value):
    vars(instance)[name] = value
    try:
        yield
    finally:
        del vars(instance)[name]


def _return(results, *args, **kwargs):
    return results


class Outcome(dict):
    """Metrics of a trial, and the `step` that they are of."""

    def __init__(self, record):
        super().__init__(record["metrics"])
        self.step = record["epoch"]


@contextlib.contextmanager
def collecting():
    """Lets garbage collection pass over all that existed before."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
