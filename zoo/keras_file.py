"""Opening a `.keras` file of someone else's without running what it carries."""

import json
import zipfile
from pathlib import PurePosixPath

from hornbook.errors import InputError

CARRIERS = {
    "Lambda": "a Lambda layer",
    "__lambda__": "a Python function",
    "TFSMLayer": "a TensorFlow program",
}
OURS = ("keras", "keras_hub", "hornbook")


def why_refuse(path):
    """Why a `.keras` file must not be opened by someone who does not trust its maker.

    Nothing of it is run or unpacked to find out.

    Args:
        path: Of a `.keras` file.

    Returns:
        A sentence, or None if there is no reason.

    Raises:
        InputError: if the file is not a `.keras` file, is damaged, or would write
            outside the folder that it is unpacked to: trust does not help there.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if damaged := archive.testzip():
                raise zipfile.BadZipFile(f"{damaged} fails its checksum")
            config = json.loads(archive.read("config.json"))
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(
            f"The model file is damaged, or is no .keras file: {path} ({error})"
        ) from error
    for name in names:
        # A zip from Windows may have backslashes, which are separators there.
        parts = PurePosixPath(name.replace("\\", "/")).parts
        if ".." in parts or name.startswith(("/", "\\")) or ":" in name:
            raise InputError(
                "The model file would write outside its folder, and is not opened: "
                f"{path} holds {name}"
            )
    for node in _nodes(config):
        kind, module = node.get("class_name"), node.get("module") or "keras"
        foreign = kind == "function" and module.partition(".")[0] not in OURS
        if kind in CARRIERS or foreign:
            what = CARRIERS.get(kind, f"a call of {module}.{node.get('config')}")
            name = _name(node)
            return f"It carries code, {what}{name}, which would run when it is opened."
    return None


def _nodes(config):
    """Every dict in a nest of dicts and lists."""
    if isinstance(config, dict):
        yield config
        config = list(config.values())
    if isinstance(config, list):
        for each in config:
            yield from _nodes(each)


def _name(node):
    config = node.get("config")
    name = config.get("name") if isinstance(config, dict) else None
    return f" ({name})" if name else ""


def check_keras_file(path, trust=False):
    """Refuses a `.keras` file that is damaged, escapes its folder or carries code.

    Args:
        path: Of a `.keras` file.
        trust: Whether code in it is all right.

    Raises:
        InputError: with the reason.
    """
    reason = why_refuse(path)
    if reason and not trust:
        raise InputError(
            f"The model file is not opened: {path} {reason} If you trust who made it, "
            "say --trust (trust=True in Python)."
        )


def load_keras_file(path, trust=False):
    """Loads a `.keras` file, after `check_keras_file`.

    Returns:
        The `keras.Model`.

    Raises:
        InputError: if it can't be opened, with the reason.
    """
    check_keras_file(path, trust)
    import keras

    import hornbook.recipes  # noqa: F401  (registers our layers)

    try:
        return keras.models.load_model(path, compile=False, safe_mode=not trust)
    except Exception as error:
        raise InputError(f"The model file can't be opened: {path} ({error})") from error
