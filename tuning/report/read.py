"""Reads the project folder of a search, without Keras and without its `build`."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hornbook.errors import InputError

STATE = "coarse_to_fine.json"
SETTINGS = ("score", "folds", "executions", "prune")


@dataclass
class Trial:
    """One trial.

    Attributes:
        id: String, as keras-tuner names it.
        stage: Integer, the number of the stage, from 0.
        status: "COMPLETED", "RUNNING", "FAILED" or "INVALID".
        values: Dict of the active hyperparameters.
        score: Float, the objective, or `None`.
        sd: Float, its standard deviation over the trainings, if there are several.
        runs: List of dicts, one for each training: "seed", "curves", "metrics", ...
        seconds: Float, how long it took, or `None`.
        message: String, why it failed.
    """

    id: str
    stage: int
    status: str
    values: dict[str, Any]
    score: Any = None
    sd: float | None = None
    runs: list[dict[str, Any]] = field(default_factory=list)
    seconds: float | None = None
    message: str = ""

    @property
    def how(self) -> str | None:
        """How the first training ran: "compiled", "warm" or "plain"."""
        return self.runs[0]["how"] if self.runs else None


@dataclass
class Search:
    """What is in the project folder of a search.

    Attributes:
        folder: Path of the project folder.
        objective: String, the name of the objective.
        is_max: Whether a larger objective is better.
        settings: Dict with "score", "folds", "executions" and "prune".
        space: Dict from the name of a hyperparameter to its "kind" and "config", as
            they were at the beginning.
        stages: List of the names of the stages. A search that is not a `CoarseToFine`
            has one stage, with an empty name.
        plan: List of dicts, as in `CoarseToFine.plan`, or empty.
        narrowing: List of dicts, as in `CoarseToFine.narrowing`, or empty.
        trials: List of `Trial`, in the order in which they began.
    """

    folder: Path
    objective: str
    is_max: bool
    settings: dict[str, Any]
    space: dict[str, Any]
    stages: list[str]
    plan: list[dict[str, Any]]
    narrowing: list[dict[str, Any]]
    trials: list[Trial]

    @property
    def done(self) -> list[Trial]:
        """The trials that have a score."""
        return [each for each in self.trials if each.score is not None]

    def ranked(self, stage: int | None = None) -> list[Trial]:
        """Returns the trials with a score, the best first.

        Args:
            stage: Integer, the number of the stage. Defaults to the last one that has
                any, since scores of short trainings cannot be compared with those of
                whole ones.
        """
        done = self.done
        if stage is None:
            stage = max((each.stage for each in done), default=0)
        done = [each for each in done if each.stage == stage]
        return sorted(done, key=lambda each: each.score, reverse=self.is_max)


def read_search(folder: str | os.PathLike[str]) -> Search:
    """Reads the project folder of a search of `hornbook.tuning`.

    Args:
        folder: Path of the project folder, `directory/project_name`.

    Raises:
        InputError: If there is no search in it, or a file is corrupted.
    """
    folder = Path(folder)
    if (folder / STATE).is_file():
        state = _read(folder / STATE)
        plan, narrowing = state["plan"] or [], state["narrowing"]
        folders = [folder / stage["name"] for stage in plan]
    else:
        state, plan, narrowing, folders = None, [], [], [folder]
    folders = [each for each in folders if (each / "oracle.json").is_file()]
    if state is None and not folders:
        raise InputError(f"There is no search in this folder. Received: {folder}")
    trials = [
        trial
        for number, each in enumerate(folders)
        for trial in _read_trials(each, number)
    ]
    about = state or _read(folder / "hornbook.json")
    [[objective, direction], *_] = about["objective"]
    settings = _read(folders[0] / "hornbook.json") if folders else about
    return Search(
        folder=folder,
        objective=objective,
        is_max=direction == "max",
        settings={name: settings.get(name) for name in SETTINGS},
        space={
            each["name"]: {"kind": each["kind"], "config": each}
            for each in about["space"]
            if each["kind"] != "Fixed"
        },
        stages=[each.name for each in folders] if plan else [""],
        plan=plan,
        narrowing=narrowing,
        trials=trials,
    )


def _read_trials(folder: Path, stage: int) -> Iterator[Trial]:
    oracle = _read(folder / "oracle.json")
    for trial_id in oracle["start_order"]:
        trial_folder = folder / f"trial_{trial_id}"
        if not (trial_folder / "trial.json").is_file():
            continue
        state = _read(trial_folder / "trial.json")
        trial = Trial(
            id=trial_id,
            stage=stage,
            status=state["status"],
            values=state["hyperparameters"]["values"],
            score=state["score"] if state["status"] == "COMPLETED" else None,
            message=_last_line(state["message"]),
        )
        if (trial_folder / "hornbook.json").is_file():
            record = _read(trial_folder / "hornbook.json")
            trial.runs, trial.seconds = record["runs"], record["seconds"]
        yield _with_sd(trial, folder)


def _with_sd(trial: Trial, folder: Path) -> Trial:
    if trial.score is not None and len(trial.runs) > 1:
        [[objective, _], *_] = _read(folder / "hornbook.json")["objective"]
        path = folder / f"trial_{trial.id}" / "hornbook.json"
        trial.sd = _read(path)["sd"].get(objective)
    return trial


def _last_line(message: str | None) -> str:
    return ((message or "").strip().splitlines() or [""])[-1]


def _read(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"A file of the search is missing or corrupted: {error}. Received: {path}"
        ) from error
