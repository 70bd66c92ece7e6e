"""Rules on the loss, the optimizer and the batches."""

from collections.abc import Iterator

from keras import layers

from hornbook.compat import has_weight_decay
from hornbook.zoo.doctor.finding import Found, rule
from hornbook.zoo.doctor.model_inspection import ModelInspection, losses

NAMES_OF_NO_KERNEL = ("bias", "gamma", "beta", "scale", "alpha")
TINY_BATCH = 4


@rule(
    "They are few, and set offsets and scales, so decay only biases the model.",
    "Exclude them with `optimizer.exclude_from_weight_decay(var_list=...)`, and use no "
    "regularizer for biases and normalisation layers.",
)
def decay_on_biases(inspection: ModelInspection) -> Iterator[Found]:
    """Weight decay or regularizers on biases, scales and offsets."""
    optimizer = getattr(inspection.model, "optimizer", None)
    while inner := getattr(optimizer, "inner_optimizer", None):
        optimizer = inner
    small = [
        v
        for v in inspection.model.trainable_variables
        if len(v.shape) < 2 or v.name.endswith(NAMES_OF_NO_KERNEL)
    ]
    if getattr(optimizer, "weight_decay", None):
        decayed = [v for v in small if has_weight_decay(optimizer, v)]
        if decayed:
            yield "", f"weight decay acts on {len(decayed)} biases, scales or offsets"
    penalised = [v.path for v in small if v.regularizer is not None]
    if penalised:
        yield "", f"a regularizer acts on {', '.join(penalised[:3])}"


@rule(
    "The statistics of so few examples are noisy (Ioffe and Szegedy 2015).",
    "Use larger batches, GroupNormalization, or freeze the BatchNormalization layers.",
)
def tiny_batch(inspection: ModelInspection) -> Iterator[Found]:
    """BatchNormalization trained with tiny batches."""
    norms = [
        c.layer
        for c in inspection.calls
        if isinstance(c.layer, layers.BatchNormalization)
    ]
    learning = [layer for layer in norms if layer.trainable]
    if inspection.batch_size and inspection.batch_size <= TINY_BATCH and learning:
        yield learning[0].path, f"batches have {inspection.batch_size} examples"


@rule(
    "The loss then applies softmax or sigmoid twice, or takes logits for "
    "probabilities; gradients are wrong without an error.",
    "Make the last activation and `from_logits` agree.",
)
def logits(inspection: ModelInspection) -> Iterator[Found]:
    """A last activation that does not match the cross-entropy."""
    for loss, name, call in losses(inspection):
        probabilities = name in ("softmax", "sigmoid")
        logits = bool(loss.get("from_logits"))
        if name == "softmax" and call.outputs[0].shape[-1] == 1:
            yield call.path, "a softmax over one unit is always 1"
        elif logits and probabilities:
            yield call.path, f"from_logits=True after a {name}"
        elif not logits and name in ("linear", "relu", "tanh"):
            yield call.path, f"from_logits=False after a {name} activation"
