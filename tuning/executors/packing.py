"""Packs a search for workers: a copy of the tuner, and the arguments of `search`."""

import contextlib
import copy
import mmap
import pickle
import sys
import types
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np

from hornbook.errors import InputError

ALIGNMENT = 64  # Bytes, for vector instructions.


@dataclass
class Job:
    """A search, packed for workers.

    Attributes:
        path: List of strings, the driver's `sys.path`.
        environment: Dict of environment variables that have to be set before Keras is
            imported.
        settings: Dict of what the driver has set in `keras.config`.
        payload: Bytes, the pickled tuner, arguments and custom objects.
        buffers: List of the memory of the arrays among them, kept apart so that it need
            not be copied.
    """

    path: list[str]
    environment: dict[str, str]
    settings: dict[str, Any]
    payload: bytes
    buffers: list[Any]

    def unpack(self) -> tuple[Any, Sequence[Any], dict[str, Any]]:
        """Unpacks the search, in a process that has not imported Keras yet.

        Returns:
            The tuner, and `args` and `kwargs` of `search`.
        """
        import keras

        keras.config.set_floatx(self.settings["floatx"])
        keras.config.set_epsilon(self.settings["epsilon"])
        keras.config.set_image_data_format(self.settings["image_data_format"])
        keras.config.set_dtype_policy(self.settings["dtype_policy"])
        parts = pickle.loads(self.payload, buffers=self.buffers)
        for name, value in parts["custom_objects"].items():
            if ">" in name:  # As the decorator names what it registers.
                register = keras.saving.register_keras_serializable(*name.split(">"))
                register(value)
            else:
                keras.saving.get_custom_objects()[name] = value
        return parts["tuner"], parts["args"], parts["kwargs"]


def pack(tuner: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Job:
    """Packs a search.

    Code that is defined in a script or a notebook is sent along, by cloudpickle; code
    of a module that workers can import is imported there.

    Args:
        tuner: A `Tuner`.
        args: Positional arguments of `search`.
        kwargs: Dict of keyword arguments of `search`.

    Raises:
        InputError: If something cannot be sent to another process; it names it.
    """
    import keras

    not_importable = _not_importable()
    parts = {
        "tuner": _copied(tuner),
        "args": args,
        "kwargs": kwargs,
        "custom_objects": {
            name: value
            for name, value in keras.saving.get_custom_objects().items()
            if getattr(value, "__module__", None) in not_importable
        },
    }
    buffers: list[Any] = []
    with _sent_along(not_importable):
        try:
            payload = cloudpickle.dumps(parts, 5, buffer_callback=buffers.append)
        except Exception as error:
            named = {"the hypermodel": tuner.hypermodel}
            named |= {f"argument {i} of `search`": each for i, each in enumerate(args)}
            named |= {f"`{name}` of `search`": each for name, each in kwargs.items()}
            raise InputError(_explain(named, error)) from error
    return Job(
        path=[str(Path(entry).absolute()) for entry in sys.path],
        environment={"KERAS_BACKEND": keras.backend.backend()},
        settings={
            "floatx": keras.config.floatx(),
            "epsilon": keras.config.epsilon(),
            "image_data_format": keras.config.image_data_format(),
            "dtype_policy": keras.config.dtype_policy().name,
        },
        payload=payload,
        buffers=[np.asarray(buffer.raw()) for buffer in buffers],
    )


def _copied(tuner: Any) -> Any:
    """A copy of the tuner for workers: with absolute paths, and unable to write."""
    tuner, oracle = copy.copy(tuner), copy.copy(tuner.oracle)
    directory = str(Path(tuner.directory).absolute())
    tuner.directory = oracle._directory = directory
    # Only the driver writes their files.
    tuner.save = oracle.save = oracle._save_trial = _do_nothing
    oracle.trials, oracle.ongoing_trials, oracle._display = {}, {}, None
    tuner.oracle = oracle
    tuner._runner = tuner._search_arguments = tuner._executor = None
    return tuner


def _do_nothing(*args: Any) -> None:
    pass


def _explain(named: Mapping[str, Any], error: Exception) -> str:
    at_fault = "the tuner"
    for name, value in named.items():
        try:
            cloudpickle.dumps(value)
        except Exception as its_error:
            at_fault, error = name, its_error
            break
    return (
        f"A worker is another process, and {at_fault} cannot be sent to it: {error}. "
        "Create it inside `build` or `run_trial`, give the data as arrays, or leave "
        "out `executor`."
    )


@contextlib.contextmanager
def _sent_along(names: Collection[str]) -> Iterator[None]:
    """Has cloudpickle send the code of modules that a worker could not import."""
    known = cloudpickle.list_registry_pickle_by_value()
    modules = [sys.modules[name] for name in set(names) - known - {"__main__"}]
    for module in modules:
        cloudpickle.register_pickle_by_value(module)
    try:
        yield
    finally:
        for module in modules:
            cloudpickle.unregister_pickle_by_value(module)


def _not_importable() -> set[str]:
    """Names of modules that a process with our `sys.path` would not import the same."""
    names = {"__main__"}
    for name, module in list(sys.modules.items()):
        # `vars`, because reading an attribute may import what is lazy.
        about = vars(module) if isinstance(module, types.ModuleType) else {}
        file = about.get("__file__")
        if not file or about.get("__name__") != name:
            continue
        if not file.startswith((sys.prefix, sys.base_prefix)) and file != _find(name):
            names.add(name)
    return names


def _find(name: str) -> str | None:
    """The file that `import name` would read if it were not imported yet."""
    path: Any = None
    spec: Any = None
    parts = name.split(".")
    for end in range(len(parts)):
        part = ".".join(parts[: end + 1])
        specs = (finder.find_spec(part, path) for finder in sys.meta_path)
        spec = next(filter(None, specs), None)
        if spec is None:
            return None
        path = spec.submodule_search_locations
    return spec.origin


def write_job(job: Job, path: str | Path) -> None:
    """Writes a job to a file: first all but its buffers, then these, each aligned.

    Args:
        job: The job.
        path: Path of the file.
    """
    sizes = [len(buffer) for buffer in job.buffers]
    head = pickle.dumps((replace(job, buffers=[]), sizes))
    with open(path, "wb") as file:
        file.write(len(head).to_bytes(8, "little") + head)
        for buffer in job.buffers:
            file.write(bytes(-file.tell() % ALIGNMENT))
            file.write(buffer)


def read_job(path: str | Path) -> Job:
    """Reads a job. Its arrays stay in the file, where all processes share them.

    Args:
        path: Path of a file that `write_job` has written.
    """
    with open(path, "rb") as file:
        whole = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY))
    start = 8 + int.from_bytes(whole[:8], "little")
    job, sizes = pickle.loads(whole[8:start])
    for size in sizes:
        start += -start % ALIGNMENT
        job.buffers.append(whole[start : start + size])
        start += size
    return job
