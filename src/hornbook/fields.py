"""Fields of settings: a default, what is allowed, and the help that a flag shows.

A dataclass of such fields is all that is known of a setting: its keyword in Python, its
flag, its default, its help, its line in config.json.
"""

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Callable, Iterable
from typing import Any

from hornbook.errors import InputError


@dataclasses.dataclass(frozen=True)
class Group:
    """Makes the fields of one group of settings.

    Args:
        title: Heading of the group in the help.

    Example:

    >>> @dataclasses.dataclass(frozen=True)
    ... class Settings(Checked):
    ...     epochs: int = Group("Length").integer(10, "Passes over the data.", low=1)
    >>> Settings(epochs=0)
    Traceback (most recent call last):
    hornbook.errors.InputError: epochs must be an integer of at least 1. Received: \
epochs=0
    """

    title: str

    def integer(self, default: int | None, help: str, low: int = 0, **more: Any) -> Any:
        """An integer from `low` on; None is allowed where it is the default."""
        allowed = f"an integer of at least {low}"

        def check(value):
            return _is_integer(value) and value >= low

        return self.any(default, help, check, allowed, kind=int, **more)

    def number(
        self,
        default: float | None,
        help: str,
        low: float = 0,
        high: float = math.inf,
        *,
        above: bool = False,
        below: bool = False,
        **more: Any,
    ) -> Any:
        """A number between two bounds, which `above` and `below` leave out."""
        if math.isinf(high):
            allowed = f"a number {'above' if above else 'of at least'} {low:g}"
        else:
            start = "above" if above else "from"
            allowed = f"a number {start} {low:g} to {'below ' * below}{high:g}"

        def check(value):
            return (
                isinstance(value, (int, float))
                and not isinstance(value, bool)
                and (value > low or (value == low and not above))
                and (value < high or (value == high and not below))
                and math.isfinite(value)
            )

        return self.any(default, help, check, allowed, kind=float, **more)

    def choice(
        self, default: str | None, choices: Iterable[str], help: str, **more: Any
    ) -> Any:
        """One of some words; None is allowed where it is the default."""
        choices = tuple(choices)
        allowed = f"one of {', '.join(choices)}"
        return self.any(default, help, choices.__contains__, allowed, kind=str, **more)

    def switch(self, default: bool, help: str, **more: Any) -> Any:
        """True or False."""
        return self.any(
            default,
            help,
            lambda value: isinstance(value, bool),
            "True or False",
            bool,
            **more,
        )

    def any(
        self,
        default: Any,
        help: str,
        check: Callable[[Any], bool] = lambda value: True,
        allowed: str = "",
        kind: type | None = None,
        parse: Callable[[str], Any] | None = None,
        shown: str | None = None,
    ) -> Any:
        """A field of any kind.

        Args:
            default: Its default, which is always allowed.
            help: What the flag's help says.
            check: Function that says whether a value is allowed.
            allowed: Its words: "must be ...".
            kind: Type of the flag's value; None makes no flag: for Python alone.
            parse: Function from the flag's text to the value.
            shown: The default in words, where it is None.
        """
        metadata = {
            "group": self.title,
            "help": help,
            "check": check,
            "allowed": allowed,
            "kind": kind,
            "parse": parse,
            "shown": shown,
        }
        return dataclasses.field(default=default, metadata=metadata)


class Checked:
    """A frozen dataclass of such fields, checked when it is made.

    Raises:
        InputError: for a value that is not allowed.
    """

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            is_default = value is field.default or (
                type(value) is type(field.default) and value == field.default
            )
            if not is_default and not field.metadata["check"](value):
                refuse(field.name, field.metadata["allowed"], value)

    @classmethod
    def of(cls, options: dict[str, Any]) -> typing.Self:
        """Makes one from keywords.

        Raises:
            InputError: if one is not known, too, with the name that was meant.
        """
        known = [field.name for field in dataclasses.fields(cls)]  # type: ignore
        for name in options:
            if name not in known:
                raise InputError(unknown_setting(name, known))
        return cls(**options)


def refuse(name: str, allowed: str, value: Any) -> typing.NoReturn:
    """Raises the `InputError` for a value that is not allowed."""
    shown = value if isinstance(value, str) else repr(value)
    raise InputError(f"{name} must be {allowed}. Received: {name}={shown}")


# What people call it elsewhere, or called it here.
OTHER_NAMES = {
    "lr": "learning_rate",
    "rate": "learning_rate",
    "base_lr": "learning_rate",
    "max_lr": "learning_rate",
    "lr_mult": "backbone_lr_multiplier",
    "backbone_rate": "backbone_lr_multiplier",
    "decay": "weight_decay or layer_decay",
    "wd": "weight_decay",
    "validation": "validation_data",
    "val_data": "validation_data",
    "classes": "class_names or num_classes",
    "checkpoint": "backup_dir",
    "xla": "jit_compile",
    "accumulate": "gradient_accumulation_steps",
    "ema": "ema_momentum",
    "head_share": "freeze_epochs",
    "views": "test_crops or cached_views",
    "clipnorm": "global_clipnorm",
    "tensorboard": "log_dir",
    "augmentation": "augment",
}


def unknown_setting(name: str, known: Iterable[str]) -> str:
    """The sentence for a setting that does not exist, with the name that was meant.

    Example:

    >>> unknown_setting("lr", ["learning_rate"])
    'There is no setting of that name; it is called learning_rate. Received: lr'
    """
    meant = OTHER_NAMES.get(name)
    if meant is None:
        near = difflib.get_close_matches(name, list(known), 1)
        hint = f"; did you mean {near[0]}?" if near else "."
    else:
        hint = f"; it is called {meant}."
    return f"There is no setting of that name{hint} Received: {name}"


def flag_type(kind: type) -> types.UnionType:
    """The type of a flag that may be left out."""
    return kind | None  # type: ignore[return-value]


def _is_integer(value):
    try:
        return not isinstance(value, bool) and value == value.__index__()
    except (AttributeError, TypeError):
        return False
