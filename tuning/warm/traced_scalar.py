"""The numbers of a compiled model that could be variables of one compiled step.

Two models that `build(hp)` made with other values of the same hyperparameters are
often the same but for a few floats: rates, decays, factors. `read` walks a model and
tells its floats apart from all the rest, its structure. Where structures are equal, a
step that was compiled for one model serves the other, if a `Number` stood in each
float's place while the step was traced.
"""

import collections
import contextlib
import functools
import math
import operator
import sys
import types
import weakref
from dataclasses import dataclass, field

import keras
import numpy as np

# Bookkeeping of Keras and TensorFlow, and what training leaves behind.
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
PLAIN = (type(None), bool, int, str, bytes, complex, type(Ellipsis))


@dataclass
class Structure:
    """What `read` found.

    Attributes:
        key: Tuple of all that has to be equal, floats only by their `region`.
        floats: Dict from path to value.
        put: Dict from path to the function that sets the float there.
        opaque: Path of the first thing that cannot be compared, or None.
        constants: Dict from path to value, of floats that cannot be set.
        left: Paths of `Number`s that tracing has left in the model.
    """

    key: tuple = ()
    floats: dict = field(default_factory=dict)
    put: dict = field(default_factory=dict)
    opaque: str | None = None
    constants: dict = field(default_factory=dict)
    left: list = field(default_factory=list)


def read(model):
    """Tells a model's floats apart from its structure."""
    walk = _Walk()
    walk.visit(model, type(model).__name__, None)
    while walk.queue:
        walk.visit_object(*walk.queue.popleft())
    walk.found.key = tuple(walk.key)
    return walk.found


def region(value):
    """Where a float lies with regard to 0 and 1, which code likes to ask about."""
    if not math.isfinite(value):
        return repr(value)
    return (value > 0) - (value < 0), (value > 1) - (value < 1)


class _Walk:
    """A walk over all that a model refers to, in an order that its structure fixes.

    It goes breadth first, so that deep models do not exhaust the stack.
    """

    def __init__(self):
        self.queue = collections.deque()
        self.found = Structure()
        self.key = []
        self.seen = {}  # id -> (number, the object, kept so that ids stay unique)

    def visit(self, value, path, put):
        if isinstance(value, Number):
            self.found.left.append(value.path)
        elif isinstance(value, (float, np.floating)):
            value = float(value)
            self.key.append((path, region(value) if put else value))
            if put:
                self.found.floats[path] = value
                self.found.put[path] = put
            else:
                self.found.constants[path] = value
        elif isinstance(value, PLAIN):
            self.key.append((path, type(value), value))
        elif isinstance(value, tuple):
            self._items(value, path, put and _TuplePut(value, put))
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

    def visit_object(self, value, path):
        kind = type(value)
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
            self.key.append((path, kind))
            self._class(kind, path)
            self._attributes(value, path)
        else:
            self._give_up(path)

    def _give_up(self, path):
        self.found.opaque = self.found.opaque or path

    def _items(self, values, path, put):
        self.key.append((path, type(values), len(values)))
        for index, value in enumerate(values):
            each = put and functools.partial(put, index)
            self.visit(value, f"{path}[{index}]", each)

    def _dict(self, value, path):
        self.key.append((path, len(value)))
        for index, (name, item) in enumerate(value.items()):
            if isinstance(name, PLAIN):
                at = f"{path}[{name!r}]"
                self.key.append(name)
            else:  # An object: its place in the order stands for it.
                at = f"{path}[{index}]"
                self.visit(name, at, None)
            self.visit(item, at, functools.partial(operator.setitem, value, name))

    def _attributes(self, value, path):
        attributes = vars(value)
        # A seed that Keras drew only made the initial weights.
        drawn = isinstance(value, keras.initializers.Initializer) and (
            attributes.get("_init_seed", 0) is None
        )
        for name in sorted(attributes):
            if (
                name in SKIPPED
                or name.startswith("_self_")
                or (drawn and name == "seed")
            ):
                continue
            put = functools.partial(operator.setitem, attributes, name)
            self.visit(attributes[name], f"{path}.{name}", put)

    def _function(self, function, path):
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
                put = functools.partial(setattr, cell, "cell_contents")
                self.visit(cell.cell_contents, f"{path}<{name}>", put)
        put = functools.partial(setattr, function, "__defaults__")
        self.visit(function.__defaults__, f"{path}()", put)
        self.visit(function.__kwdefaults__, f"{path}(**)", None)
        if not _is_of_library(function):
            self._globals(function, path)

    def _globals(self, function, path):
        names = set(function.__code__.co_names)
        for name in sorted(names & function.__globals__.keys()):
            value = function.__globals__[name]
            if isinstance(value, (*PLAIN, float, tuple, list, dict, np.ndarray)) or (
                isinstance(value, types.FunctionType) and not _is_of_library(value)
            ):
                self.visit(value, f"{path}:{name}", None)

    def _class(self, kind, path):
        for parent in kind.__mro__:
            if id(parent) in self.seen or _is_of_library(parent) or parent is object:
                continue
            self.seen[id(parent)] = len(self.seen), parent
            for name, value in vars(parent).items():
                if isinstance(value, types.FunctionType):
                    self._globals(value, f"{path}.{name}")


class _TuplePut:
    """Sets an item of a tuple, by putting another tuple in its place."""

    def __init__(self, values, put):
        self.kind, self.items, self.put = type(values), list(values), put

    def __call__(self, index, value):
        self.items[index] = value
        is_named = hasattr(self.kind, "_fields")
        self.put(self.kind(*self.items) if is_named else self.kind(self.items))


def _is_constant(value):
    return keras.ops.is_tensor(value) and not hasattr(value, "assign")


def _is_of_library(value):
    return (getattr(value, "__module__", None) or "").partition(".")[0] in LIBRARIES


class Refused(TypeError):
    """A `Number` was asked for what only a float that is known can give."""


class Number:
    """Stands for a float while a step is traced, so that the step serves any value.

    It takes part in arithmetic, and becomes a tensor where one is wanted, of the type
    that is wanted, as a Python float would. It can be compared with 0 and with 1, since
    the step serves only values in the same region. All else raises `Refused`.

    Args:
        path: Where the float stands in the model.
        tensor: A scalar of the backend.
        region: Of the float; None where it is not known.
        refused: Set that takes the path of a `Number` that raises.
    """

    dtype = float  # What Keras asks to find the type of a result.
    __hash__ = None
    __array_priority__ = 1000

    def __init__(self, path, tensor, region=None, refused=None):
        self.path = path
        self.tensor = tensor
        self.region = region
        self.refused = set() if refused is None else refused

    def __repr__(self):
        return f"<Number {self.path}>"

    def __jax_array__(self):
        return self.tensor

    def __array__(self, *args, **kwargs):
        self._refuse("an array")

    def __float__(self):
        self._refuse("float()")

    def __int__(self):
        self._refuse("int()")

    __index__ = __int__

    def __round__(self, digits=None):
        self._refuse("round()")

    def __bool__(self):
        return self._compare(operator.ne, 0)

    def _refuse(self, what):
        self.refused.add(self.path)
        raise Refused(f"`{self.path}` is not known while a step is traced: {what}")

    def _compare(self, compare, other):
        if keras.ops.is_tensor(other) or isinstance(other, (Number, keras.Variable)):
            return self._operate(compare, other)
        if type(other) in (int, float) and other in (0, 1) and self.region is not None:
            return compare(self.region[int(other)], 0)
        return self._refuse(f"compared with {other!r}")

    def _operate(self, operate, other, reverse=False):
        if isinstance(other, Number):
            mine, yours = self.tensor, other.tensor
        elif isinstance(other, (int, float)):
            mine, yours = self.tensor, other
        elif keras.ops.is_tensor(other) or isinstance(other, keras.Variable):
            other = keras.ops.convert_to_tensor(other)
            mine, yours = keras.ops.cast(self.tensor, other.dtype), other
        else:
            return NotImplemented
        result = operate(yours, mine) if reverse else operate(mine, yours)
        if isinstance(other, (int, float, Number)):
            return self._derived(result)
        return result

    def _derived(self, tensor):
        if keras.backend.backend() == "jax":
            return tensor  # Which is weakly typed there, as a Python float is.
        return Number(self.path, tensor, refused=self.refused)


def _forward(operate):
    return lambda self, other: self._operate(operate, other)


def _backward(operate):
    return lambda self, other: self._operate(operate, other, reverse=True)


for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow"):
    _operator = getattr(operator, _name)
    setattr(Number, f"__{_name}__", _forward(_operator))
    setattr(Number, f"__r{_name}__", _backward(_operator))
for _name in ("lt", "le", "eq", "ne", "gt", "ge"):
    _operator = getattr(operator, _name)
    setattr(Number, f"__{_name}__", lambda s, o, c=_operator: s._compare(c, o))
Number.__neg__ = lambda self: self._derived(-self.tensor)
Number.__pos__ = lambda self: self
Number.__abs__ = lambda self: self._derived(abs(self.tensor))
