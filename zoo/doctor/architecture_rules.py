"""Rules on layers and their initial values."""

import keras
import numpy as np
from keras import layers

from hornbook.zoo.doctor.finding import rule
from hornbook.zoo.doctor.model_inspection import (
    NORMS,
    activation_of,
    as_numpy,
    kernels_of,
)

SATURATING = ("sigmoid", "tanh", "hard_sigmoid", "hard_tanh", "softsign")
RECTIFIED = ("relu", "leaky_relu", "relu6")
DEEP = 8  # kernels in a plain stack, from where a factor of 1/2 each starves the last


@rule(
    "Its gradient vanishes where it saturates, and with depth (Glorot, Bengio 2010).",
    "Use ReLU or one of its kin in hidden layers.",
)
def saturating_activation(look):
    """Sigmoids and their kin between layers, but for gates and recurrent cells."""
    for call in look.calls:
        name = activation_of(call.layer)
        after = look.consumers(call)
        # A gate is meant to saturate; the answer may.
        gate = any(type(c.layer).__name__.lower() == "multiply" for c in after)
        cell = hasattr(call.layer, "recurrent_activation") or hasattr(
            call.layer, "cell"
        )
        hidden = after and not look.is_output(call)
        if name in SATURATING and hidden and not gate and not cell:
            yield call.path, f"the hidden activation is {name}"


@rule(
    "Units that start equal and are treated alike stay equal: the symmetry trap.",
    "Draw the kernel at random, as `Xavier` or `Kaiming` do; a head may start at zero.",
)
def symmetric_kernel(look):
    """Kernels whose units all start alike, but for the head."""
    for call in look.hidden():
        # At the end of a residual branch, zeros are a known good start.
        if any(type(c.layer).__name__.lower() == "add" for c in look.consumers(call)):
            continue
        for kernel in kernels_of(call.layer):
            units = as_numpy(kernel).reshape(-1, kernel.shape[-1])
            if units.shape[1] > 1 and np.ptp(units, axis=1).max() == 0:
                what = "are all zero" if not units.any() else "are all equal"
                yield call.path, f"its {units.shape[1]} units {what}"


@rule(
    "It keeps half of the signal's power at each ReLU, so that the last layers get "
    "next to none (He et al. 2015).",
    "Use `Kaiming` (Keras: 'he_normal'), or put in BatchNormalization.",
)
def glorot_before_relu(look):
    """Glorot's variance before ReLU, in a deep stack that nothing normalises."""
    plain = not any(
        isinstance(call.layer, NORMS)
        or type(call.layer).__name__.lower() in ("add", "concatenate")
        for call in look.calls
    )
    glorot = (keras.initializers.GlorotUniform, keras.initializers.GlorotNormal)
    found = []
    for call in look.hidden() if plain else []:
        layer, (kernel, *_) = call.layer, kernels_of(call.layer)
        if isinstance(getattr(layer, "kernel_initializer", None), glorot):
            *window, inputs, outputs = kernel.shape
            fan = np.prod(window, dtype=int) * (inputs + outputs) / 2
            untouched = 0.8 < as_numpy(kernel).var() * fan < 1.25
            if untouched and look.activation(call) in RECTIFIED:
                found.append(layer.path)
    if len(found) >= DEEP:
        yield found[0], f"{len(found)} layers from here on, without any normalisation"


@rule(
    "Dropout changes the variance in training only, and the statistics that "
    "BatchNormalization keeps then are off in inference (Li et al. 2019).",
    "Put Dropout after the last BatchNormalization.",
)
def dropout_before_batchnorm(look):
    """Dropout whose noise reaches the statistics of a norm."""
    for call in look.calls:
        layer = call.layer
        if isinstance(layer, layers.Dropout) and layer.rate and not layer.noise_shape:
            reached = look.consumers(call)
            for _ in range(2):  # at once, or after one layer
                for each in reached:
                    if isinstance(each.layer, layers.BatchNormalization):
                        yield call.path, f"{each.path} follows"
                reached = [
                    c
                    for r in reached
                    for c in look.consumers(r)
                    if not isinstance(r.layer, layers.BatchNormalization)
                ]


@rule(
    "What comes before it learns, it does not: seldom meant, except for norms.",
    "Set `layer.trainable = True`, or freeze all that comes before it too.",
)
def frozen_in_between(look):
    """A frozen kernel behind one that learns."""
    learning = False
    for call in look.weighted():
        learning = learning or call.layer.trainable
        if learning and not call.layer.trainable:
            yield call.path, "it is frozen, layers before it are trained"
