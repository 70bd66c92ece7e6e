"""A search space in a Python file, a ready one or the user's own."""

import functools
import importlib.util
import inspect
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from hornbook.errors import InputError
from hornbook.tuning import spaces

EPOCHS = 10


class SpaceFile:
    """A file with `build(hp)`; `hornbook.tuning.spaces` says what else it may have.

    Args:
        name: String, the name of a ready search space or the path of a file.

    Raises:
        InputError: If there is no such file, or it has no `build`.
    """

    def __init__(self, name: str | Path) -> None:
        self.path = find(name)
        self.name = self.path.stem
        build = self._get("build")
        if not callable(build):
            raise InputError(
                f"A search space must have a function `build(hp)`. Received: {name}"
            )

    def _get(self, name: str) -> Any:
        return getattr(_load(str(self.path)), name, None)

    @property
    def epochs(self) -> int:
        """The epochs of a training by default."""
        return self._get("EPOCHS") or EPOCHS

    def read_data(self) -> dict[str, Any] | None:
        """Returns what `data()` of the file returns, or `None` if it has none."""
        data = self._get("data")
        return None if data is None else data()

    def prepare(self, x: Any) -> Any:
        """Returns examples as the model of `build` takes them."""
        prepare = self._get("prepare")
        return x if prepare is None else prepare(x)

    def inference_model(self, model: Any, shape: tuple[int, ...]) -> Any:
        """Returns the model to keep, which takes examples of a shape."""
        inference_model = self._get("inference_model")
        return model if inference_model is None else inference_model(model, shape)

    @property
    def backbone(self) -> str | None:
        """The backbone whose fine-tuning is searched, or `None`."""
        return self._get("BACKBONE")

    def bound(
        self, shape: tuple[int, ...], num_classes: int, seed: int = 0
    ) -> Callable[[Any], Any]:
        """Returns `build` as a function of `hp` alone.

        The function can be sent to another process.

        Args:
            shape: Tuple of integers, the shape of an example.
            num_classes: Integer, the number of classes.
            seed: Integer, the seed of the search.
        """
        known = {"shape": tuple(shape), "num_classes": num_classes, "seed": seed}
        asked = inspect.signature(self._get("build")).parameters
        given = {name: value for name, value in known.items() if name in asked}
        return functools.partial(_build, str(self.path), given)


def find(name: str | Path) -> Path:
    """Returns the path of the file of a search space.

    Args:
        name: String, the name of a ready search space or the path of a file.

    Raises:
        InputError: If there is no such file.
    """
    ready = {path.stem: path for path in _ready()}
    path = ready.get(str(name), Path(name))
    if not path.is_file():
        known = ", ".join(ready)
        raise InputError(
            f"There is no such search space. Give one of {known}, or a Python file. "
            f"Received: space={name}"
        )
    return path.resolve()


def _ready() -> list[Path]:
    folder = Path(spaces.__file__).parent
    return sorted(path for path in folder.glob("*.py") if path.stem != "__init__")


def _build(path: str, given: dict[str, Any], hp: Any) -> Any:
    return _load(path).build(hp, **given)


@functools.cache
def _load(path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"space_{Path(path).stem}", path)
    if spec is None or spec.loader is None:
        raise InputError(f"A search space must be a Python file. Received: {path}")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise InputError(
            "The file of the search space cannot be run: "
            f"{type(error).__name__}: {error}. "
            f"Received: {path}"
        ) from error
    return module
