# SPDX-License-Identifier: Apache-2.0
"""LayerProbe: gradients, activations, saturated and dead units of each layer.

What:    runs a batch of examples through a model, forward and backward, and measures
         what each layer does with it. The model is not changed.
When:    before training, to see that signals pass; during it, by `TrainingMonitor`.
Not for: what happens inside a layer's `call`, such as an activation by `keras.ops` in
         a subclassed layer, and inside the loops of RNN and TimeDistributed.
Source:  Glorot and Bengio, "Understanding the difficulty of training deep feedforward
         neural networks", AISTATS 2010; exact statistics: Wu and Johnson, "Rethinking
         'Batch' in BatchNorm", arXiv 2105.07576.
Differs: from Glorot and Bengio: gradients with respect to weights, not activations.
Needs:   keras>=3.12; tensorflow, jax or torch, where that is the backend.
"""

import contextlib
from typing import Any

import keras
import numpy as np
from keras import ops

RECTIFIERS = (
    *("relu", "relu6", "leakyrelu", "prelu", "elu", "selu", "celu"),
    *("gelu", "silu", "swish"),
)
SATURATING = ("sigmoid", "tanh", "hardsigmoid", "hardtanh")
LOOPS = (keras.layers.RNN, keras.layers.TimeDistributed)  # nothing leaves their loops
QUANTILES = {"q02": 0.02, "q25": 0.25, "q50": 0.5, "q75": 0.75, "q98": 0.98}
SAMPLE = 16_384  # values at most, of which quantiles are taken


class LayerProbe:
    """Measures what each layer does with a batch.

    Call it with a model to get a dict from layers' paths, in the order of their calls,
    to dicts of figures. It has the layers with a nonlinearity or weights. A figure that
    a layer does not have, or that cannot be measured, is left out.

    - `activation`: name of the nonlinearity, in lower case.
    - `is_output`: 1 if the layer's output is an output of the model.
    - `gradient_norm`, and `gradient_q02` to `gradient_q98`, quantiles (2, 25, 50, 75
      and 98 %) over its largest weight: the gradient of the loss with respect to the
      weights that the layer itself trains, in training mode. Needs a loss given to
      `compile`, with labels, or an overridden `compute_loss`.
    - `activation_mean`, `activation_sd`, `activation_q02` to `activation_q98`,
      `zero_fraction`: of the layer's first output, in inference mode. Quantiles of
      more than 16,384 values are of about as many.
    - `saturated_fraction`: fraction of a sigmoid's or tanh's outputs where its slope is
      below 5 % of its steepest.
    - `units`, `dead_units`: for ReLU and similar activations, the number of channels,
      and of those that are negative or 0 for every example and position.
    - `running_mean_gap`, `running_variance_ratio`: BatchNormalization's running
      statistics compared with the exact ones of the batch: distance of the means in
      standard deviations (root mean square over channels), and ratio of the variances
      (geometric mean).

    On TensorFlow and JAX it is compiled at the first call, and again if layers were
    frozen or unfrozen since then.

    Args:
        x: Inputs, as for `fit`: an array, or a list or dict of arrays, with 32 to 256
            examples of the training set.
        y: Labels, as for `fit`. Defaults to `None`.
        sample_weight: Weights of the examples. Defaults to `None`.

    Raises:
        ValueError: If an argument is not made of arrays.

    Example:
    >>> x = np.ones((8, 3), "float32")
    >>> hidden = keras.layers.Dense(4, activation="relu", name="hidden")
    >>> model = keras.Sequential([keras.Input((3,)), hidden, keras.layers.Dense(1)])
    >>> _ = hidden.bias.assign([-9, 9, 9, 9])
    >>> figures = LayerProbe(x)(model)[hidden.path]
    >>> figures["units"], figures["dead_units"]
    (4, 1)
    """

    FIGURES = (
        *("activation", "is_output"),
        *("gradient_norm", *(f"gradient_{each}" for each in QUANTILES)),
        *("activation_mean", "activation_sd"),
        *(f"activation_{each}" for each in QUANTILES),
        *("zero_fraction", "saturated_fraction", "units", "dead_units"),
        *("running_mean_gap", "running_variance_ratio"),
    )

    def __init__(self, x: Any, y: Any = None, sample_weight: Any = None) -> None:
        given = (x, y, sample_weight)
        arrays = [each for each in keras.tree.flatten(given) if each is not None]
        if not all(hasattr(each, "shape") and len(each.shape) for each in arrays):
            raise ValueError(
                f"`LayerProbe` takes arrays. Received: x={x!r:.80}, y={y!r:.80}"
            )
        self._batch = keras.tree.map_structure(
            lambda each: None if each is None else ops.convert_to_tensor(each), given
        )
        self._key = self._look = self._order = None

    def __call__(self, model: keras.Model) -> dict[str, dict]:
        if not model.built:
            model(self._batch[0])
        variables = _variables(model)
        key = (id(model), len(model.trainable_variables), *map(id, variables))
        if key != self._key:
            self._key, self._order = key, []
            self._look = _compile(model, self._batch[1] is not None, self._order)
        # In float16 a gradient vanishes that is not scaled as in training.
        optimizer = getattr(model, "optimizer", None)
        scale = getattr(optimizer, "initial_scale", 1.0)
        scale = ops.convert_to_tensor(getattr(optimizer, "dynamic_scale", scale))
        values = [ops.convert_to_tensor(variable) for variable in variables]
        found = self._look(values, *self._batch, ops.cast(scale, "float32"))
        found = {
            path: {
                name: ops.convert_to_numpy(value).item() for name, value in of.items()
            }
            for path, of in found.items()
        }
        names = {_path(layer): _activation(layer) for layer in _layers(model)}
        return {p: {"activation": names.get(p)} | found[p] for p in self._order}


def _layers(model):
    """Layers whose calls can be seen, and operations of functional models."""
    found, hidden = {}, set()
    for layer in model._flatten_layers():
        found |= {id(each): each for each in (layer, *getattr(layer, "operations", ()))}
        if isinstance(layer, LOOPS):
            hidden |= {id(each) for each in layer._flatten_layers(include_self=False)}
    return [layer for key, layer in found.items() if key not in hidden]


def _path(layer):
    return getattr(layer, "path", None) or layer.name


def _variables(model):
    variables = [*model.trainable_variables, *model.non_trainable_variables]
    return [*variables, *model.metrics_variables]


def _activation(layer):
    """Name of a layer's nonlinearity, or `None`."""
    given = getattr(layer, "activation", None) or layer
    name = getattr(given, "__name__", type(given).__name__).lower().replace("_", "")
    known = name in (*RECTIFIERS, *SATURATING, "softmax")
    return name if known and not isinstance(layer, LOOPS) else None


def _compile(model, labelled, order):
    """A function from variables' values and a batch to figures by layer.

    `order` becomes the layers in the order of their calls, which JAX sorts by name.
    """
    variables, count = _variables(model), len(model.trainable_variables)
    labelled = labelled and getattr(model, "loss", None) is not None
    labelled |= type(model).compute_loss is not keras.Model.compute_loss
    owned = {}
    for layer in model._flatten_layers():  # what is within a layer comes after it
        owned |= {id(v): _path(layer) for v in layer.trainable_variables}

    def look(values, x, y, weight, scale):
        def loss(trained):
            state = zip(variables, [*trained, *values[count:]], strict=True)
            with keras.StatelessScope(state):
                outputs = model(x, training=True)
                loss = model.compute_loss(x, y, outputs, weight)
                return scale * ops.cast(loss, "float32")

        with keras.StatelessScope(zip(variables, values, strict=True)):
            figures = _watch(model, x)
        parts = {}
        for i, each in enumerate(_gradients(loss, values[:count]) if labelled else ()):
            part = ops.cast(each, "float32") / scale
            parts.setdefault(owned[id(variables[i])], []).append(part)
        for path, gradients in parts.items():
            norm = ops.sqrt(sum(ops.sum(ops.square(each)) for each in gradients))
            largest = max(gradients, key=lambda each: np.prod(each.shape))
            figures.setdefault(path, {})["gradient_norm"] = norm
            figures[path] |= _quantiles("gradient", largest)
        order[:] = figures
        return figures

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.function(look)
    if keras.backend.backend() == "jax":
        import jax

        return jax.jit(look)
    import torch

    def look_apart(*arguments):
        with torch.random.fork_rng():  # of which Keras's dropout on torch takes
            return look(*arguments)

    return look_apart


def _gradients(function, values):
    if keras.backend.backend() == "jax":
        import jax

        return jax.grad(function)(values)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(values)
            result = function(values)
        found = tape.gradient(result, values, unconnected_gradients="zero")
        return [tf.convert_to_tensor(each) for each in found]  # those of embeddings
    import torch

    values = [value.detach().requires_grad_() for value in values]
    return torch.autograd.grad(
        function(values), values, allow_unused=True, materialize_grads=True
    )


def _watch(model, x):
    """Figures of each layer in a pass in inference mode, in the order of the calls."""
    calls = {}

    def watch(layer, call):
        def watched(*args, **kwargs):
            outputs = call(*args, **kwargs)
            pair = [keras.tree.flatten(each)[0] for each in ((args, kwargs), outputs)]
            calls.setdefault(layer, []).append(pair)
            return outputs

        return watched

    with contextlib.ExitStack() as stack:
        for layer in _layers(model):
            if not isinstance(layer, (keras.Model, keras.layers.InputLayer)):
                own = vars(layer)
                before = {key: own[key] for key in ("call",) if key in own}
                own["call"] = watch(layer, layer.call)
                stack.callback(own.update, before)
                stack.callback(own.pop, "call")
        given = keras.tree.flatten(model(x, training=False))
    figures = {}
    for layer, pairs in calls.items():
        is_float = "float" in keras.backend.standardize_dtype(pairs[0][1].dtype)
        if is_float and (_activation(layer) or getattr(layer, "weights", ())):
            is_output = any(outputs is each for _, outputs in pairs for each in given)
            figures[_path(layer)] = _describe(layer, pairs)
            figures[_path(layer)]["is_output"] = ops.convert_to_tensor(int(is_output))
    return figures


def _describe(layer, pairs):
    """Figures of the inputs and outputs of a layer's calls."""
    axis = 1 if getattr(layer, "data_format", None) == "channels_first" else -1
    pairs = [[ops.cast(each, "float32") for each in pair] for pair in pairs]
    rows = [
        ops.reshape(out, (-1, 1)) if len(out.shape) < 2 else out for _, out in pairs
    ]
    rows = [ops.moveaxis(each, axis, -1) for each in rows]
    rows = ops.concatenate([ops.reshape(each, (-1, each.shape[-1])) for each in rows])
    name = _activation(layer)
    figures = {
        "activation_mean": ops.mean(rows),
        "activation_sd": ops.std(rows),
        "zero_fraction": ops.mean(ops.cast(ops.equal(rows, 0), "float32")),
        **_quantiles("activation", rows),
    }
    if name in SATURATING:
        centred = 2 * rows - 1 if "sigmoid" in name else rows
        flat = ops.greater(ops.square(centred), 0.95)  # the slope is 1 - the square
        figures["saturated_fraction"] = ops.mean(ops.cast(flat, "float32"))
    if name in RECTIFIERS:
        dead = ops.all(ops.less_equal(rows, 0), axis=0)
        figures["units"] = ops.convert_to_tensor(rows.shape[-1])
        figures["dead_units"] = ops.sum(ops.cast(dead, "int32"))
    if isinstance(layer, keras.layers.BatchNormalization):
        x = ops.moveaxis(pairs[0][0], layer.axis, -1)
        mean, variance = ops.moments(x, list(range(len(x.shape) - 1)))
        running = ops.cast(layer.moving_variance, "float32") + layer.epsilon
        variance += layer.epsilon
        gap = ops.cast(layer.moving_mean, "float32") - mean
        figures["running_mean_gap"] = ops.sqrt(ops.mean(gap**2 / variance))
        ratio = ops.mean(ops.log(running / variance))
        figures["running_variance_ratio"] = ops.exp(ratio)
    return figures


def _quantiles(name, values):
    rows = ops.reshape(values, (-1, values.shape[-1] if len(values.shape) else 1))
    # Whole rows, at an odd stride, so that no channel or column of pixels is missed.
    rows = rows[:: -(-int(np.prod(rows.shape)) // SAMPLE) | 1]
    places = ops.convert_to_tensor([*QUANTILES.values()], "float32")
    found = ops.quantile(rows, places)
    return {f"{name}_{key}": found[i] for i, key in enumerate(QUANTILES)}
