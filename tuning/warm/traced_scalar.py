"""A scalar whose value is unknown while a training step is traced.

A compiled step that was traced with `TracedScalar`s in place of some of a model's
floats (learning rates, dropout rates, regularization factors, ...) serves all values of
those floats.
"""

import math
import operator
from collections.abc import Callable
from typing import Any, NoReturn

import keras

Signs = tuple[int, int] | str


def signs(value: float) -> Signs:
    """Sign of a float relative to 0 and to 1, on which code branches.

    Args:
        value: Float.

    Returns:
        The signs of `value` and of `value - 1`, each -1, 0 or 1; or the text "inf",
        "-inf" or "nan".

    Example:

    >>> signs(0.3), signs(1.0), signs(float("nan"))
    ((1, -1), (1, 0), 'nan')
    """
    if not math.isfinite(value):
        return repr(value)
    return (value > 0) - (value < 0), (value > 1) - (value < 1)


class ConcretizationError(TypeError):
    """A `TracedScalar` was used where the value of the float is needed."""


class TracedScalar:
    """Stands in for a float of a model while a step is traced.

    It takes part in arithmetic, and converts to a tensor of the dtype that is asked
    for, as a Python float would. It can be compared with 0 and with 1, since a compiled
    step serves only values with the same `signs`. Every other use raises
    `ConcretizationError`.

    Args:
        path: String, the path of the float in the model.
        tensor: Scalar tensor of the backend.
        signs: `signs` of the float; `None` where they are not known.
        concretized: Set to which the path is added when the scalar raises.
    """

    dtype = float  # Keras asks for it to infer the dtype of a result.
    __hash__ = None  # type: ignore[assignment]
    __array_priority__ = 1000

    def __init__(
        self,
        path: str,
        tensor: Any,
        signs: Signs | None = None,
        concretized: set[str] | None = None,
    ) -> None:
        self.path = path
        self.tensor = tensor
        self.signs = signs
        self.concretized = set() if concretized is None else concretized

    def __repr__(self) -> str:
        return f"<TracedScalar {self.path}>"

    def __jax_array__(self) -> Any:
        return self.tensor

    def __array__(self, *args: Any, **kwargs: Any) -> NoReturn:
        self._fail("converted to an array")

    def __float__(self) -> NoReturn:
        self._fail("converted by float()")

    def __int__(self) -> NoReturn:
        self._fail("converted by int()")

    __index__ = __int__

    def __round__(self, digits: int | None = None) -> NoReturn:
        self._fail("rounded")

    def __bool__(self) -> bool:
        return bool(self._compare(operator.ne, 0))

    def __neg__(self) -> Any:
        return self._derived(-self.tensor)

    def __pos__(self) -> "TracedScalar":
        return self

    def __abs__(self) -> Any:
        return self._derived(abs(self.tensor))

    def _fail(self, how: str) -> NoReturn:
        self.concretized.add(self.path)
        raise ConcretizationError(
            f"The value of `{self.path}` is unknown while a step is traced, so it "
            f"cannot be {how}."
        )

    def _compare(self, compare: Callable[[Any, Any], Any], other: Any) -> Any:
        if keras.ops.is_tensor(other) or isinstance(
            other, (TracedScalar, keras.Variable)
        ):
            return self._operate(compare, other)
        is_mark = type(other) in (int, float) and other in (0, 1)
        if is_mark and isinstance(self.signs, tuple):
            return compare(self.signs[int(other)], 0)
        return self._fail(f"compared with {other!r}")

    def _operate(
        self, operate: Callable[[Any, Any], Any], other: Any, reverse: bool = False
    ) -> Any:
        if isinstance(other, TracedScalar):
            mine, yours = self.tensor, other.tensor
        elif isinstance(other, (int, float)):
            mine, yours = self.tensor, other
        elif keras.ops.is_tensor(other) or isinstance(other, keras.Variable):
            other = keras.ops.convert_to_tensor(other)
            mine, yours = keras.ops.cast(self.tensor, other.dtype), other
        else:
            return NotImplemented
        result = operate(yours, mine) if reverse else operate(mine, yours)
        if isinstance(other, (int, float, TracedScalar)):
            return self._derived(result)
        return result

    def _derived(self, tensor: Any) -> Any:
        if keras.backend.backend() == "jax":
            return tensor  # Which is weakly typed there, as a Python float is.
        return TracedScalar(self.path, tensor, concretized=self.concretized)


def _forward(operate: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    return lambda self, other: self._operate(operate, other)


def _backward(operate: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    return lambda self, other: self._operate(operate, other, reverse=True)


def _comparison(compare: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    return lambda self, other: self._compare(compare, other)


for _name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow"):
    _operator = getattr(operator, _name)
    setattr(TracedScalar, f"__{_name}__", _forward(_operator))
    setattr(TracedScalar, f"__r{_name}__", _backward(_operator))
for _name in ("lt", "le", "eq", "ne", "gt", "ge"):
    setattr(TracedScalar, f"__{_name}__", _comparison(getattr(operator, _name)))
