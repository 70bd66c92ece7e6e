"""A search space that is a Python file, ready or the user's own."""

import functools
import importlib.util
import inspect
from pathlib import Path

from hornbook.errors import InputError
from hornbook.tuning import spaces

EPOCHS = 10


class SpaceFile:
    """A file with `build(hp)`; see `hornbook.tuning.spaces` for what else it may have.

    Args:
        name: Of a ready space, or the path of a file.

    Raises:
        InputError: if there is no such file, or it has no `build`.
    """

    def __init__(self, name):
        self.path = find(name)
        self.name = self.path.stem
        build = self._get("build")
        if not callable(build):
            raise InputError(f"A space has a function `build(hp)`. Received: {name}")

    def _get(self, name):
        return getattr(_load(str(self.path)), name, None)

    @property
    def epochs(self):
        """Of a training, if nothing else is asked for."""
        return self._get("EPOCHS") or EPOCHS

    def read_data(self):
        """What the file's `data()` gives, or None if it has none."""
        data = self._get("data")
        return None if data is None else data()

    def prepare(self, x):
        """Examples as `build` wants them."""
        prepare = self._get("prepare")
        return x if prepare is None else prepare(x)

    def inference_model(self, model, shape):
        """The model to keep, for examples of a shape."""
        inference_model = self._get("inference_model")
        return model if inference_model is None else inference_model(model, shape)

    def bound(self, shape, classes):
        """`build` as a function of `hp` alone, which can be sent to another process."""
        known = {"shape": tuple(shape), "classes": classes}
        asked = inspect.signature(self._get("build")).parameters
        given = {name: value for name, value in known.items() if name in asked}
        return functools.partial(_build, str(self.path), given)


def find(name):
    """The path of a space's file.

    Raises:
        InputError: if there is none.
    """
    ready = {path.stem: path for path in _ready()}
    path = ready.get(str(name), Path(name))
    if not path.is_file():
        known = ", ".join(ready)
        raise InputError(
            f"There is no such space; give one of {known}, or a Python file. "
            f"Received: {name}"
        )
    return path.resolve()


def _ready():
    folder = Path(spaces.__file__).parent
    return sorted(path for path in folder.glob("*.py") if path.stem != "__init__")


def _build(path, given, hp):
    return _load(path).build(hp, **given)


@functools.cache
def _load(path):
    spec = importlib.util.spec_from_file_location(f"space_{Path(path).stem}", path)
    module = None if spec is None else importlib.util.module_from_spec(spec)
    if module is None:
        raise InputError(f"A space is a Python file. Received: {path}")
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise InputError(
            f"The space's file cannot be run: {type(error).__name__}: {error}. "
            f"Received: {path}"
        ) from error
    return module
