"""What a compiled step depends on: everything in a model except most of its floats.

Two models that `build(hp)` returns for different values of the same hyperparameters
often differ only in a few floats: learning rates, dropout rates, regularization
factors. `model_signature` walks over everything that a model refers to and tells its
floats apart from all the rest, the key. A step that was compiled for one model serves
every model with the same key, if a `TracedScalar` stood in for each float while the
step was traced.
"""

import collections
import contextlib
import functools
import operator
import sys
import types
import weakref
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np

from hornbook.tuning.warm.traced_scalar import TracedScalar, signs

# Attributes that Keras and TensorFlow keep for themselves, or that training leaves
# behind: a compiled step does not depend on them.
SKIPPED = {
    "_tracker",
    "_losses",
    "_loss_ids",
    "_losses_override",
    "_compiled_trainable_state",
    "_trainable_variables_indices",
    "_distribution_strategy",
    "_distribute_strategy",
    "_obj_reference_counts_dict",
    "train_function",
    "test_function",
    "predict_function",
    "history",
    "stop_training",
    "_initial_epoch",
    "_jax_state",
    "_jax_state_synced",
    "build",
    "quantize",
    "_call_signature",
    "_nodes",
    "_nodes_by_depth",
    "_operations_by_depth",
    "_lock",
    "_current_epoch_logs",
}
LIBRARIES = {"keras", "keras_hub", "tensorflow", "jax", "jaxlib", "torch", "numpy"}
ATOMS = (type(None), bool, int, str, bytes, complex, type(Ellipsis))

Setter = Callable[[Any], object]
MaybeSetter = Callable[..., object] | None


@dataclass
class ModelSignature:
    """What `model_signature` finds in a model.

    Attributes:
        key: Tuple of all that has to be equal for two models to share a compiled step.
            Of floats it has only their `signs`.
        floats: Dict from path to value, of the floats that can be set.
        setters: Dict from path to the function that sets the float there.
        opaque: Path of the first object that cannot be compared, or `None`.
        constants: Dict from path to value, of the floats that cannot be set.
        leftovers: Paths of `TracedScalar`s that tracing has left in the model.
    """

    key: tuple[Hashable, ...] = ()
    floats: dict[str, float] = field(default_factory=dict)
    setters: dict[str, Setter] = field(default_factory=dict)
    opaque: str | None = None
    constants: dict[str, float] = field(default_factory=dict)
    leftovers: list[str] = field(default_factory=list)


def model_signature(model: object) -> ModelSignature:
    """Returns the signature of a model.

    Args:
        model: A compiled `keras.Model`. Any other object with attributes, and any
            function, has a signature, too.
    """
    walk = _Walk()
    walk.visit(model, type(model).__name__, None)
    while walk.queue:
        walk.visit_object(*walk.queue.popleft())
    walk.found.key = tuple(walk.key)
    return walk.found


class _Walk:
    """Visits all that a model refers to, in an order that depends on the key alone.

    It goes breadth first, so that deep models do not exhaust the stack.
    """

    def __init__(self) -> None:
        self.queue: collections.deque[tuple[Any, str]] = collections.deque()
        self.found = ModelSignature()
        self.key: list[Hashable] = []
        # From an id to a number and the object, kept so that its id stays its own.
        self.seen: dict[int, tuple[int, object]] = {}

    def visit(
        self, value: Any, path: str, setter: Callable[..., object] | None
    ) -> None:
        if isinstance(value, TracedScalar):
            self.found.leftovers.append(value.path)
        elif isinstance(value, (float, np.floating)):
            value = float(value)
            self.key.append((path, signs(value) if setter else value))
            if setter:
                self.found.floats[path] = value
                self.found.setters[path] = setter
            else:
                self.found.constants[path] = value
        elif isinstance(value, ATOMS):
            self.key.append((path, type(value), value))
        elif isinstance(value, tuple):
            self._items(value, path, setter and _TupleSetter(value, setter))
        elif isinstance(value, slice):
            self.visit((value.start, value.stop, value.step), path, None)
        elif isinstance(value, (type, types.ModuleType, np.dtype)):
            self.key.append((path, value))
        elif isinstance(value, np.generic):
            self.key.append((path, value.dtype.str, value.tobytes()))
        elif id(value) in self.seen:
            self.key.append((path, "again", self.seen[id(value)][0]))
        else:
            self.seen[id(value)] = len(self.seen), value
            self.queue.append((value, path))

    def visit_object(self, value: Any, path: str) -> None:
        if isinstance(value, list):
            self._items(value, path, functools.partial(operator.setitem, value))
        elif isinstance(value, dict):
            self._dict(value, path)
        elif isinstance(value, (set, frozenset)):
            self._items(sorted(value, key=repr), path, None)
        elif isinstance(value, keras.Variable):
            about = value.shape, str(value.dtype), value.trainable, value.name
            self.key.append((path, *map(str, about)))
            self.visit(value.regularizer, f"{path}.regularizer", None)
            self.visit(value.constraint, f"{path}.constraint", None)
        elif isinstance(value, keras.KerasTensor):
            self.key.append((path, str(value.shape), str(value.dtype)))
        elif isinstance(value, keras.random.SeedGenerator):
            self.visit(value.state, f"{path}.state", None)
        elif isinstance(value, np.ndarray) or _is_constant(value):
            value = keras.ops.convert_to_numpy(value)
            if value.dtype.hasobject:
                self._give_up(path)
            self.key.append((path, str(value.dtype), value.shape, value.tobytes()))
        elif isinstance(value, types.FunctionType):
            self._function(value, path)
        elif isinstance(value, types.MethodType):
            self.visit(value.__self__, f"{path}.__self__", None)
            self._function(value.__func__, path)
        elif isinstance(value, functools.partial):
            for name in ("func", "args", "keywords"):
                self.visit(getattr(value, name), f"{path}.{name}", None)
        elif isinstance(value, (types.BuiltinFunctionType, np.ufunc)):
            self.key.append((path, value))
        elif isinstance(value, weakref.ref):
            pass
        elif hasattr(value, "python_function") and _is_of_library(type(value)):
            self.visit(value.python_function, f"{path}.python_function", None)
        elif hasattr(value, "__dict__"):
            self.key.append((path, type(value)))
            self._class(type(value), path)
            self._attributes(value, path)
        else:
            self._give_up(path)

    def _give_up(self, path: str) -> None:
        self.found.opaque = self.found.opaque or path

    def _items(
        self,
        values: list[Any] | tuple[Any, ...],
        path: str,
        setter: MaybeSetter,
    ) -> None:
        self.key.append((path, type(values), len(values)))
        for index, value in enumerate(values):
            each = setter and functools.partial(setter, index)
            self.visit(value, f"{path}[{index}]", each)

    def _dict(self, value: dict[Any, Any], path: str) -> None:
        self.key.append((path, len(value)))
        for index, (name, item) in enumerate(value.items()):
            if isinstance(name, ATOMS):
                at = f"{path}[{name!r}]"
                self.key.append(name)
            else:  # An object: its position in the dict stands for it.
                at = f"{path}[{index}]"
                self.visit(name, at, None)
            self.visit(item, at, functools.partial(operator.setitem, value, name))

    def _attributes(self, value: Any, path: str) -> None:
        attributes = vars(value)
        # A seed that Keras drew has only made the initial weights.
        is_drawn = isinstance(value, keras.initializers.Initializer) and (
            attributes.get("_init_seed", 0) is None
        )
        for name in sorted(attributes):
            if (
                name in SKIPPED
                or name.startswith("_self_")
                or (is_drawn and name == "seed")
            ):
                continue
            setter = functools.partial(operator.setitem, attributes, name)
            self.visit(attributes[name], f"{path}.{name}", setter)

    def _function(self, function: types.FunctionType | Any, path: str) -> None:
        module = sys.modules.get(function.__module__)
        if _is_of_library(function) and function is getattr(
            module, function.__qualname__, None
        ):
            self.key.append((path, function))
            return
        self.key.append((path, function.__code__))
        for index, cell in enumerate(function.__closure__ or ()):
            name = function.__code__.co_freevars[index]
            with contextlib.suppress(ValueError):  # An empty cell.
                setter = functools.partial(setattr, cell, "cell_contents")
                self.visit(cell.cell_contents, f"{path}<{name}>", setter)
        setter = functools.partial(setattr, function, "__defaults__")
        self.visit(function.__defaults__, f"{path}()", setter)
        self.visit(function.__kwdefaults__, f"{path}(**)", None)
        if not _is_of_library(function):
            self._globals(function, path)

    def _globals(self, function: types.FunctionType, path: str) -> None:
        names = set(function.__code__.co_names)
        for name in sorted(names & function.__globals__.keys()):
            value = function.__globals__[name]
            if isinstance(value, (*ATOMS, float, tuple, list, dict, np.ndarray)) or (
                isinstance(value, types.FunctionType) and not _is_of_library(value)
            ):
                self.visit(value, f"{path}:{name}", None)

    def _class(self, kind: type, path: str) -> None:
        for parent in kind.__mro__:
            if id(parent) in self.seen or _is_of_library(parent) or parent is object:
                continue
            self.seen[id(parent)] = len(self.seen), parent
            for name, value in vars(parent).items():
                if isinstance(value, types.FunctionType):
                    self._globals(value, f"{path}.{name}")


class _TupleSetter:
    """Sets an item of a tuple, by replacing the tuple with another one.

    Args:
        values: The tuple.
        setter: Function that sets the tuple.
    """

    def __init__(
        self, values: tuple[Any, ...], setter: Callable[[Any], object]
    ) -> None:
        self.kind: Any = type(values)
        self.items, self.setter = list(values), setter

    def __call__(self, index: int, value: Any) -> None:
        self.items[index] = value
        is_named = hasattr(self.kind, "_fields")
        self.setter(self.kind(*self.items) if is_named else self.kind(self.items))


def _is_constant(value: object) -> bool:
    return keras.ops.is_tensor(value) and not hasattr(value, "assign")


def _is_of_library(value: object) -> bool:
    return (getattr(value, "__module__", None) or "").partition(".")[0] in LIBRARIES
