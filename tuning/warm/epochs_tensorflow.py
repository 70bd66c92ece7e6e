"""Epochs on TensorFlow: one graph with a loop over the batches."""

import functools
from typing import Any

import keras
import tensorflow as tf
from keras import tree

from hornbook.tuning.warm.epochs import EpochRequest, Epochs, Substituted
from hornbook.tuning.warm.traced_scalar import TracedScalar


class TensorFlowEpochs(Epochs):
    """Runs each epoch as one `tf.function`."""

    def __init__(self, model: keras.Model) -> None:
        super().__init__(model)
        self.compiled: dict[Any, Any] = {}
        self.scalars: dict[str, tf.Variable] = {}
        register_traced_scalar()

    def trace_with(self, values: dict[str, float], substituted: Substituted) -> None:
        super().trace_with(values, substituted)
        self.scalars = {path: tf.Variable(value) for path, value in values.items()}
        self.compiled = {}

    def set_values(self, values: dict[str, float]) -> None:
        super().set_values(values)
        for path, variable in self.scalars.items():
            variable.assign(values[path])

    @staticmethod
    def to_device(array: Any) -> Any:
        return tf.convert_to_tensor(array)

    @staticmethod
    def copy(source: keras.Variable, target: keras.Variable) -> None:
        # Keras's `assign` takes six times as long, to check what is known here.
        target.value.assign(source.value)

    def prepare(self, request: EpochRequest) -> None:
        kind, data, _, batch_size = request
        specs = tree.map_structure(_batch_spec, data)
        key = kind, batch_size, str(specs)
        if key in self.compiled:
            return
        step = getattr(self.model, f"{kind}_step")

        def run_step(batch):
            with self.substituted(self.scalars):
                return step(batch)

        compiled_step = tf.function(
            run_step, autograph=False, jit_compile=self.model.jit_compile
        ).get_concrete_function(specs)
        empty = tree.map_structure(
            lambda spec: tf.zeros(spec.shape, spec.dtype),
            compiled_step.structured_outputs,
        )

        def run_epoch(data, order):
            self.model.reset_metrics()  # In the graph it costs nothing.

            def body(start, logs):
                chosen = order[start : start + batch_size]
                batch = tree.map_structure(lambda x: tf.gather(x, chosen), data)
                return start + batch_size, compiled_step(batch)

            size = tf.size(order)
            return tf.while_loop(lambda i, _: i < size, body, (0, empty))[1]

        order_spec = tf.TensorSpec([None], "int32")
        self.compiled[key] = tf.function(
            run_epoch, autograph=False
        ).get_concrete_function(specs, order_spec)

    def run(self, request: EpochRequest) -> dict[str, Any]:
        kind, data, order, batch_size = request
        specs = tree.map_structure(_batch_spec, data)
        compiled = self.compiled[kind, batch_size, str(specs)]
        return compiled(data, self.to_device(order))


def _batch_spec(tensor: Any) -> tf.TensorSpec:
    """The spec of a batch of any size."""
    return tf.TensorSpec([None, *tensor.shape[1:]], tensor.dtype)


@functools.cache
def register_traced_scalar() -> None:
    """Tells TensorFlow, once, how a `TracedScalar` becomes a tensor."""

    def convert(scalar, dtype=None, name=None, as_ref=False):
        tensor = tf.convert_to_tensor(scalar.tensor)
        return tensor if dtype is None else tf.cast(tensor, dtype)

    tf.register_tensor_conversion_function(TracedScalar, convert)

    class Convert(tf.__internal__.dispatch.GlobalOpDispatcher):
        """For operations that take floats or tensors, and convert nothing."""

        def handle(self, op, args, kwargs):
            values = [*args, *kwargs.values()]
            if not any(isinstance(value, TracedScalar) for value in values):
                return self.NOT_SUPPORTED
            dtypes = [value.dtype for value in values if tf.is_tensor(value)]
            dtype = next((d for d in dtypes if d.is_floating), None)

            def to_tensor(value):
                is_scalar = isinstance(value, TracedScalar)
                return convert(value, dtype) if is_scalar else value

            kwargs = {name: to_tensor(value) for name, value in kwargs.items()}
            return op(*map(to_tensor, args), **kwargs)

    Convert().register()
