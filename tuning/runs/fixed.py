"""Hyperparameters that the user has settled."""

from hornbook.errors import InputError
from hornbook.tuning.search.narrowing import rebuilt


def fix(space, values):
    """A copy of a space in which some hyperparameters have one value.

    Args:
        space: A `keras_tuner.HyperParameters`.
        values: Dict from names to values, which may be text.

    Raises:
        InputError: if there is no such hyperparameter, or it cannot have the value.
    """
    names = [each.name for each in space.space]
    if unknown := [name for name in values if name not in names]:
        raise InputError(
            f"The space has no {' or '.join(unknown)} to fix; it has "
            f"{', '.join(names)}. Received: {values}"
        )

    def configure(each):
        config = each.get_config()
        if each.name not in values:
            return config
        kept = {name: config[name] for name in ("name", "conditions")}
        return kept | {"value": _read(each, values[each.name])}

    return rebuilt(space, configure)


def _read(each, value):
    if hasattr(each, "min_value"):
        try:
            return type(each.min_value)(value)
        except ValueError:
            raise InputError(
                f"{each.name} is a number. Received: {each.name}={value}"
            ) from None
    found = {str(one).lower(): one for one in each.values}
    if str(value).lower() not in found:
        raise InputError(
            f"{each.name} is one of {', '.join(map(str, each.values))}. "
            f"Received: {each.name}={value}"
        )
    return found[str(value).lower()]
