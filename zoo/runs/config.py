"""What a run is asked to do: data, settings and test, as they stand in config.json."""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from hornbook.errors import InputError
from hornbook.fields import Checked, Group, refuse, unknown_setting
from hornbook.zoo.finetune.fine_tune import Settings

EMBEDDED_DATA = "tfds:hornbook_photo_digits"
DATA_FORMS = "folder:PATH (one folder a class), csv:FILE, tfds:NAME or npz:FILE"
BACKBONE = "glyphnet.letters_rgb"
TEST_CROPS = ("none", "five", "ten")
MERGES = ("mean", "mean_logit", "geometric", "vote", "rank")

_DATA = Group("Data and backbone")
_TEST = Group("Test")


@dataclass(frozen=True)
class DataOptions(Checked):
    """What is trained and tested on, and the backbone.

    Raises:
        InputError: if a value makes no sense.
    """

    data: str = _DATA.any(
        EMBEDDED_DATA,
        f"{DATA_FORMS}.",
        lambda value: isinstance(value, str),
        DATA_FORMS,
        kind=str,
        shown="the embedded digits over photographs",
    )
    backbone: str = _DATA.any(
        BACKBONE,
        "Any id of the zoo, such as keras/mobilenet_v2, or a .keras file.",
        lambda value: isinstance(value, str),
        "an id of the zoo",
        kind=str,
    )
    labels_per_class: int | None = _DATA.integer(
        None,
        "Labelled examples of each class.",
        low=1,
        shown="all; 5 of the embedded data",
    )
    skip_unreadable: bool = _DATA.switch(
        False, "Go on without files that can't be read."
    )


@dataclass(frozen=True)
class TestOptions(Checked):
    """How the trained model is tested, and how it predicts.

    Raises:
        InputError: if a value makes no sense.
    """

    __test__ = False  # no test class, whatever pytest makes of the name

    test_crops: str = _TEST.choice(
        "five", TEST_CROPS, "Crops that vote: none, five or ten (mirrored too)."
    )
    merge: str = _TEST.choice("mean", MERGES, f"How they vote: {', '.join(MERGES)}.")


PARTS: dict[str, Any] = {"data": DataOptions, "training": Settings, "test": TestOptions}


def fields_of_a_run() -> list[dataclasses.Field]:
    """The fields of all parts of a run: its flags and the lines of its config.json."""
    return [each for part in PARTS.values() for each in dataclasses.fields(part)]


@dataclass(frozen=True)
class RunConfig:
    """A run, composed of what is known of each part.

    Attributes:
        data: `DataOptions`.
        training: `Settings`.
        test: `TestOptions`.
        processes: How many processes train together.

    Example:

    >>> config = RunConfig.of({"data": "folder:flowers", "epochs": 3})
    >>> config.data.data, config.training.epochs, config.test.merge
    ('folder:flowers', 3, 'mean')
    """

    data: DataOptions = field(default_factory=DataOptions)
    training: Settings = field(default_factory=Settings)
    test: TestOptions = field(default_factory=TestOptions)
    processes: int = 1

    @classmethod
    def of(cls, options: dict[str, Any], processes: int = 1) -> Self:
        """A run from the names and values of any fields.

        Raises:
            InputError: if a name is unknown or a value makes no sense.
        """
        known = [each.name for each in fields_of_a_run()]
        if unknown := [name for name in options if name not in known]:
            raise InputError(unknown_setting(unknown[0], known))
        parts: dict[str, Any] = {}
        for key, part in PARTS.items():
            names = {each.name for each in dataclasses.fields(part)}
            parts[key] = part.of({k: v for k, v in options.items() if k in names})
        if not parts["training"].random_crop:
            # The pictures are no larger than the backbone's: all crops are the same.
            if options.get("test_crops", "none") != "none":
                refuse("test_crops", "none without random_crop", options["test_crops"])
            parts["test"] = dataclasses.replace(parts["test"], test_crops="none")
        return cls(**parts, processes=processes)

    def as_dict(self) -> dict[str, Any]:
        """The lines of config.json: what a flag can say."""
        lines: dict[str, Any] = {}
        for part in (self.data, self.training, self.test):
            for each in dataclasses.fields(part):
                if each.metadata["kind"] is not None:
                    value = getattr(part, each.name)
                    lines[each.name] = str(value) if isinstance(value, Path) else value
        return {**lines, "processes": self.processes}

    @classmethod
    def from_dict(cls, config: dict[str, Any]) -> Self:
        """The run that a config.json tells of.

        Raises:
            KeyError: if a line is missing.
            InputError: if a value makes no sense.
        """
        names = [
            each.name for each in fields_of_a_run() if each.metadata["kind"] is not None
        ]
        return cls.of({name: config[name] for name in names}, config["processes"])

    def with_training(self, **changes: Any) -> Self:
        """The same run with other settings of training."""
        training = dataclasses.replace(self.training, **changes)
        return dataclasses.replace(self, training=training)
