"""Rules on the loss, the optimizer and the batches."""

from keras import layers

from hornbook.compat import has_weight_decay
from hornbook.zoo.doctor.finding import rule
from hornbook.zoo.doctor.model_inspection import losses

NAMES_OF_NO_KERNEL = ("bias", "gamma", "beta", "scale", "alpha")
TINY_BATCH = 4


@rule(
    "They are few, and set offsets and scales: decay only biases the model.",
    "Exclude them: `optimizer.exclude_from_weight_decay(var_list=...)`, and give no "
    "regularizer to biases and norms.",
)
def decay_on_biases(look):
    """Weight decay or regularizers on biases, scales and offsets."""
    optimizer = getattr(look.model, "optimizer", None)
    while inner := getattr(optimizer, "inner_optimizer", None):
        optimizer = inner
    small = [
        v
        for v in look.model.trainable_variables
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
    "The statistics of so few examples are noise (Ioffe and Szegedy 2015).",
    "Use larger batches, GroupNormalization, or freeze the BatchNormalization layers.",
)
def tiny_batch(look):
    """BatchNormalization that learns from a handful of examples."""
    norms = [
        c.layer for c in look.calls if isinstance(c.layer, layers.BatchNormalization)
    ]
    learning = [layer for layer in norms if layer.trainable]
    if look.batch_size and look.batch_size <= TINY_BATCH and learning:
        yield learning[0].path, f"batches have {look.batch_size} examples"


@rule(
    "The loss then squashes twice, or takes logits for probabilities: gradients are "
    "wrong, in silence.",
    "Let the last activation and `from_logits` agree.",
)
def logits(look):
    """A last activation and a cross-entropy that do not fit."""
    for loss, name, call in losses(look):
        probabilities = name in ("softmax", "sigmoid")
        logits = bool(loss.get("from_logits"))
        if name == "softmax" and call.outputs[0].shape[-1] == 1:
            yield call.path, "a softmax over one unit is always 1"
        elif logits and probabilities:
            yield call.path, f"from_logits=True after a {name}"
        elif not logits and name in ("linear", "relu", "tanh"):
            yield call.path, f"from_logits=False after a {name} activation"
