"""Rules on layers and their initial values."""

from collections.abc import Iterator

import keras
import numpy as np
from keras import layers

from hornbook.zoo.doctor.finding import Found, rule
from hornbook.zoo.doctor.model_inspection import (
    NORMS,
    ModelInspection,
    activation_of,
    as_numpy,
    kernels_of,
)

SATURATING = ("sigmoid", "tanh", "hard_sigmoid", "hard_tanh", "softsign")
RECTIFIED = ("relu", "leaky_relu", "relu6")
DEEP = 8  # layers in a plain stack, where a factor of 1/2 per layer does harm


@rule(
    "Its gradient vanishes where it saturates, and with depth (Glorot and Bengio "
    "2010).",
    "Use ReLU or a variant of it in hidden layers.",
)
def saturating_activation(inspection: ModelInspection) -> Iterator[Found]:
    """Saturating activations between layers, except in gates and recurrent cells."""
    for call in inspection.calls:
        name = activation_of(call.layer)
        after = inspection.consumers(call)
        # Gates are meant to saturate, and outputs may.
        gate = any(type(c.layer).__name__.lower() == "multiply" for c in after)
        cell = hasattr(call.layer, "recurrent_activation") or hasattr(
            call.layer, "cell"
        )
        hidden = after and not inspection.is_output(call)
        if name in SATURATING and hidden and not gate and not cell:
            yield call.path, f"the hidden activation is {name}"


@rule(
    "Units that start with equal weights stay equal (symmetry).",
    "Initialize the kernel at random, as `Xavier` or `Kaiming` do; a head may start at "
    "zero.",
)
def symmetric_kernel(inspection: ModelInspection) -> Iterator[Found]:
    """Kernels whose units all start with equal weights, except in the head."""
    for call in inspection.hidden():
        # Zeros are a good start at the end of a residual branch.
        if any(
            type(c.layer).__name__.lower() == "add" for c in inspection.consumers(call)
        ):
            continue
        for kernel in kernels_of(call.layer):
            units = as_numpy(kernel).reshape(-1, kernel.shape[-1])
            if units.shape[1] > 1 and np.ptp(units, axis=1).max() == 0:
                what = "are all zero" if not units.any() else "are all equal"
                yield call.path, f"its {units.shape[1]} units {what}"


@rule(
    "It halves the variance at each ReLU, so that the signal in the last layers is "
    "tiny (He et al. 2015).",
    "Use `Kaiming` (Keras: 'he_normal'), or add BatchNormalization.",
)
def glorot_before_relu(inspection: ModelInspection) -> Iterator[Found]:
    """Glorot initialization before ReLU, in a deep stack without normalisation."""
    plain = not any(
        isinstance(call.layer, NORMS)
        or type(call.layer).__name__.lower() in ("add", "concatenate")
        for call in inspection.calls
    )
    glorot = (keras.initializers.GlorotUniform, keras.initializers.GlorotNormal)
    found = []
    for call in inspection.hidden() if plain else []:
        layer, (kernel, *_) = call.layer, kernels_of(call.layer)
        if isinstance(getattr(layer, "kernel_initializer", None), glorot):
            *window, inputs, outputs = kernel.shape
            fan = np.prod(window, dtype=int) * (inputs + outputs) / 2
            untouched = 0.8 < as_numpy(kernel).var() * fan < 1.25
            if untouched and inspection.activation(call) in RECTIFIED:
                found.append(layer.path)
    if len(found) >= DEEP:
        yield found[0], f"{len(found)} layers from here on have no normalisation"


@rule(
    "Dropout changes the variance only in training, so the statistics of "
    "BatchNormalization are wrong in inference (Li et al. 2019).",
    "Put Dropout after the last BatchNormalization.",
)
def dropout_before_batchnorm(inspection: ModelInspection) -> Iterator[Found]:
    """Dropout before a BatchNormalization layer, at most one layer in between."""
    for call in inspection.calls:
        layer = call.layer
        if isinstance(layer, layers.Dropout) and layer.rate and not layer.noise_shape:
            reached = inspection.consumers(call)
            for _ in range(2):  # directly, or after one layer
                for each in reached:
                    if isinstance(each.layer, layers.BatchNormalization):
                        yield call.path, f"{each.path} follows"
                reached = [
                    c
                    for r in reached
                    for c in inspection.consumers(r)
                    if not isinstance(r.layer, layers.BatchNormalization)
                ]


@rule(
    "It is frozen while layers before it are trained, which is rarely intended.",
    "Set `layer.trainable = True`, or freeze all layers before it too.",
)
def frozen_in_between(inspection: ModelInspection) -> Iterator[Found]:
    """A frozen kernel after a trainable one."""
    learning = False
    for call in inspection.weighted():
        learning = learning or call.layer.trainable
        if learning and not call.layer.trainable:
            yield call.path, "it is frozen, layers before it are trained"


@rule(
    "Everything that is computed from them is not a number.",
    "Go back to the last weights that were finite; lower the learning rate, or clip "
    "the gradient's norm.",
)
def non_finite_weights(inspection: ModelInspection) -> Iterator[Found]:
    """Weights that are NaN or infinite."""
    for weight in inspection.model.weights:
        values = as_numpy(weight) if "float" in weight.dtype else np.zeros(1)
        count = int((~np.isfinite(values)).sum())
        if count:
            layer = weight.path.rpartition("/")[0]
            yield (
                layer,
                f"{count} of {values.size} values of {weight.name} are not finite",
            )
            return
