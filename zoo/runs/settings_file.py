"""Settings from a file: one of yours, one that ships, or what a search has found."""

import json
from pathlib import Path
from typing import Any

from hornbook.errors import InputError
from hornbook.zoo.runs.config import RunConfig

PRESETS = Path(__file__).with_name("presets")


def preset_names() -> list[str]:
    """The names of the settings that ship.

    Example:

    >>> preset_names()
    ['autogluon']
    """
    return sorted(path.stem for path in PRESETS.glob("*.json"))


def read_settings(name: str | Path) -> dict[str, Any]:
    """Reads settings: a JSON object from the names of flags to their values.

    Args:
        name: One of `preset_names()`, or the path of a JSON file. Of the `best.json`
            of a search over fine-tunings, its "settings" are taken; of the
            `config.json` of a run, the fields of a run.

    Returns:
        Dict from name to value.

    Raises:
        InputError: if the file can't be read, or holds anything else.

    Example:

    >>> read_settings("autogluon")["weight_decay"]
    0.05
    """
    path = Path(name)
    if str(name) in preset_names():
        path = PRESETS / f"{name}.json"
    if not path.is_file():
        raise InputError(
            f"There is no such settings file; those that ship are "
            f"{', '.join(preset_names())}. Received: {name}"
        )
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"The settings can't be read ({error}): {path}") from error
    if isinstance(found, dict) and "data_sha256" in found:
        return {
            key: value
            for key, value in RunConfig.from_dict(found).as_dict().items()
            if key != "processes" and value is not None
        }
    if isinstance(found, dict) and "settings" in found:
        found = found["settings"]
    if not isinstance(found, dict):
        raise InputError(
            f"Settings must be a JSON object from names to values. Received: {path}"
        )
    RunConfig.of(found)
    return found
