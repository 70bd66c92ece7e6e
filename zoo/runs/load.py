"""Opens a finished run."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from hornbook.zoo.keras_file import load_keras_file
from hornbook.zoo.runs.records import MODEL, read_config, read_metrics, require_files

if TYPE_CHECKING:
    import keras


def load_run(
    folder: str | Path, safe_mode: bool = True
) -> "tuple[keras.Model, dict[str, Any]]":
    """The model and the config of a finished run.

    Args:
        folder: Path of the run folder.
        safe_mode: Whether to refuse a model that carries code.

    Returns:
        `(model, config)`: a `keras.Model` from raw pictures to probabilities, and a
        dict as in config.json.

    Raises:
        InputError: if a file is missing or damaged, the model is not the one that was
            tested, or it carries code.
    """
    folder = Path(folder)
    config = read_config(folder)
    require_files(folder)
    recorded = read_metrics(folder)["model_sha256"]
    return load_keras_file(folder / MODEL, safe_mode, sha256=recorded), config
