"""What the rules examine: the calls of a model in a forward pass, and its data."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import layers, ops

from hornbook.compat import all_layers

NORMS = (
    layers.BatchNormalization,
    layers.LayerNormalization,
    layers.GroupNormalization,
    layers.UnitNormalization,
)


class Call(NamedTuple):
    """A call of a layer.

    Attributes:
        layer: The layer, or an operation.
        inputs: List of input tensors.
        outputs: List of output tensors.
    """

    layer: Any
    inputs: list[Any]
    outputs: list[Any]

    @property
    def path(self) -> str:
        """Path of the layer, or its name if Keras gives it no path."""
        return getattr(self.layer, "path", None) or self.layer.name


class ModelInspection:
    """A model, its calls in one forward pass, and its data.

    Args:
        model: As for `review`.
        data: As for `review`.
        validation_data: As for `review`.
        batch_size: As for `review`.

    Attributes:
        x: Inputs of at most 256 examples, or `None`.
        y: Labels of the examples, or `None`.
        calls: List of `Call`, in their order.
        outputs: List of the tensors that the model outputs.
    """

    def __init__(
        self,
        model: keras.Model,
        data: Any = None,
        validation_data: Any = None,
        batch_size: int | None = None,
    ) -> None:
        self.model = model
        self.data, self.validation_data = data, validation_data
        self.x = self.y = None
        self.batch_size = batch_size
        if data is not None:
            first = data
            if not is_arrays(data):
                first = next(iter(data), None)
                if first is None:
                    raise ValueError(f"`data` is empty. Received: data={data!r:.80}")
            x, self.y, _ = keras.utils.unpack_x_y_sample_weight(first)
            examples = len(keras.tree.flatten(x)[0])
            if not examples:
                raise ValueError("`data` is empty. Received: 0 examples")
            if first is not data:
                self.batch_size = self.batch_size or examples
            self.x = keras.tree.map_structure(lambda each: each[:256], x)
        elif not model.built or not getattr(model, "inputs", None):
            raise ValueError(
                "The inputs of the model are unknown: pass `data`. "
                f"Received: model={model}, data=None"
            )
        shown = self.x if data is not None else _noise(model)
        self.calls, self.outputs = _record(model, shown)
        self.takers: dict[int, list[int]] = {}
        for place, call in enumerate(self.calls):
            for tensor in call.inputs:
                self.takers.setdefault(id(tensor), []).append(place)

    def consumers(self, call: Call) -> list[Call]:
        """The calls whose inputs are outputs of a call."""
        places = {p for t in call.outputs for p in self.takers.get(id(t), ())}
        return [self.calls[place] for place in sorted(places)]

    def is_output(self, call: Call) -> bool:
        """Whether the output of a call, perhaps reshaped, is that of the model."""
        if {id(t) for t in call.outputs} & {id(t) for t in self.outputs}:
            return True
        after = self.consumers(call)
        passive = (layers.Activation, layers.Reshape, layers.Flatten, layers.Softmax)
        return bool(after) and all(
            isinstance(c.layer, passive) and self.is_output(c) for c in after
        )

    def weighted(self) -> list[Call]:
        """The calls of layers with a kernel of their own."""
        return [call for call in self.calls if kernels_of(call.layer)]

    def hidden(self) -> list[Call]:
        """The calls of layers with a kernel that are not the output of the model."""
        return [call for call in self.weighted() if not self.is_output(call)]

    def activation(self, call: Call) -> str:
        """Name of the activation that is applied to the output of a layer next."""
        name = activation_of(call.layer)
        after = self.consumers(call)
        while name == "linear" and len(after) == 1:
            if isinstance(after[0].layer, (*NORMS, layers.Reshape, layers.Flatten)):
                after = self.consumers(after[0])
                continue
            kinds = (layers.Activation, layers.ReLU, layers.LeakyReLU, layers.Softmax)
            return (
                activation_of(after[0].layer)
                if isinstance(after[0].layer, kinds)
                else name
            )
        return name


def is_arrays(data: Any) -> bool:
    """Whether data is arrays, with or without labels, and not batches."""
    if isinstance(data, list):
        return bool(data) and all(hasattr(part, "shape") for part in data)
    return isinstance(data, (tuple, dict)) or hasattr(data, "shape")


def _noise(model: keras.Model) -> Any:
    """An example of noise for each input, of zeros for integer inputs."""
    rng = np.random.default_rng(0)

    def make(tensor: keras.KerasTensor) -> np.ndarray:
        shape = [1, *(64 if size is None else size for size in tensor.shape[1:])]
        whole = "int" in keras.backend.standardize_dtype(tensor.dtype)
        values = np.zeros(shape) if whole else rng.normal(size=shape)
        return values.astype(keras.backend.standardize_dtype(tensor.dtype))

    made = [make(tensor) for tensor in model.inputs]
    return made if len(made) > 1 else made[0]


def _record(model: keras.Model, x: Any) -> tuple[list[Call], list[Any]]:
    """Every call of every layer in a forward pass, and the outputs of the model."""
    model(x, training=False)  # builds all layers
    found = all_layers(model)
    inner = {id(op): op for each in found for op in getattr(each, "operations", [])}
    inner |= {id(layer): layer for layer in found}
    calls = []

    def watch(layer: Any, call: Callable) -> Callable:
        def watched(*args: Any, **kwargs: Any) -> Any:
            outputs = call(*args, **kwargs)
            tensors = keras.tree.flatten((args, kwargs))
            inputs = [t for t in tensors if hasattr(t, "shape")]
            # A tensor that is passed on must not be taken for the input.
            old = {id(t) for t in inputs}
            outputs = keras.tree.map_structure(
                lambda t: ops.copy(t) if id(t) in old else t, outputs
            )
            calls.append(Call(layer, inputs, keras.tree.flatten(outputs)))
            return outputs

        return watched

    with contextlib.ExitStack() as stack:
        for each in inner.values():
            if not isinstance(each, (keras.Model, layers.InputLayer)):
                own = vars(each)
                before = {key: own[key] for key in ("call",) if key in own}
                own["call"] = watch(each, each.call)
                stack.callback(own.update, before)
                stack.callback(own.pop, "call")
        outputs = model(x, training=False)
    return calls, keras.tree.flatten(outputs)


def activation_of(layer: Any) -> str:
    """Name of the activation in a layer, "linear" if it has none."""
    if isinstance(layer, layers.Softmax):
        return "softmax"
    if isinstance(layer, (layers.ReLU, layers.LeakyReLU)):
        return "relu"
    activation = getattr(layer, "activation", None)
    return getattr(activation, "__name__", "linear") if activation else "linear"


def kernels_of(layer: Any) -> list[keras.Variable]:
    """The kernels of a layer itself, without depthwise and recurrent ones."""
    own = [getattr(layer, name, None) for name in ("kernel", "pointwise_kernel")]
    recurrent = hasattr(layer, "recurrent_kernel")
    depthwise = isinstance(layer, (layers.DepthwiseConv1D, layers.DepthwiseConv2D))
    if recurrent or depthwise:
        return []
    return [v for v in own if isinstance(v, keras.Variable) and len(v.shape) > 1]


def as_numpy(tensor: Any) -> np.ndarray:
    """A tensor or a variable as a float64 array."""
    return ops.convert_to_numpy(tensor).astype("float64")


def losses(inspection: ModelInspection) -> Iterator[tuple[dict, str, Call]]:
    """The config of a cross-entropy, with the last activation and the last call."""
    given = getattr(inspection.model, "loss", None)
    if given is None or len(inspection.outputs) != 1:
        return
    loss = keras.losses.get(given)
    name = getattr(loss, "name", getattr(loss, "__name__", ""))
    if "crossentropy" not in name:
        return
    config = loss.get_config() if isinstance(loss, keras.losses.Loss) else {}
    last = [
        c
        for c in inspection.calls
        if inspection.is_output(c)
        and not isinstance(c.layer, (layers.Reshape, layers.Flatten))
    ]
    if last:
        names = [activation_of(c.layer) for c in last]
        named = next((n for n in reversed(names) if n != "linear"), "linear")
        yield {"kind": name, **config}, named, last[-1]
