# SPDX-License-Identifier: Apache-2.0
"""layer_decay: smaller learning rates for earlier layers, by a constant factor.

What:    returns a multiplier for each weight of a model: 1 for the last layer, times
         `decay` for each layer before it.
When:    fine-tuning deep pretrained models, above all transformers.
Not for: training from scratch.
Source:  Clark et al., "ELECTRA: Pre-training Text Encoders as Discriminators Rather
         Than Generators", ICLR 2020; Bao et al., "BEiT: BERT Pre-Training of Image
         Transformers", ICLR 2022.
Differs: a layer is one that owns a kernel, where the papers count blocks; `block`
         counts as they do.
Needs:   keras>=3.
"""

import re

import keras


def layer_decay(
    model: keras.Layer, decay: float = 0.75, block: str | None = None
) -> dict[str, float]:
    r"""Learning rate multipliers that decay from the last layer to the first.

    The layers that own a kernel (or embeddings) are counted in the order in which
    the model holds them, through nested models. That is the forward order; for
    subclassed models it is the order in which `__init__` sets the layers. The last
    gets 1, and one that `k` others follow gets `decay**k`. Normalization layers, and
    others without a kernel, share the number of the layer before them. Frozen layers
    count, but have no entry.

    The result is for optimizers that take multipliers by patterns on the paths of
    variables, such as `LayerwiseLearningRate`.

    Args:
        model: A built `keras.Model` or layer.
        decay: Float between 0 and 1, the factor from one layer to the one before it.
            Defaults to 0.75.
        block: Regular expression. Variables in whose `path` it finds the same text
            count as one layer: for example `r"block_\d+"` for the blocks of a
            transformer, or `r"head"` for parallel heads. Defaults to `None`.

    Returns:
        A dict from regular expressions, one for the exact path of each trainable
        variable, to multipliers.

    Raises:
        ValueError: If `decay` is not between 0 and 1, the model is not built or owns
            no kernel, or several weights have the same path.

    Example:
    >>> import keras
    >>> inputs = keras.Input((8,))
    >>> x = keras.layers.Dense(4, use_bias=False, name="stem")(inputs)
    >>> x = keras.layers.BatchNormalization(name="norm")(x)
    >>> outputs = keras.layers.Dense(2, name="head")(x)
    >>> model = keras.Model(inputs, outputs)
    >>> for pattern, multiplier in layer_decay(model, 0.5).items():
    ...     print(pattern, multiplier)
    ^stem/kernel$ 0.5
    ^norm/gamma$ 0.5
    ^norm/beta$ 0.5
    ^head/kernel$ 1.0
    ^head/bias$ 1.0
    """
    if not 0 <= decay <= 1:
        raise ValueError(f"`decay` must be between 0 and 1. Received: decay={decay}")
    weights = model.weights
    owners = {_owner(w) for w in weights if re.search("kernel|embeddings", w.name)}
    if not owners:
        raise ValueError(
            f"The model is not built, or owns no kernel. Received: model={model}"
        )
    paths = [w.path for w in weights]
    if repeated := sorted({path for path in paths if paths.count(path) > 1}):
        raise ValueError(
            f"Several weights have the path {repeated[0]}: give their layers different "
            f"names. Received: model={model}"
        )
    numbers, depth, depths = {}, 0, {}
    for weight in weights:
        found = re.search(block, weight.path) if block else None
        if found or _owner(weight) in owners:
            layer = found.group() if found else _owner(weight)
            depth = numbers.setdefault(layer, len(numbers))
        if weight.trainable:
            depths[weight.path] = depth
    last = len(numbers) - 1
    return {f"^{re.escape(p)}$": decay ** (last - d) for p, d in depths.items()}


def _owner(weight):
    return weight.path.rpartition("/")[0]
