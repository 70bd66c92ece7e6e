"""A search that is wide and cheap first, and then fine where the results were best."""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import keras
import keras_tuner

from hornbook.errors import InputError
from hornbook.files import write_json
from hornbook.tuning.search import project
from hornbook.tuning.search.explore import explorer
from hornbook.tuning.search.grid import coarsen
from hornbook.tuning.search.narrowing import KEEP, Change, apply, bounds, narrow
from hornbook.tuning.search.stages import STAGES, Stage, check_stages, make_plan
from hornbook.tuning.search.tuner import Tuner
from hornbook.tuning.search.tuners import GridSearch, RandomSearch
from hornbook.tuning.trials.seeds import run_seed
from hornbook.tuning.warm.fit_arguments import parse_fit_arguments

SEARCH_CLASSES = {"random": RandomSearch, "grid": GridSearch}
STATE = "coarse_to_fine.json"
FINDER = "find_learning_rate"  # The name of its narrowing, beside those of stages.


class CoarseToFine:
    """Searches wide ranges with short trainings, then narrower ones with whole ones.

    All stages together train no more epochs than `max_trials` whole trainings. By
    default 40 % of the epochs go to trainings of a quarter of the length, over the
    whole search space, and the rest to whole trainings in the region in which the best
    quarter of the short ones lie (see `hornbook.tuning.search.narrowing.narrow`). Each
    stage is a `RandomSearch` or `GridSearch` in a folder of its own, `stage-1`,
    `stage-2`, ... A search that was killed continues where it stopped.

    The scores of short trainings cannot be compared with those of whole ones, so the
    best models and values are those of the last stage.

    Args:
        hypermodel: As for `keras_tuner.RandomSearch`.
        objective: As for `keras_tuner.RandomSearch`.
        max_trials: Integer, how many whole trainings would cost as much as all stages.
        stages: List of at least two `Stage`. Their shares must add up to 1.
        keep: Float, the share of a stage's trials that count as its best.
        find_learning_rate: String, the name of the hyperparameter that is the learning
            rate, or `None`. If given, `hornbook.recipes.optimizers.find_learning_rate`
            narrows it before the first stage: to the range from a tenth to ten times of
            the learning rate at which the loss falls fastest, below the one at which it
            diverges.
        hyperparameters: As for `keras_tuner.RandomSearch`.
        seed: Integer. Drawn at random by default, and kept in the folder.
        directory: As for `keras_tuner.RandomSearch`.
        project_name: As for `keras_tuner.RandomSearch`.
        overwrite: As for `keras_tuner.RandomSearch`.
        **kwargs: Arguments of the searches, as for `hornbook.tuning.RandomSearch`.

    Attributes:
        narrowing: List of dicts, one for each narrowing: "stage", "trials", "defaults"
            and "changes", what `narrow` returned.
        plan: List of dicts, one for each stage: "name", "search", "trials" and
            "epochs"; `None` before the search.
        tuners: List of the searches of the stages that were begun.

    Raises:
        InputError: If an argument is wrong, or the folder belongs to another search.

    Example:

    ```python
    search = CoarseToFine(build, "val_accuracy", max_trials=30, directory="searches")
    search.search(x, y, epochs=20, validation_data=(x_val, y_val))
    print(search.explain())
    ```
    """

    def __init__(
        self,
        hypermodel: Any,
        objective: Any,
        max_trials: int = 30,
        *,
        stages: Sequence[Stage] = STAGES,
        keep: float = KEEP,
        find_learning_rate: str | None = None,
        hyperparameters: keras_tuner.HyperParameters | None = None,
        seed: int | None = None,
        directory: str | None = None,
        project_name: str | None = None,
        overwrite: bool = False,
        **kwargs: Any,
    ) -> None:
        check_stages(stages, keep)
        self.hypermodel, self.objective = hypermodel, objective
        self.max_trials, self.stages, self.keep = max_trials, list(stages), keep
        self.find_learning_rate, self.options = find_learning_rate, kwargs
        self.project_dir = Path(directory or ".", project_name or "untitled_project")
        found = explorer(hypermodel, objective, hyperparameters)
        self.oracle, self._build = found.oracle, found.hypermodel.build
        self.space = self.oracle.get_space()
        ranges = [each.name for each in self.space.space if hasattr(each, "min_value")]
        if find_learning_rate is not None and find_learning_rate not in ranges:
            raise InputError(
                "`find_learning_rate` must be the name of a hyperparameter with a "
                f"range. Received: find_learning_rate={find_learning_rate}"
            )
        if overwrite:
            with project.locked(self.project_dir):
                shutil.rmtree(self.project_dir, ignore_errors=True)
        about = {
            "stages": [asdict(each) for each in self.stages],
            "keep": keep,
            "max_trials": max_trials,
            "find_learning_rate": find_learning_rate,
        }
        self._state: dict[str, Any] = project.describe(self.oracle, about) | {
            "seed": self.oracle.seed if seed is None else seed,
            "plan": None,
            "narrowing": [],
        }
        self.tuners: list[Tuner] = []
        self._reload(seed)

    @property
    def narrowing(self) -> list[dict[str, Any]]:
        """What was narrowed after each stage."""
        return self._state["narrowing"]

    @property
    def plan(self) -> list[dict[str, Any]] | None:
        """The stages with their numbers of trials and epochs."""
        return self._state["plan"]

    def search(self, *args: Any, epochs: int = 1, **kwargs: Any) -> None:
        """Searches, or continues a search.

        Args:
            *args: Positional arguments of `fit`.
            epochs: Integer, the epochs of a whole training.
            **kwargs: Keyword arguments of `fit`, and `groups`, as for
                `RandomSearch.search`.

        Raises:
            InputError: Before the first trial, if there are too few trials for the
                stages, or if the search was begun with another number of epochs.
            RuntimeError: If no trial of a stage succeeds.
        """
        plan = self.plan_for(epochs)
        if self.plan not in (None, plan):
            raise InputError(
                "The search was begun with another number of epochs, and its stages "
                f"are {self.plan}. Received: epochs={epochs}"
            )
        with project.locked(self.project_dir):
            self._state["plan"] = plan
            self._save()
            if self.find_learning_rate and not self.narrowing:
                self._narrow_learning_rate(args, kwargs)
            for number, stage in enumerate(plan):
                tuner = self._tuner(number)
                tuner.search(*args, epochs=stage["epochs"], **kwargs)
                is_last = number == len(plan) - 1
                done = {each["stage"] for each in self.narrowing}
                if not is_last and stage["name"] not in done:
                    self._narrow(tuner, stage["name"])

    # --- the project folder

    def _reload(self, seed: int | None) -> None:
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

    def _save(self) -> None:
        self.project_dir.mkdir(parents=True, exist_ok=True)
        write_json(self.project_dir / STATE, self._state)

    # --- the stages

    def plan_for(self, epochs: int) -> list[dict[str, Any]]:
        """Returns what `plan` is for whole trainings of a number of epochs.

        Args:
            epochs: Integer, the epochs of a whole training.

        Raises:
            InputError: If there are too few trials for the stages.
        """
        return make_plan(self.stages, self.space, self.max_trials, epochs)

    def _tuner(self, number: int) -> Tuner:
        """The search of a stage, created when it is first needed."""
        if number == len(self.tuners):
            stage = self._state["plan"][number]
            space = self._space_of(number)
            if stage["search"] == "grid":
                space, _ = coarsen(space, stage["trials"])
            tuner = SEARCH_CLASSES[stage["search"]](
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

    def _space_of(self, number: int) -> keras_tuner.HyperParameters:
        space = self.space
        before = {FINDER, *(stage["name"] for stage in self._state["plan"][:number])}
        for each in self.narrowing:
            if each["stage"] in before:
                space = apply(space, each["changes"], each["defaults"])
        return space

    def _narrow(self, tuner: Tuner, name: str) -> None:
        trials = [tuner.oracle.trials[key] for key in tuner.oracle.end_order]
        rows = [(dict(each.hyperparameters.values), each.score) for each in trials]
        best = tuner.oracle.get_best_trials(1)
        if not _has_success(tuner):
            raise RuntimeError(  # As keras-tuner's, where several fail in a row.
                f"No trial of {name} has succeeded, so the search space cannot be "
                f"narrowed. See the messages in {tuner.project_dir}."
            )
        space = self._space_of(self._numbers()[name])
        is_max = tuner.oracle.objective.direction == "max"
        changes = narrow(space, rows, is_max, self.keep)
        defaults = dict(best[0].hyperparameters.values)
        self._record(name, len(rows), changes, defaults)

    def _numbers(self) -> dict[str, int]:
        return {
            stage["name"]: number for number, stage in enumerate(self._state["plan"])
        }

    def _record(
        self,
        name: str,
        trials: int,
        changes: list[Change],
        defaults: dict[str, Any],
    ) -> None:
        self.narrowing.append(
            {"stage": name, "trials": trials, "changes": changes, "defaults": defaults}
        )
        self._save()
        for line in _lines(self.narrowing[-1]):
            print(line)

    def _narrow_learning_rate(
        self, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> None:
        from hornbook.recipes.optimizers.find_learning_rate import find_learning_rate

        values = self.space.copy()
        keras.utils.set_random_seed(self._state["seed"])
        model = self._build(values)
        kwargs = {name: v for name, v in kwargs.items() if name != "groups"}
        fit = parse_fit_arguments(args, kwargs)
        found = find_learning_rate(
            model, fit.data, batch_size=fit.batch_size, seed=0, verbose=0
        )
        name = self.find_learning_rate
        each = next(one for one in self.space.space if one.name == name)
        change = _narrow_to_found(each, found)
        self._record(FINDER, 1, [change], dict(values.values))

    # --- after the search

    def _last(self) -> Tuner:
        for tuner in reversed(self.tuners):
            if _has_success(tuner):
                return tuner
        raise InputError(
            "No trial has succeeded yet; call `search` first. "
            f"Received: project folder {self.project_dir}"
        )

    def explain(self) -> str:
        """Returns why the ranges were narrowed, as lines of text."""
        return "\n".join(line for each in self.narrowing for line in _lines(each))

    def results_summary(self, num_trials: int = 10) -> None:
        """Prints the best trials of each stage, and why the ranges were narrowed."""
        for tuner in self.tuners:
            tuner.results_summary(num_trials)
        print(self.explain())

    def get_best_models(self, num_models: int = 1) -> list[keras.Model]:
        """Returns the best models of the last stage that has any."""
        return self._last().get_best_models(num_models)

    def get_best_hyperparameters(
        self, num_trials: int = 1
    ) -> list[keras_tuner.HyperParameters]:
        """Returns the best values of the last stage that has any."""
        return self._last().get_best_hyperparameters(num_trials)

    def retrain(self, trial: Any, *args: Any, **kwargs: Any) -> keras.Model:
        """Trains the model of a trial of the last stage again; see `Tuner.retrain`."""
        tuner = self._last()
        if args or kwargs:
            stage = self._state["plan"][self._numbers()[tuner.project_name]]
            kwargs.setdefault("epochs", stage["epochs"])
        return tuner.retrain(trial, *args, **kwargs)


def _narrow_to_found(each: Any, found: Any) -> Change:
    """The range around the learning rate that the finder has found."""
    old = bounds(each)
    change = {"name": each.name, "is_range": True, "old": old, "new": old}
    change |= {"p": None, "best": [], "rest": []}
    if found.steepest is None:
        reason = "In one short run the loss fell at no learning rate: kept."
        return change | {"reason": reason}
    low, high = found.steepest / 10, min(found.steepest * 10, found.diverged or 1e9)
    new = [max(old[0], low), min(old[1], high)]
    text = f"In one short run the loss falls fastest at {found.steepest:.2g}"
    if found.diverged:
        text += f" and diverges at {found.diverged:.2g}"
    if new[0] >= new[1]:
        return change | {"reason": f"{text}, outside the range: kept."}
    return change | {"new": new, "reason": f"{text}."}


def _lines(narrowing: Mapping[str, Any]) -> Iterator[str]:
    yield f"After {narrowing['stage']} ({narrowing['trials']} trials):"
    for each in narrowing["changes"]:
        old, new = (_text(each[name]) for name in ("old", "new"))
        change = f"{old} to {new}" if old != new else f"stays {old}"
        yield f"  {each['name']}: {change}. {each['reason']}"


def _text(region: list[Any]) -> str:
    return str([float(f"{v:.3g}") if isinstance(v, float) else v for v in region])


def _has_success(tuner: Tuner) -> bool:
    # keras-tuner returns failed trials as the best if there are no others.
    return any(each.status == "COMPLETED" for each in tuner.oracle.trials.values())
