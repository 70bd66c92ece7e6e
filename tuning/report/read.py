"""Reading a search's folder, as it stands, without Keras and without its `build`."""

import json
from dataclasses import dataclass, field
from pathlib import Path

from hornbook.errors import InputError

STATE = "coarse_to_fine.json"
SETTINGS = ("score", "folds", "executions", "prune")


@dataclass
class Trial:
    """One trial.

    Attributes:
        id: As keras-tuner names it.
        stage: Number of the stage, from 0.
        status: "COMPLETED", "RUNNING", "FAILED" or "INVALID".
        values: Dict of the active hyperparameters.
        score: Of the objective, or None.
        sd: Its standard deviation over the trainings, if there are several.
        runs: List of dicts, one for each training: "seed", "curves", "metrics", ...
        seconds: How long it took, or None.
        message: Why it failed.
    """

    id: str
    stage: int
    status: str
    values: dict
    score: float | None = None
    sd: float | None = None
    runs: list = field(default_factory=list)
    seconds: float | None = None
    message: str = ""

    @property
    def how(self):
        """How the first training ran: "compiled", "warm" or "plain"."""
        return self.runs[0]["how"] if self.runs else None


@dataclass
class Search:
    """What is in the folder of a search.

    Attributes:
        folder: The project's folder.
        objective: Name of the objective.
        is_max: Whether more of it is better.
        settings: Dict with "score", "folds", "executions" and "prune".
        space: Dict from names to `{"kind", "config"}`, as it was at first.
        stages: Names of the stages; one of no name, but for a `CoarseToFine`.
        plan: List of dicts, as in `CoarseToFine.plan`, or empty.
        narrowing: List of dicts, as in `CoarseToFine.narrowing`, or empty.
        trials: List of `Trial`, in the order of their beginning.
    """

    folder: Path
    objective: str
    is_max: bool
    settings: dict
    space: dict
    stages: list
    plan: list
    narrowing: list
    trials: list

    @property
    def done(self):
        """The trials that have a score."""
        return [each for each in self.trials if each.score is not None]

    def ranked(self, stage=None):
        """Trials with a score, the best first.

        Args:
            stage: Number of the stage; by default the last that has any: the scores
                of short trainings are not compared with those of whole ones.
        """
        done = self.done
        if stage is None:
            stage = max((each.stage for each in done), default=0)
        done = [each for each in done if each.stage == stage]
        return sorted(done, key=lambda each: each.score, reverse=self.is_max)


def read_search(folder):
    """Reads the folder of a search that `hornbook.tuning` made.

    Args:
        folder: The project's folder: `directory/project_name`.

    Raises:
        InputError: if it holds no search, or a file is damaged.
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
        raise InputError(f"There is no search in {folder}.")
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


def _read_trials(folder, stage):
    oracle = _read(folder / "oracle.json")
    for trial_id in oracle["start_order"]:
        place = folder / f"trial_{trial_id}"
        if not (place / "trial.json").is_file():
            continue
        state = _read(place / "trial.json")
        trial = Trial(
            id=trial_id,
            stage=stage,
            status=state["status"],
            values=state["hyperparameters"]["values"],
            score=state["score"] if state["status"] == "COMPLETED" else None,
            message=_last_line(state["message"]),
        )
        if (place / "hornbook.json").is_file():
            record = _read(place / "hornbook.json")
            trial.runs, trial.seconds = record["runs"], record["seconds"]
        yield _with_sd(trial, folder)


def _with_sd(trial, folder):
    if trial.score is not None and len(trial.runs) > 1:
        [[objective, _], *_] = _read(folder / "hornbook.json")["objective"]
        place = folder / f"trial_{trial.id}" / "hornbook.json"
        trial.sd = _read(place)["sd"].get(objective)
    return trial


def _last_line(message):
    return ((message or "").strip().splitlines() or [""])[-1]


def _read(path):
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path} is missing or damaged: {error}.") from error
