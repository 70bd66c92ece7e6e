"""Hyperparameters whose value the user fixes."""

from collections.abc import Mapping
from typing import Any

import keras_tuner

from hornbook.errors import InputError
from hornbook.tuning.search.narrowing import rebuilt


def fix(
    space: keras_tuner.HyperParameters, values: Mapping[str, Any]
) -> keras_tuner.HyperParameters:
    """Returns a copy of a search space in which some hyperparameters are fixed.

    Args:
        space: A `keras_tuner.HyperParameters`.
        values: Dict from the name of a hyperparameter to its value, which may be text.

    Raises:
        InputError: If there is no such hyperparameter, or it cannot have the value.
    """
    names = [each.name for each in space.space]
    if unknown := [name for name in values if name not in names]:
        raise InputError(
            f"The search space has no hyperparameter {' or '.join(unknown)}; it has "
            f"{', '.join(names)}. Received: {values}"
        )

    def configure(each):
        config = each.get_config()
        if each.name not in values:
            return config
        kept = {name: config[name] for name in ("name", "conditions")}
        return kept | {"value": _read(each, values[each.name])}

    return rebuilt(space, configure)


def _read(each: Any, value: Any) -> Any:
    if hasattr(each, "min_value"):
        try:
            return type(each.min_value)(value)
        except ValueError:
            raise InputError(
                f"{each.name} must be a number. Received: {each.name}={value}"
            ) from None
    found = {str(one).lower(): one for one in each.values}
    if str(value).lower() not in found:
        raise InputError(
            f"{each.name} must be one of {', '.join(map(str, each.values))}. "
            f"Received: {each.name}={value}"
        )
    return found[str(value).lower()]
