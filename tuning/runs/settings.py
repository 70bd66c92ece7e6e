"""What a search is asked to do, as it stands in its config.json."""

import dataclasses
from dataclasses import dataclass, field

from hornbook.errors import InputError
from hornbook.tuning.trials.pruning import RULES
from hornbook.tuning.trials.scoring import check_rule

SEARCHES = ("random", "grid", "bayesian", "hyperband", "coarse-to-fine")


@dataclass(frozen=True)
class Settings:
    """A search.

    Attributes:
        space: Name of a ready space, or path of a file.
        data: "folder:PATH", "tfds:NAME", "npz:FILE" or "csv:FILE"; None for the space's
            own data, else the embedded digits.
        labels_per_class: How many labelled examples of each class to use; None for all.
        trials: How many; for "coarse-to-fine", as many epochs as so many trials train.
        search: One of `SEARCHES`.
        stages: Of "coarse-to-fine": "random" or "grid" for each.
        epochs: Of a training; None for the space's own.
        folds: Of a cross-validation, or None.
        executions: Trainings a trial, or a fold, from different seeds.
        seed: Of all that is random.
        prune: None, "median" or "halving".
        score: "best", "last" or "mean:K".
        batch_size: Examples in a batch, if it is no hyperparameter.
        fixed: Dict from names of hyperparameters to their only value.
        find_rate: Name of the hyperparameter that the rate finder narrows first.
        skip_unreadable: Go on without files that can't be read.

    Raises:
        InputError: if a value makes no sense.
    """

    space: str = "finetune"
    data: str | None = None
    labels_per_class: int | None = None
    trials: int = 30
    search: str = "random"
    stages: tuple[str, ...] = ("random", "random")
    epochs: int | None = None
    folds: int | None = None
    executions: int = 1
    seed: int = 0
    prune: str | None = None
    score: str = "best"
    batch_size: int = 32
    fixed: dict = field(default_factory=dict)
    find_rate: str | None = None
    skip_unreadable: bool = False

    def __post_init__(self):
        def require(good, name, what):
            if not good:
                value = getattr(self, name)
                raise InputError(f"{name} must be {what}. Received: {name}={value}")

        require(self.trials >= 1, "trials", "at least 1")
        require(self.search in SEARCHES, "search", f"one of {', '.join(SEARCHES)}")
        known = len(self.stages) == 2 and set(self.stages) <= {"random", "grid"}
        require(known, "stages", "two of random and grid, such as grid,random")
        require(self.epochs is None or self.epochs >= 1, "epochs", "at least 1")
        require(self.folds is None or self.folds >= 2, "folds", "at least 2")
        require(self.executions >= 1, "executions", "at least 1")
        require(self.batch_size >= 1, "batch_size", "at least 1")
        few = self.labels_per_class
        require(few is None or few >= 1, "labels_per_class", "at least 1")
        require(0 <= self.seed < 2**32, "seed", "0 or more")
        require(self.prune in RULES, "prune", "median or halving")
        if self.prune and self.search != "random":
            raise InputError(
                "prune is for random search. "
                f"Received: prune={self.prune}, search={self.search}"
            )
        if self.find_rate and self.search != "coarse-to-fine":
            raise InputError(
                "find_rate is for coarse-to-fine search. "
                f"Received: find_rate={self.find_rate}, search={self.search}"
            )
        check_rule(self.rule)

    @property
    def rule(self):
        """The score's rule, as `Tuner` takes it."""
        kind, _, length = self.score.partition(":")
        return (kind, int(length)) if length.isdigit() else self.score

    @classmethod
    def from_config(cls, config):
        """The settings that a folder's config.json tells of."""
        fields = [each.name for each in dataclasses.fields(cls)]
        settings = {name: config[name] for name in fields}
        return cls(**settings | {"stages": tuple(settings["stages"])})
