"""Searching widely and cheaply first, then finely where that did well."""

import copy
import json
import math
import shutil
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import keras
import keras_tuner

from hornbook.errors import InputError
from hornbook.files import write_json
from hornbook.tuning.search import project
from hornbook.tuning.search.grid import coarsen
from hornbook.tuning.search.narrowing import (
    KEEP,
    TRIALS_AT_LEAST,
    apply,
    bounds,
    narrow,
)
from hornbook.tuning.search.tuners import GridSearch, RandomSearch
from hornbook.tuning.trials.seeds import run_seed
from hornbook.tuning.warm.fit_arguments import read_fit

KINDS = {"random": RandomSearch, "grid": GridSearch}
STATE = "coarse_to_fine.json"


@dataclass(frozen=True)
class Stage:
    """A part of a search.

    Attributes:
        search: "random" or "grid".
        share: Of all epochs that may be trained.
        length: Of a training, as a share of the `epochs` of `search`.
    """

    search: str = "random"
    share: float = 1.0
    length: float = 1.0


STAGES = (Stage(share=0.4, length=0.25), Stage(share=0.6))


class CoarseToFine:
    """Screens wide ranges with short trainings, narrows them, and searches finely.

    All stages together train no more epochs than `max_trials` whole trainings. By
    default 40 % go to trainings of a quarter of the length, over the whole space, and
    the rest to whole trainings in the region where the best quarter of those lay
    (`hornbook.tuning.search.narrowing.narrow` has the rule). Each stage is a
    `RandomSearch` or `GridSearch` in a folder of its own, `stage-1`, `stage-2`, ... A
    killed search goes on where it was.

    Scores of short trainings are not comparable with those of whole ones. So what is
    best is taken from the last stage alone.

    Args:
        hypermodel: As for `keras_tuner.RandomSearch`.
        objective: As for `keras_tuner.RandomSearch`.
        max_trials: How many whole trainings would cost as much as all stages.
        stages: List of at least two `Stage`; the shares add up to 1.
        keep: Share of a stage's trials that count as its best.
        find_rate: Name of the hyperparameter that is the learning rate. Before the
            first stage `find_learning_rate` then narrows it to a tenth to ten times the
            rate where the loss falls fastest, and below where it blows up.
        hyperparameters: As for `keras_tuner.RandomSearch`.
        seed: Integer. By default drawn, and kept in the folder.
        directory: As for `keras_tuner.RandomSearch`.
        project_name: As for `keras_tuner.RandomSearch`.
        overwrite: As for `keras_tuner.RandomSearch`.
        **kwargs: For the searches, as `RandomSearch` of this package takes them.

    Attributes:
        narrowing: List of dicts, one for each narrowing: "stage", "trials", "best" and
            "changes", as `narrow` returns them.
        tuners: The searches of the stages that were begun.

    Raises:
        InputError: if an argument is wrong, or the folder is another search's.

    Example:

    ```python
    search = CoarseToFine(build, "val_accuracy", max_trials=30, directory="searches")
    search.search(x, y, epochs=20, validation_data=(x_held, y_held))
    print(search.explain())
    ```
    """

    def __init__(
        self,
        hypermodel,
        objective,
        max_trials=30,
        *,
        stages=STAGES,
        keep=KEEP,
        find_rate=None,
        hyperparameters=None,
        seed=None,
        directory=None,
        project_name=None,
        overwrite=False,
        **kwargs,
    ):
        _check(stages, keep)
        self.hypermodel, self.objective = hypermodel, objective
        self.max_trials, self.stages, self.keep = max_trials, list(stages), keep
        self.find_rate, self.options = find_rate, kwargs
        self.project_dir = Path(directory or ".", project_name or "untitled_project")
        explorer = _explorer(hypermodel, objective, hyperparameters)
        self.oracle, self._build = explorer.oracle, explorer.hypermodel.build
        self.space = self.oracle.get_space()
        if find_rate is not None and find_rate not in [
            each.name for each in self.space.space if hasattr(each, "min_value")
        ]:
            raise InputError(
                f"`find_rate` must name a range of the space. Received: {find_rate}"
            )
        if overwrite:
            with project.locked(self.project_dir):
                shutil.rmtree(self.project_dir, ignore_errors=True)
        about = {
            "stages": [asdict(each) for each in self.stages],
            "keep": keep,
            "max_trials": max_trials,
            "find_rate": find_rate,
        }
        self._state = project.describe(self.oracle, about) | {
            "seed": self.oracle.seed if seed is None else seed,
            "plan": None,
            "narrowing": [],
        }
        self.tuners = []
        self._reload(seed)

    @property
    def narrowing(self):
        return self._state["narrowing"]

    @property
    def plan(self):
        """List of dicts, one a stage: "search", "trials", "epochs" and "name"."""
        return self._state["plan"]

    def search(self, *args, epochs=1, **kwargs):
        """Searches, or goes on with a search.

        Args:
            *args: For `fit`.
            epochs: Of a whole training.
            **kwargs: For `fit`, and `groups`, as for `RandomSearch.search`.

        Raises:
            InputError: before a trial, if the trials are too few for the stages, or
                the search was begun with other epochs.
            RuntimeError: if no trial of a stage succeeds.
        """
        plan = self.plan_for(epochs)
        if self.plan not in (None, plan):
            raise InputError(
                f"`{self.project_dir}` was begun for other epochs: its stages are "
                f"{self.plan}. Received: epochs={epochs}"
            )
        with project.locked(self.project_dir):
            self._state["plan"] = plan
            self._save()
            if self.find_rate and not self.narrowing:
                self._look_for_rate(args, kwargs)
            for number, stage in enumerate(plan):
                tuner = self._tuner(number)
                tuner.search(*args, epochs=stage["epochs"], **kwargs)
                is_last = number == len(plan) - 1
                done = {each["stage"] for each in self.narrowing}
                if not is_last and stage["name"] not in done:
                    self._narrow(tuner, stage["name"])

    # --- the folder

    def _reload(self, seed):
        path = self.project_dir / STATE
        if not path.exists():
            return
        project.check_files(self.project_dir)
        there = json.loads(path.read_text(encoding="utf-8"))
        ignored = {"plan", "narrowing"} | (set() if seed is not None else {"seed"})
        here = {name: v for name, v in self._state.items() if name not in ignored}
        project.check_same(path, here | {name: there[name] for name in ignored})
        self._state = there
        for number, stage in enumerate(self.plan or ()):
            if (self.project_dir / stage["name"] / "oracle.json").exists():
                self._tuner(number)

    def _save(self):
        self.project_dir.mkdir(parents=True, exist_ok=True)
        write_json(self.project_dir / STATE, self._state)

    # --- the stages

    def plan_for(self, epochs):
        """What `plan` is for trainings of so many epochs.

        Raises:
            InputError: if the trials are too few for the stages.
        """
        plan = []
        for number, stage in enumerate(self.stages, 1):
            length = max(1, round(epochs * stage.length))
            # Shares such as 0.6 are a little less than they say.
            trials = math.floor(self.max_trials * epochs * stage.share / length + 1e-9)
            is_last = number == len(self.stages)
            if trials < (1 if is_last else TRIALS_AT_LEAST):
                raise InputError(
                    f"Stage {number} has {trials} trials of {length} epochs, which is "
                    "too few to narrow anything. "
                    f"Received: max_trials={self.max_trials}, epochs={epochs}"
                )
            if stage.search == "grid":
                trials = coarsen(self.space, trials)[1]
            plan.append(
                {"name": f"stage-{number}", "search": stage.search}
                | {"trials": trials, "epochs": length}
            )
        return plan

    def _tuner(self, number):
        """The search of a stage, made when it is first asked for."""
        if number == len(self.tuners):
            stage = self.plan[number]
            space = self._space_of(number)
            if stage["search"] == "grid":
                space, _ = coarsen(space, stage["trials"])
            tuner = KINDS[stage["search"]](
                self.hypermodel,
                self.objective,
                max_trials=stage["trials"],
                hyperparameters=space,
                seed=run_seed(self._state["seed"], stage["name"], execution=0),
                directory=str(self.project_dir),
                project_name=stage["name"],
                **self.options,
            )
            self.tuners.append(tuner)
        self.oracle = self.tuners[number].oracle
        return self.tuners[number]

    def _space_of(self, number):
        space = self.space
        before = {"find_rate", *(stage["name"] for stage in self.plan[:number])}
        for each in self.narrowing:
            if each["stage"] in before:
                space = apply(space, each["changes"], each["defaults"])
        return space

    def _narrow(self, tuner, name):
        trials = [tuner.oracle.trials[key] for key in tuner.oracle.end_order]
        rows = [(dict(each.hyperparameters.values), each.score) for each in trials]
        best = tuner.oracle.get_best_trials(1)
        if not _has_success(tuner):
            raise RuntimeError(  # As keras-tuner's, where several fail in a row.
                f"No trial of {name} succeeded, so that there is nothing to narrow to: "
                f"see the messages in {tuner.project_dir}."
            )
        space = self._space_of(self._numbers()[name])
        is_max = tuner.oracle.objective.direction == "max"
        changes = narrow(space, rows, is_max, self.keep)
        defaults = dict(best[0].hyperparameters.values)
        self._record(name, len(rows), changes, defaults)

    def _numbers(self):
        return {stage["name"]: number for number, stage in enumerate(self.plan)}

    def _record(self, name, trials, changes, defaults):
        self.narrowing.append(
            {"stage": name, "trials": trials, "changes": changes, "defaults": defaults}
        )
        self._save()
        for sentence in _tell(self.narrowing[-1]):
            print(sentence)

    def _look_for_rate(self, args, kwargs):
        from hornbook.recipes.optimizers.find_learning_rate import find_learning_rate

        values = self.space.copy()
        keras.utils.set_random_seed(self._state["seed"])
        model = self._build(values)
        kwargs = {name: v for name, v in kwargs.items() if name != "groups"}
        fit = read_fit(args, kwargs)
        found = find_learning_rate(
            model, fit.data, batch_size=fit.batch_size, seed=0, verbose=0
        )
        each = next(one for one in self.space.space if one.name == self.find_rate)
        self._record("find_rate", 1, [_narrow_rate(each, found)], dict(values.values))

    # --- afterwards

    def _last(self):
        for tuner in reversed(self.tuners):
            if _has_success(tuner):
                return tuner
        raise InputError("No trial has succeeded yet; call `search` first.")

    def explain(self):
        """Why the ranges were narrowed, as lines of text."""
        return "\n".join(line for each in self.narrowing for line in _tell(each))

    def results_summary(self, num_trials=10):
        """Prints the best trials of each stage, and why the ranges were narrowed."""
        for tuner in self.tuners:
            tuner.results_summary(num_trials)
        print(self.explain())

    def get_best_models(self, num_models=1):
        """The best models of the last stage that has any."""
        return self._last().get_best_models(num_models)

    def get_best_hyperparameters(self, num_trials=1):
        """The best values of the last stage that has any."""
        return self._last().get_best_hyperparameters(num_trials)

    def retrain(self, trial, *args, **kwargs):
        """Trains the model of a trial of the last stage again; see `Tuner.retrain`."""
        tuner = self._last()
        if args or kwargs:
            stage = self.plan[self._numbers()[tuner.project_name]]
            kwargs.setdefault("epochs", stage["epochs"])
        return tuner.retrain(trial, *args, **kwargs)


def _check(stages, keep):
    known = f"one of {', '.join(KINDS)}"
    for stage in stages:
        if stage.search not in KINDS:
            raise InputError(
                f"A stage's search must be {known}. Received: search={stage.search}"
            )
        if not (0 < stage.share <= 1 and 0 < stage.length <= 1):
            raise InputError(
                f"A stage's share and length must be above 0, 1 at most. "
                f"Received: {stage}"
            )
    total = sum(stage.share for stage in stages)
    if len(stages) < 2 or not math.isclose(total, 1):
        raise InputError(
            "There must be two stages or more, whose shares add up to 1. "
            f"Received: stages={stages}"
        )
    if not 0 < keep < 1:
        raise InputError(f"`keep` must be between 0 and 1. Received: keep={keep}")


def explore(hypermodel, objective, hyperparameters=None):
    """The whole space of a hypermodel, conditional parts too.

    Args:
        hypermodel: As for `keras_tuner.RandomSearch`.
        objective: Likewise.
        hyperparameters: Likewise.

    Returns:
        `keras_tuner.HyperParameters`.
    """
    return _explorer(hypermodel, objective, hyperparameters).oracle.get_space()


def _explorer(hypermodel, objective, hyperparameters):
    with tempfile.TemporaryDirectory() as nowhere:
        return keras_tuner.RandomSearch(
            hypermodel,
            objective,
            hyperparameters=copy.deepcopy(hyperparameters),
            directory=nowhere,
        )


def _narrow_rate(each, found):
    old = bounds(each)
    change = {"name": each.name, "is_range": True, "old": old, "new": old}
    change |= {"p": None, "best": [], "rest": []}
    if found.steepest is None:
        return change | {"reason": "In one short run the loss fell at no rate: kept."}
    low, high = found.steepest / 10, min(found.steepest * 10, found.diverged or 1e9)
    new = [max(old[0], low), min(old[1], high)]
    told = f"In one short run the loss falls fastest at {found.steepest:.2g}"
    if found.diverged:
        told += f" and blows up at {found.diverged:.2g}"
    if new[0] >= new[1]:
        return change | {"reason": f"{told}, outside of the range: kept."}
    return change | {"new": new, "reason": f"{told}."}


def _tell(narrowing):
    yield f"After {narrowing['stage']} ({narrowing['trials']} trials):"
    for each in narrowing["changes"]:
        old, new = (_text(each[name]) for name in ("old", "new"))
        arrow = f"{old} to {new}" if old != new else f"stays {old}"
        yield f"  {each['name']}: {arrow}. {each['reason']}"


def _text(region):
    return str([float(f"{v:.3g}") if isinstance(v, float) else v for v in region])


def _has_success(tuner):
    # keras-tuner gives failed trials as the best where there are no others.
    return any(each.status == "COMPLETED" for each in tuner.oracle.trials.values())
