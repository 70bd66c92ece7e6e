"""The one door for a `.keras` file: it is checked before anything in it is run."""

import json
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from hornbook.errors import InputError
from hornbook.files import sha256 as hash_file

if TYPE_CHECKING:  # importing Keras takes seconds, and checking a file does not need it
    import keras

CODE_CARRIERS = {
    "Lambda": "a Lambda layer",
    "__lambda__": "a Python function",
    "TFSMLayer": "a TensorFlow program",
}
TRUSTED_PACKAGES = ("keras", "keras_hub", "hornbook")
CARD = "card.json"  # in the folder of a shared model, with the hash of each file


def find_code(path: str | os.PathLike) -> str | None:
    """Finds code in a `.keras` file that would run when the file is opened.

    Nothing in the file is run or unpacked for this.

    Args:
        path: Path of a `.keras` file.

    Returns:
        What carries the code, such as "a Lambda layer (scale)", or `None` if the file
        carries none.

    Raises:
        InputError: If the file is missing, is damaged, is not a `.keras` file, or
            would write outside the folder that it is unpacked to.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if damaged := archive.testzip():
                raise zipfile.BadZipFile(f"{damaged} fails its checksum")
            config = json.loads(archive.read("config.json"))
    except FileNotFoundError as error:
        raise InputError(f"The model file does not exist. Received: {path}") from error
    except (OSError, ValueError, KeyError, RuntimeError, zipfile.BadZipFile) as error:
        raise InputError(
            f"The model file is damaged, or is not a .keras file ({error}). "
            f"Received: {path}"
        ) from error
    for name in names:
        # A zip file from Windows may have backslashes, which are separators there.
        parts = PurePosixPath(name.replace("\\", "/")).parts
        if ".." in parts or name.startswith(("/", "\\")) or ":" in name:
            raise InputError(
                f"The model file would write outside its folder, to {name}, and is "
                f"never opened. Received: {path}"
            )
    for node in _walk(config):
        kind, module = node.get("class_name"), node.get("module") or "keras"
        package = str(module).partition(".")[0]
        is_foreign = kind == "function" and package not in TRUSTED_PACKAGES
        if kind in CODE_CARRIERS or is_foreign:
            call = f"a call of {module}.{node.get('config')}"
            return CODE_CARRIERS.get(str(kind), call) + _name(node)
    return None


def _walk(config: Any) -> Iterator[dict]:
    """Every dict in a nest of dicts and lists."""
    if isinstance(config, dict):
        yield config
        config = list(config.values())
    if isinstance(config, list):
        for each in config:
            yield from _walk(each)


def _name(node: dict) -> str:
    config = node.get("config")
    name = config.get("name") if isinstance(config, dict) else None
    return f" ({name})" if name else ""


def check_keras_file(
    path: str | os.PathLike, safe_mode: bool = True, *, sha256: str | None = None
) -> None:
    """Checks a `.keras` file without opening it.

    The file must be whole and stay inside the folder that it is unpacked to. Its hash
    must be the recorded one, where there is one: the one given, or the one on the card
    of a shared model, `card.json` beside the file.

    Args:
        path: Path of a `.keras` file.
        safe_mode: Whether to refuse a file that carries code, as in
            `keras.saving.load_model`.
        sha256: The recorded hash of the file, in hexadecimal. Defaults to the one on
            the card, if there is a card.

    Raises:
        InputError: If a check fails.
    """
    code = find_code(path)
    recorded = sha256 or _recorded_hash(Path(path))
    if recorded and (found := hash_file(path)) != recorded:
        raise InputError(
            f"The model file was changed or replaced: its sha256 is {found}, the "
            f"recorded one is {recorded}. Received: {path}"
        )
    if code and safe_mode:
        raise InputError(_refusal(path, code))


def _recorded_hash(path: Path) -> str | None:
    """The hash on the card beside a file; `None` without a card that can be read."""
    try:
        card = json.loads((path.parent / CARD).read_text(encoding="utf-8"))
        return card["files"][path.name]["sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _refusal(path: str | os.PathLike, code: str) -> str:
    return (
        f"The model file carries code, {code}, which would run when the file is "
        "opened. If you trust its source, open it with --trust (in Python, "
        f"safe_mode=False). Received: {path}"
    )


def load_keras_file(
    path: str | os.PathLike,
    safe_mode: bool = True,
    *,
    sha256: str | None = None,
    compile: bool = False,
) -> "keras.Model":
    """Opens a `.keras` file after checking it with `check_keras_file`.

    Args:
        path: Path of a `.keras` file.
        safe_mode: Whether to refuse a file that carries code, as in
            `keras.saving.load_model`.
        sha256: The recorded hash of the file, in hexadecimal.
        compile: Whether to compile the model with the optimizer, the loss and the
            metrics that were saved with it.

    Returns:
        The `keras.Model`.

    Raises:
        InputError: If a check fails, or Keras cannot open the file.

    Example:

    >>> import keras, tempfile
    >>> model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     model.save(f"{folder}/model.keras")
    ...     load_keras_file(f"{folder}/model.keras").output_shape
    (None, 2)
    """
    check_keras_file(path, safe_mode, sha256=sha256)
    import keras

    import hornbook.recipes  # noqa: F401  (registers our layers)

    try:
        return keras.models.load_model(path, compile=compile, safe_mode=safe_mode)
    except Exception as error:  # Keras raises many kinds
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        if safe_mode and "unsafe" in str(error):
            raise InputError(_refusal(path, "found by Keras")) from error
        raise InputError(
            f"Keras cannot open the model file, which may be damaged ({reason}). "
            f"Received: {path}"
        ) from error
