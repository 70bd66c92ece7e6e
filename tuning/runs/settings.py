"""The settings of a search, as its config.json records them."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from hornbook.errors import InputError
from hornbook.tuning.trials.callbacks import PRUNING_RULES
from hornbook.tuning.trials.scoring import check_rule

SEARCHES = ("random", "grid", "bayesian", "hyperband", "coarse-to-fine")


@dataclass(frozen=True)
class Settings:
    """The settings of a search.

    Attributes:
        space: Name of a ready search space, or path of a file.
        data: "folder:PATH", "tfds:NAME", "npz:FILE" or "csv:FILE"; `None` for the data
            of the search space, or the embedded digits if it has none.
        labels_per_class: Number of labelled examples of each class; `None` for all.
        trials: Number of trials; a "coarse-to-fine" search trains as many epochs as
            this number of whole trainings.
        search: One of `SEARCHES`.
        stages: The search of each stage of "coarse-to-fine", "random" or "grid".
        epochs: Epochs of a training; `None` for those of the search space.
        folds: Number of folds of a cross-validation, or `None`.
        executions: Training runs per trial, or per fold, each with its own seed.
        seed: Random seed.
        prune: `None`, "median" or "halving".
        score: "best", "last" or "mean:K".
        batch_size: Examples in a batch, if it is not a hyperparameter.
        fixed: Dict from the name of a hyperparameter to its only value.
        find_learning_rate: Name of the hyperparameter that the learning-rate finder
            narrows first, or `None`.
        skip_unreadable: Whether to leave out files that cannot be read.

    Raises:
        InputError: If a value is not allowed.
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
    fixed: dict[str, Any] = field(default_factory=dict)
    find_learning_rate: str | None = None
    skip_unreadable: bool = False

    def __post_init__(self) -> None:
        def require(good: bool, name: str, what: str) -> None:
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
        require(self.prune in PRUNING_RULES, "prune", "median or halving")
        if self.prune and self.search != "random":
            raise InputError(
                "prune needs a random search. "
                f"Received: prune={self.prune}, search={self.search}"
            )
        if self.find_learning_rate and self.search != "coarse-to-fine":
            raise InputError(
                "find_learning_rate needs a coarse-to-fine search. Received: "
                f"find_learning_rate={self.find_learning_rate}, search={self.search}"
            )
        check_rule(self.rule)

    @property
    def rule(self) -> Any:
        """The rule of the score, as `Tuner` takes it."""
        kind, _, length = self.score.partition(":")
        return (kind, int(length)) if length.isdigit() else self.score

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> "Settings":
        """Returns the settings that a config.json records."""
        fields = [each.name for each in dataclasses.fields(cls)]
        settings = {name: config[name] for name in fields}
        return cls(**settings | {"stages": tuple(settings["stages"])})
