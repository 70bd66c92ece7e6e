# SPDX-License-Identifier: Apache-2.0
"""fit_lbfgs: full-batch training of a compiled model with SciPy's L-BFGS-B.

What:    minimises the mean loss over all examples, without a learning rate, and returns
         a `History`; memory is bounded by computing in chunks of the data.
When:    small models and tables: regression, least squares, physics-informed nets, a
         head on frozen features; where the last digits of the loss matter.
Not for: large data sets, where a step of SGD costs a thousandth of one over all
         examples; noise in training: dropout and augmentation are off.
Source:  Byrd, Lu, Nocedal and Zhu, "A Limited Memory Algorithm for Bound Constrained
         Optimization", SIAM Journal on Scientific Computing, 1995.
Needs:   keras>=3.12; scipy>=1.15; the backend: tensorflow, jax or torch.
"""

import math
import warnings
from typing import Any

import keras
import numpy as np

HALF = ("float16", "bfloat16")
MEANS = {"mean", "sum_over_batch_size"}


def fit_lbfgs(
    model: keras.Model,
    x: Any,
    y: Any = None,
    max_iter: int = 100,
    chunk_size: int = 1024,
    sample_weight: Any = None,
    class_weight: dict[int, float] | None = None,
    validation_data: tuple | None = None,
    callbacks: list[keras.callbacks.Callback] | None = None,
    history_size: int = 10,
    ftol: float = 2.2e-9,
    gtol: float = 1e-5,
    verbose: int = 1,
) -> keras.callbacks.History:
    """Trains a compiled model on all examples at once, and restores the best point.

    The loss is the one given to `compile`, with regularizers and weights, as
    `evaluate` with one batch of all examples would compute it. It is summed over
    chunks of the data in float64, so `chunk_size` changes memory and speed, and in
    float32 also the precision: small chunks are more precise. The model's optimizer is
    not used. One iteration evaluates the loss and its gradient about once, rarely more
    often.

    - Everything is computed as in inference (`training=False`), since L-BFGS needs the
      same loss for the same weights: dropout, noise and augmentation are off, and
      BatchNormalization uses its moving statistics, which stay as they are. There is
      a warning if that makes a difference.
    - Only trainable variables change. Constraints are refused.
    - Models that compute in float16 or bfloat16 are refused, since the line search
      compares losses that differ in later digits. In float32 the loss has about seven
      digits, which gives about four for the weights. For more, call
      `keras.config.set_floatx("float64")` before the model is built and compiled: a
      layer's `dtype` is not enough, since losses follow `floatx`. TensorFlow then
      computes everything in float64. On JAX (with `jax_enable_x64`) and on torch, Keras
      (3.15) still rounds to float32 within some operations.
    - A loss that is not a mean over examples needs a single chunk: losses with another
      reduction than `"sum_over_batch_size"` or `"mean"`, outputs with a mask,
      activity regularizers, `add_loss`, and an overridden `compute_loss`.

    For callbacks each iteration is an epoch of one batch, and the model has the weights
    of that iteration.

    Args:
        model: A compiled `keras.Model`.
        x: Array, or a list or dict of arrays, `(examples, ...)`.
        y: Targets in the same form. Defaults to `None`.
        max_iter: Int, the maximum number of iterations. Defaults to 100.
        chunk_size: Int, the examples to compute at a time. Defaults to 1024.
        sample_weight: Array `(examples,)` or as `fit` takes it. As there, the loss is
            divided by the number of examples, not by the sum of the weights. Defaults
            to `None`.
        class_weight: Dict from class to weight, for a model with one output. Classes
            not in it have weight 1. Not together with `sample_weight`. Defaults to
            `None`.
        validation_data: `(x, y)` or `(x, y, sample_weight)`, evaluated after each
            iteration. Defaults to `None`.
        callbacks: List of `keras.callbacks.Callback`. Defaults to `None`.
        history_size: Int, the number of past steps that L-BFGS remembers. Defaults to
            10.
        ftol: Float. Stop when the loss falls by no more than this fraction of itself.
            Defaults to 2.2e-9.
        gtol: Float. Stop when no entry of the gradient is larger, in absolute value.
            Defaults to 1e-5.
        verbose: 1, the default, or 2 shows the progress as `fit` does, and why it
            stopped; 0 nothing.

    Returns:
        A `keras.callbacks.History`. Its `history` has, by iteration, `loss`,
        `gradient` (the largest entry of the gradient), `evaluations` (of loss and
        gradient, so far), and `val_loss` and the compiled metrics as `val_…`. Its
        `stop_reason` is a sentence that says why it stopped.

    Raises:
        ValueError: If an argument is out of range, the model is not compiled, has
            nothing to train, or is one of those refused above, the arrays are empty
            or of unequal lengths, or the loss is not finite at the start.

    Example:
    >>> x = np.array([[0.0], [1.0], [2.0], [3.0]], "float32")
    >>> model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    >>> model.compile(loss="mse")
    >>> history = fit_lbfgs(model, x, 2 * x + 1, verbose=0)
    >>> [round(float(w.item()), 2) for w in model.get_weights()]
    [2.0, 1.0]
    >>> len(history.history["loss"]) < 20
    True
    """
    from scipy.optimize import minimize

    counts = {"max_iter": max_iter, "chunk_size": chunk_size}
    for name, value in (counts | {"history_size": history_size}).items():
        if not isinstance(value, (int, np.integer)) or value < 1:
            raise ValueError(
                f"`{name}` must be a positive integer. Received: {name}={value}"
            )
    val_x, val_y, val_weight = keras.utils.unpack_x_y_sample_weight(validation_data)
    if class_weight is not None:
        sample_weight = _weights_of_classes(y, class_weight, sample_weight)
    data, count = _arrays(x, y, sample_weight)
    _check(model, data, in_chunks=chunk_size < count)

    objective = _Objective(model, data, count, chunk_size)
    show = {"add_progbar": verbose != 0, "verbose": verbose}
    callbacks = keras.callbacks.CallbackList(
        callbacks, add_history=True, model=model, epochs=max_iter, steps=1, **show
    )
    history, logs = model.history, {}
    model.stop_training = False

    def begin(epoch):
        callbacks.on_epoch_begin(epoch)
        callbacks.on_train_batch_begin(0)

    def after_iteration(intermediate_result):
        nonlocal logs
        objective.move_to(intermediate_result.x)
        logs = {
            "loss": float(intermediate_result.fun),
            "gradient": float(np.abs(objective.gradient).max()),
            "evaluations": objective.evaluations,
        }
        callbacks.on_train_batch_end(0, logs)
        if validation_data is not None:
            found = model.evaluate(
                val_x, val_y, chunk_size, 0, val_weight, return_dict=True
            )
            logs |= {f"val_{name}": value for name, value in found.items()}
        callbacks.on_epoch_end(len(history.epoch), logs)  # which makes it longer
        if model.stop_training:
            raise StopIteration
        if len(history.epoch) < max_iter:
            begin(len(history.epoch))

    callbacks.on_train_begin()
    begin(0)
    limits = {"maxiter": max_iter, "maxfun": math.inf, "ftol": ftol, "gtol": gtol}
    try:
        result = minimize(
            objective,
            objective.best,
            jac=True,
            method="L-BFGS-B",
            callback=after_iteration,
            options=limits | {"maxcor": history_size},
        )
        history.stop_reason = _reason(model, result, ftol, gtol)
    except _NotFiniteError as error:
        history.stop_reason = str(error)
    finally:
        objective.move_to(objective.best)
        model.reset_metrics()
    callbacks.on_train_end(logs)
    if verbose:
        print(f"Stopped: {history.stop_reason}.")
    return history


class _NotFiniteError(Exception):
    """The loss or its gradient is not finite at a point that was tried."""


class _Objective:
    """The loss over all examples and its gradient, at a flat point, in float64."""

    def __init__(self, model, data, count, chunk_size):
        self.variables = model.trainable_variables
        self.data, self.count, self.chunk_size = data, count, chunk_size
        self.compute = _loss_and_gradients(model)
        self.evaluations = 0
        self.best, self.lowest = _flat([v.value for v in self.variables]), math.inf
        self.gradient = None

    def move_to(self, point):
        ends = np.cumsum([math.prod(v.shape) for v in self.variables])
        for v, part in zip(self.variables, np.split(point, ends[:-1]), strict=True):
            v.assign(part.reshape(v.shape))

    def __call__(self, point):
        self.move_to(point)
        self.evaluations += 1
        loss, gradient = 0.0, np.zeros_like(point)
        for start in range(0, self.count, self.chunk_size):
            stop = min(start + self.chunk_size, self.count)
            chunk_loss, gradients = self.compute(*_part(self.data, start, stop))
            # The shares add up to one, so a regularizer, which is in each chunk's
            # loss, counts once.
            share = (stop - start) / self.count
            loss += share * float(chunk_loss)
            gradient += share * _flat(gradients)
        if not (math.isfinite(loss) and np.isfinite(gradient).all()):
            if self.evaluations == 1:
                raise ValueError(
                    "The loss or its gradient is not finite at the start: check the "
                    f"data and the weights for NaN. Received: loss={loss}"
                )
            raise _NotFiniteError(f"the loss at a point that was tried was {loss}")
        self.gradient = gradient
        if loss < self.lowest:
            self.best, self.lowest = point.copy(), loss
        return loss, gradient


def _flat(tensors):
    """Tensors as one NumPy vector in float64."""
    arrays = [keras.ops.convert_to_numpy(tensor) for tensor in tensors]
    return np.concatenate([array.ravel() for array in arrays], dtype="float64")


def _loss_and_gradients(model):
    """A function `(x, y, sample_weight)` to a loss and a list of gradients."""
    values = [v.value for v in model.trainable_variables]

    def loss(x, y, sample_weight):
        y_pred = model(x, training=False)
        return model.compute_loss(x, y, y_pred, sample_weight, training=False)

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        @tf.function(autograph=False, reduce_retracing=True)
        def compute(*data):
            with tf.GradientTape() as tape:
                value = loss(*data)
            gradients = tape.gradient(value, values, unconnected_gradients="zero")
            return value, [tf.convert_to_tensor(g) for g in gradients]

    elif keras.backend.backend() == "jax":
        import jax

        @jax.jit
        @jax.value_and_grad
        def at(trainable, non_trainable, metrics, data):
            return model.compute_loss_and_updates(
                trainable, non_trainable, metrics, *data, training=False
            )[0]

        def compute(*data):
            groups = model.trainable_variables, model.non_trainable_variables
            state = [[v.value for v in group] for group in groups]
            return at(*state, [v.value for v in model.metrics_variables], data)

    else:
        import torch

        def compute(*data):
            value = loss(*data)
            unused = {"allow_unused": True, "materialize_grads": True}
            return value.detach(), torch.autograd.grad(value, values, **unused)

    return compute


def _part(data, start, stop):
    """Some examples as tensors, floats in `floatx`, as `fit` does it."""

    def convert(array):
        if array is None:
            return None
        dtype = keras.config.floatx() if array.dtype.kind == "f" else None
        return keras.ops.convert_to_tensor(array[start:stop], dtype)

    return keras.tree.map_structure(convert, data)


def _arrays(x, y, sample_weight):
    """`(x, y, sample_weight)` with NumPy arrays in it, and their length."""
    data = keras.tree.map_structure(
        lambda array: None if array is None else np.asarray(array),
        (x, y, sample_weight),
    )
    shapes = [array.shape for array in keras.tree.flatten(data) if array is not None]
    lengths = {shape[0] if shape else 0 for shape in shapes}
    if len(lengths) != 1 or 0 in lengths:
        raise ValueError(
            "`x`, `y` and weights must be arrays of the same length, at least 1. "
            f"Received: shapes={shapes}"
        )
    return data, lengths.pop()


def _weights_of_classes(y, class_weight, sample_weight):
    if sample_weight is not None or keras.tree.is_nested(y) or y is None:
        raise ValueError(
            "`class_weight` needs one array of targets and no `sample_weight`. "
            f"Received: class_weight={class_weight}"
        )
    y = np.asarray(y)
    labels = y.argmax(-1) if y.ndim > 1 and y.shape[-1] > 1 else y.reshape(len(y))
    return np.array([class_weight.get(round(label), 1.0) for label in labels.tolist()])


def _check(model, data, in_chunks):
    """Builds the model, and refuses those that L-BFGS would not train correctly."""
    x, *_ = _part(data, 0, 32)
    y_pred = model(x, training=False)
    variables = model.trainable_variables
    half = [each.name for each in model._flatten_layers() if each.compute_dtype in HALF]
    bound = [v.path for v in variables if v.constraint is not None]
    own_step = type(model).train_step is not keras.Model.train_step
    for refused, why in (
        (not model.compiled, "is not compiled"),
        (not variables, "has no variable that is not frozen"),
        (own_step, "has a `train_step` of its own, which would not be used"),
        (bound, f"has constraints, which would not be kept, on {bound}"),
        (half, f"computes in half precision, too coarse for a line search, in {half}"),
    ):
        if refused:
            raise ValueError(f"Cannot train this. Received: a model that {why}")

    # What is not a mean over examples, so that the chunks' shares do not add up.
    penalties = sum(v.regularizer is not None for v in variables)
    losses, outputs = keras.tree.flatten(model.loss), keras.tree.flatten(y_pred)
    for refused, why in (
        (
            {getattr(f, "reduction", "mean") for f in losses} - MEANS,
            "another reduction",
        ),
        (len(model.losses) > penalties, "`add_loss` or an activity regularizer"),
        (
            any(getattr(out, "_keras_mask", None) is not None for out in outputs),
            "a mask",
        ),
        (
            type(model).compute_loss is not keras.Model.compute_loss,
            "its `compute_loss`",
        ),
    ):
        if in_chunks and refused:
            raise ValueError(
                "A loss that is not a mean over examples cannot be computed in chunks: "
                "pass a `chunk_size` of at least the number of examples. "
                f"Received: a model with {why}"
            )

    with keras.StatelessScope():  # keeps BatchNormalization and seeds as they are
        in_training = keras.tree.flatten(model(x, training=True))
    for pair in zip(outputs, in_training, strict=True):
        pair = map(keras.ops.convert_to_numpy, pair)
        if not np.allclose(*pair, rtol=1e-4, atol=1e-5, equal_nan=True):
            warnings.warn(
                "The model behaves differently in training (dropout, noise, "
                "augmentation or BatchNormalization). `fit_lbfgs` trains it in "
                "inference mode: these are off, and moving statistics do not change.",
                stacklevel=3,
            )
            break


def _reason(model, result, ftol, gtol):
    """SciPy's message as a sentence."""
    message = result.message.upper()
    if model.stop_training:
        return "a callback set `stop_training`"
    if "PROJECTED" in message:
        return f"no entry of the gradient is above gtol={gtol:g}"
    if "REDUCTION" in message:
        return f"the loss fell by no more than ftol={ftol:g} of itself"
    if result.status == 1:
        return f"the limit, max_iter={result.nit}, was reached"
    return "the line search found no lower loss, usually because precision is too low"
