"""Rules on inputs, labels and the activations that they make."""

import keras
import numpy as np
from keras import layers

from hornbook.zoo.doctor.finding import rule
from hornbook.zoo.doctor.model_inspection import (
    NORMS,
    as_numpy,
    is_arrays,
    kernels_of,
    losses,
)

DRIFT = 30  # times that the spread of activations may change from first to last


@rule(
    "Layers then learn at unlike speeds, or not at all (Glorot and Bengio 2010).",
    "Choose the initializer for the activation, rescale with `lsuv`, or normalise.",
)
def activation_drift(look):
    """Activations that grow or shrink from layer to layer on real data."""
    if look.x is None or any(isinstance(call.layer, NORMS) for call in look.calls):
        return
    spread = [(c.path, as_numpy(c.outputs[0]).std()) for c in look.hidden()]
    if len(spread) >= 4:
        (first, a), (last, b) = spread[0], spread[-1]
        if b * DRIFT < a or b > DRIFT * a:
            evidence = f"its outputs spread by {b:.2g}, those of {first} by {a:.2g}"
            yield last, evidence


@rule(
    "Far from zero or of unlike scales, they make the loss narrow and steps zigzag "
    "(LeCun et al. 1998).",
    "Begin with `Normalization`, adapted to the training set, or Rescaling.",
)
def unnormalised_input(look):
    """What reaches the first kernel is far from zero mean and unit scale."""
    first = next(iter(look.calls if look.x is not None else []), None)
    prepares = (layers.Embedding, layers.BatchNormalization)
    for call in look.calls if first else []:
        if isinstance(call.layer, prepares):
            return
        if kernels_of(call.layer) or hasattr(call.layer, "cell"):
            break
    else:
        return
    x = as_numpy(call.inputs[0])
    x = x.reshape(-1, x.shape[-1])
    if not np.isfinite(x).all():
        yield call.path, "its inputs are not all finite"
        return
    spread, features = x.std(), x.std(axis=0)
    features = features[features > 0]
    if abs(x.mean()) > 3 * spread > 0 or not 0.02 < np.sqrt((x**2).mean()) < 20:
        yield call.path, f"its inputs have mean {x.mean():.3g}, sd {spread:.3g}"
    elif x.shape[1] > 3 and features.size:
        # Pixels at the edge that hardly vary do no harm: a quarter must be small.
        low, high = np.quantile(features, [0.25, 1])
        if high <= 50 * low:
            return
        evidence = f"the sd of its inputs goes from {low:.2g} to {high:.2g} by feature"
        yield call.path, evidence


@rule(
    "The loss then measures something else than is meant.",
    "Encode the labels as the loss wants them: integers from 0 for the sparse one, "
    "one-hot rows for the categorical, 0 or 1 for the binary.",
)
def labels(look):
    """Labels that the loss reads otherwise than they are meant."""
    if look.y is None or len(look.outputs) != 1:
        return
    y, classes = np.asarray(keras.tree.flatten(look.y)[0]), look.outputs[0].shape[-1]
    if y.dtype.kind in "fc" and not np.isfinite(y).all():
        yield "", "some labels are not finite"
        return
    for loss, _, _ in losses(look):
        kind = loss["kind"]
        one_hot = y.ndim == 2 and y.shape[1] > 1
        if kind.startswith("sparse"):
            if one_hot and y.shape[1] == classes:
                yield "", f"one-hot labels of shape {y.shape} for {kind}"
            elif (y != np.floor(y)).any() or y.min() < 0 or y.max() >= classes:
                found = f"labels go from {y.min():g} to {y.max():g}"
                yield "", f"{found}, the model has {classes} classes"
        elif kind.startswith("categorical") and classes > 1:
            if not one_hot:
                yield "", f"labels of shape {y.shape} are not one-hot for {kind}"
            elif abs(y.sum(axis=1) - 1).max() > 1e-3:
                yield "", "rows of labels do not sum to 1"
        elif kind.startswith("binary") and (y.min() < 0 or y.max() > 1):
            yield "", f"labels go from {y.min():g} to {y.max():g} for {kind}"


@rule(
    "The validation score then tells how well they were learned by heart.",
    "Take them out of one of the two, and split before anything is copied.",
)
def shared_examples(look):
    """Examples that are in the training set and in the validation set."""
    if look.validation_data is None or not is_arrays(look.data):
        return
    train, validation = (
        keras.tree.flatten(keras.utils.unpack_x_y_sample_weight(data)[0])[0]
        for data in (look.data, look.validation_data)
    )
    known = {np.ascontiguousarray(row).tobytes() for row in np.asarray(train)}
    rows = [np.ascontiguousarray(row).tobytes() for row in np.asarray(validation)]
    shared = sum(row in known for row in rows)
    if shared:
        yield "", f"{shared} of {len(rows)} validation examples are in the training set"
