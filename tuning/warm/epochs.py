"""Whole epochs of training and validation, compiled, over data on the device.

`Epochs(model)` has the same methods on each backend. `prepare` traces and compiles,
and raises what a `Number` or the model raises, before anything has been trained.
`run` resets the metrics and runs.

On TensorFlow an epoch is one graph with a loop in it, on JAX one compiled scan (and a
step for what is left over). On torch it is a plain loop, as in `fit`: nothing is
compiled there, and all it saves is moving the batches.
"""

import contextlib
import sys

import keras
import numpy as np
from keras import tree


def backend_epochs(model):
    """The `Epochs` of the backend that Keras runs on."""
    kinds = {
        "tensorflow": _TensorFlowEpochs,
        "jax": JaxEpochs,
        "torch": _TorchEpochs,
    }
    return kinds[keras.backend.backend()](model)


class _Epochs:
    """What the backends share.

    Args:
        model: A compiled model whose optimizer is built.
    """

    def __init__(self, model):
        self.model = model
        self.tensors = {}
        self.place = contextlib.nullcontext

    def use(self, values, place):
        """Puts `Number`s in place of floats, while tracing.

        Args:
            values: Dict from path to float; set before each run by `set_values`.
            place: `place(tensors)` gives a context in which `Number`s that hold the
                tensors, a dict from path, stand in the model.
        """
        self.values, self.place = dict(values), place

    def set_values(self, values):
        """Sets the floats that steps are run with."""
        self.values = dict(values)

    @staticmethod
    def copy(source, target):
        """Gives a variable the value of another."""
        target.assign(source)


class _TensorFlowEpochs(_Epochs):
    def __init__(self, model):
        super().__init__(model)
        self.compiled = {}
        _teach_tensorflow()

    def use(self, values, place):
        import tensorflow as tf

        super().use(values, place)
        self.tensors = {path: tf.Variable(value) for path, value in values.items()}
        self.compiled = {}

    def set_values(self, values):
        super().set_values(values)
        for path, variable in self.tensors.items():
            variable.assign(values[path])

    @staticmethod
    def put(array):
        import tensorflow as tf

        return tf.convert_to_tensor(array)

    @staticmethod
    def copy(source, target):
        # (`assign` of Keras takes six times as long to check what is known here)
        target.value.assign(source.value)

    def prepare(self, kind, data, order, batch_size):
        import tensorflow as tf

        specs = tree.map_structure(_spec, data)
        key = kind, batch_size, str(specs)
        if key in self.compiled:
            return
        step = getattr(self.model, f"{kind}_step")

        def run_step(batch):
            with self.place(self.tensors):
                return step(batch)

        run_step = tf.function(
            run_step, autograph=False, jit_compile=self.model.jit_compile
        ).get_concrete_function(specs)
        empty = tree.map_structure(
            lambda spec: tf.zeros(spec.shape, spec.dtype), run_step.structured_outputs
        )

        def run_epoch(data, order):
            self.model.reset_metrics()  # In the graph it costs nothing.

            def body(start, logs):
                chosen = order[start : start + batch_size]
                batch = tree.map_structure(lambda x: tf.gather(x, chosen), data)
                return start + batch_size, run_step(batch)

            size = tf.size(order)
            return tf.while_loop(lambda i, _: i < size, body, (0, empty))[1]

        order_spec = tf.TensorSpec([None], "int32")
        self.compiled[key] = tf.function(
            run_epoch, autograph=False
        ).get_concrete_function(specs, order_spec)

    def run(self, kind, data, order, batch_size):
        specs = tree.map_structure(_spec, data)
        order = self.put(order)
        return self.compiled[kind, batch_size, str(specs)](data, order)


@contextlib.contextmanager
def keeping_kernels():
    """Has TensorFlow keep its kernels while Keras resets names and seeds.

    Else it would optimise each of our graphs anew, which takes a small model longer
    than to train.
    """
    name = "TFE_ContextClearCaches"
    module = sys.modules.get("tensorflow.python.pywrap_tfe")
    clear = getattr(module, name, None)
    if clear is None or keras.backend.backend() != "tensorflow":
        yield
        return
    setattr(module, name, lambda context: None)
    try:
        yield
    finally:
        setattr(module, name, clear)


def _spec(tensor):
    """Of a batch of any size."""
    import tensorflow as tf

    return tf.TensorSpec([None, *tensor.shape[1:]], tensor.dtype)


def _teach_tensorflow():
    """Tells TensorFlow how a `Number` becomes a tensor."""
    import tensorflow as tf

    from hornbook.tuning.warm.traced_scalar import Number

    if getattr(Number, "known_to_tensorflow", False):
        return
    Number.known_to_tensorflow = True

    def convert(number, dtype=None, name=None, as_ref=False):
        tensor = tf.convert_to_tensor(number.tensor)
        return tensor if dtype is None else tf.cast(tensor, dtype)

    tf.register_tensor_conversion_function(Number, convert)

    class Convert(tf.__internal__.dispatch.GlobalOpDispatcher):
        """For operations that take floats or tensors, and convert nothing."""

        def handle(self, op, args, kwargs):
            values = [*args, *kwargs.values()]
            if not any(isinstance(value, Number) for value in values):
                return self.NOT_SUPPORTED
            dtypes = [value.dtype for value in values if tf.is_tensor(value)]
            dtype = next((d for d in dtypes if d.is_floating), None)

            def known(value):
                return convert(value, dtype) if isinstance(value, Number) else value

            kwargs = {name: known(value) for name, value in kwargs.items()}
            return op(*map(known, args), **kwargs)

    Convert().register()


class JaxEpochs(_Epochs):
    """Epochs on JAX; what a population compiles is made of them."""

    def __init__(self, model):
        super().__init__(model)
        self.compiled = {}
        self.values = {}

    def use(self, values, place):
        super().use(values, place)
        self.compiled = {}

    @staticmethod
    def put(array):
        import jax

        return jax.device_put(array)

    def prepare(self, kind, data, order, batch_size):
        import jax

        key = self._key(kind, data, order, batch_size)
        if key in self.compiled:
            return
        arguments = self._state(kind), data, order, self.values
        self.compiled[key] = (
            jax.jit(self.make_epoch(kind, batch_size), donate_argnums=0)
            .lower(*arguments)
            .compile()
        )

    def make_epoch(self, kind, batch_size):
        """The function of state, data, order and floats that runs an epoch."""
        import jax

        step = getattr(self.model, f"{kind}_step")

        def run_epoch(state, data, order, values):
            def body(state, chosen):
                batch = tree.map_structure(lambda x: x[chosen], data)
                logs, state = step(state, batch)
                return state, logs

            with self.place(values):
                full, rest = divmod(len(order), batch_size)
                if full:
                    chosen = order[: full * batch_size].reshape(full, batch_size)
                    state, logs = jax.lax.scan(body, state, chosen)
                    logs = tree.map_structure(lambda log: log[-1], logs)
                if rest:
                    state, logs = body(state, order[full * batch_size :])
            return logs, state

        return run_epoch

    def run(self, kind, data, order, batch_size):
        self.model.reset_metrics()
        compiled = self.compiled[self._key(kind, data, order, batch_size)]
        logs, state = compiled(self._state(kind), data, order, self.values)
        for variables, values in zip(
            variables_of(self.model, kind), state, strict=True
        ):
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)
        return logs

    def _key(self, kind, data, order, batch_size):
        shapes = [(x.shape, str(x.dtype)) for x in tree.flatten(data)]
        return kind, batch_size, len(order), str(shapes)

    def _state(self, kind):
        groups = variables_of(self.model, kind)
        return tuple([v.value for v in group] for group in groups)


def variables_of(model, kind):
    """Groups of variables that a step of "train" or "test" takes on JAX, in order."""
    optimizer = [model.optimizer.variables] if kind == "train" else []
    return [
        model.trainable_variables,
        model.non_trainable_variables,
        *optimizer,
        model.metrics_variables,
    ]


class _TorchEpochs(_Epochs):
    @staticmethod
    def put(array):
        return keras.ops.convert_to_tensor(array)

    def prepare(self, kind, data, order, batch_size):
        pass

    def run(self, kind, data, order, batch_size):
        import torch

        training = kind == "train"
        self.model.reset_metrics()
        self.model.train(training)
        step = getattr(self.model, f"{kind}_step")
        order = torch.from_numpy(np.asarray(order, "int64"))
        logs = {}
        with torch.set_grad_enabled(training):
            for chosen in order.split(batch_size):
                # (an index on the data's device)
                batch = tree.map_structure(lambda x: x[chosen.to(x.device)], data)  # noqa: B023
                logs = step(batch)
        self.model.eval()
        return logs
