"""Rules on inputs, labels and activations."""

from collections.abc import Iterator

import keras
import numpy as np
from keras import layers

from hornbook.zoo.doctor.finding import Found, rule
from hornbook.zoo.doctor.model_inspection import (
    NORMS,
    ModelInspection,
    as_numpy,
    is_arrays,
    kernels_of,
    losses,
)

DRIFT = 30  # factor by which activations may grow or shrink from first to last layer


@rule(
    "Layers then learn at different speeds, or not at all (Glorot and Bengio 2010).",
    "Choose an initializer that suits the activation, use `lsuv`, or add "
    "normalisation.",
)
def activation_drift(inspection: ModelInspection) -> Iterator[Found]:
    """Activations that grow or shrink from layer to layer on real data."""
    if inspection.x is None or any(
        isinstance(call.layer, NORMS) for call in inspection.calls
    ):
        return
    spread = [(c.path, as_numpy(c.outputs[0]).std()) for c in inspection.hidden()]
    if len(spread) >= 4:
        (first, a), (last, b) = spread[0], spread[-1]
        if b * DRIFT < a or b > DRIFT * a:
            evidence = f"its outputs have sd {b:.2g}, those of {first} have {a:.2g}"
            yield last, evidence


@rule(
    "Inputs far from zero or on different scales make the loss badly conditioned, so "
    "that steps zigzag (LeCun et al. 1998).",
    "Begin with a `Normalization` layer adapted to the training set, or Rescaling.",
)
def unnormalised_input(inspection: ModelInspection) -> Iterator[Found]:
    """Inputs of the first kernel that are far from zero mean and unit variance."""
    first = next(iter(inspection.calls if inspection.x is not None else []), None)
    prepares = (layers.Embedding, layers.BatchNormalization)
    for call in inspection.calls if first else []:
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
        # A few features that hardly vary, such as border pixels, do no harm.
        low, high = np.quantile(features, [0.25, 1])
        if high <= 50 * low:
            return
        evidence = f"the sd of its input features ranges from {low:.2g} to {high:.2g}"
        yield call.path, evidence


@rule(
    "The loss then measures something else than intended.",
    "Encode the labels as the loss expects them: integers from 0 for the sparse "
    "cross-entropy, one-hot rows for the categorical, 0 or 1 for the binary.",
)
def labels(inspection: ModelInspection) -> Iterator[Found]:
    """Labels in another encoding than the loss expects."""
    if inspection.y is None or len(inspection.outputs) != 1:
        return
    y, classes = (
        np.asarray(keras.tree.flatten(inspection.y)[0]),
        inspection.outputs[0].shape[-1],
    )
    if y.dtype.kind in "fc" and not np.isfinite(y).all():
        yield "", "some labels are not finite"
        return
    for loss, _, _ in losses(inspection):
        kind = loss["kind"]
        one_hot = y.ndim == 2 and y.shape[1] > 1
        if kind.startswith("sparse"):
            if one_hot and y.shape[1] == classes:
                yield "", f"one-hot labels of shape {y.shape} for {kind}"
            elif (y != np.floor(y)).any() or y.min() < 0 or y.max() >= classes:
                found = f"labels range from {y.min():g} to {y.max():g}"
                yield "", f"{found}, the model has {classes} classes"
        elif kind.startswith("categorical") and classes > 1:
            if not one_hot:
                yield "", f"labels of shape {y.shape} are not one-hot for {kind}"
            elif abs(y.sum(axis=1) - 1).max() > 1e-3:
                yield "", "rows of labels do not sum to 1"
        elif kind.startswith("binary") and (y.min() < 0 or y.max() > 1):
            yield "", f"labels range from {y.min():g} to {y.max():g} for {kind}"


@rule(
    "The validation score then measures memorization.",
    "Remove them from one of the sets, and split before copying or augmenting.",
)
def shared_examples(inspection: ModelInspection) -> Iterator[Found]:
    """Examples in both the training set and the validation set."""
    if inspection.validation_data is None or not is_arrays(inspection.data):
        return
    train, validation = (
        keras.tree.flatten(keras.utils.unpack_x_y_sample_weight(data)[0])[0]
        for data in (inspection.data, inspection.validation_data)
    )
    known = {np.ascontiguousarray(row).tobytes() for row in np.asarray(train)}
    rows = [np.ascontiguousarray(row).tobytes() for row in np.asarray(validation)]
    shared = sum(row in known for row in rows)
    if shared:
        yield "", f"{shared} of {len(rows)} validation examples are in the training set"
