"""The trainable variables of a model, block by block."""

import re
from collections.abc import Iterable

import keras


def group_by_block(
    layers: Iterable[tuple[str, list[keras.Variable]]],
    block: str,
    *,
    ends: bool = False,
) -> list[list[str]]:
    r"""Groups variables by the blocks that the names of their layers tell.

    Args:
        layers: Pairs of a layer name and its variables, from input to output.
        block: Regular expression. Names in which it matches the same text form a block.
            A name without a match belongs to the block before it.
        ends: Whether a match marks the end of a block instead, as the concatenations of
            Inception do.

    Returns:
        List of lists of variable paths; none is empty.

    Example:

    >>> names = ["stem", "block1_conv", "block1_norm", "relu", "block2_conv"]
    >>> dense = [keras.layers.Dense(1, use_bias=False, name=name) for name in names]
    >>> for each in dense:
    ...     each.build((None, 1))
    >>> pairs = [(each.name, each.trainable_variables) for each in dense]
    >>> [len(group) for group in group_by_block(pairs, r"block\d+")]
    [1, 3, 1]
    """
    groups: dict[str, list[str]] = {}
    place, key = 0, ""
    for name, variables in layers:
        # Keras numbers layers such as activations across blocks.
        found = re.search(block, name) if variables or ends else None
        if found and not ends:
            key = found.group()
        groups.setdefault(key, []).extend(each.path for each in variables)
        if found and ends:
            place += 1
            key = str(place)
    return [group for group in groups.values() if group]


def group_by_kernel(model: keras.Model) -> list[list[str]]:
    """Groups variables so that each group begins with a kernel or embeddings.

    For models of which only the order of the weights is known.

    Args:
        model: A built `keras.Model`.

    Returns:
        List of lists of variable paths; none is empty.
    """
    groups: list[list[str]] = [[]]
    owner = None
    for variable in model.trainable_variables:
        layer = variable.path.rpartition("/")[0]
        if len(variable.shape) > 1 and layer != owner and groups[-1]:
            groups.append([])
        owner = layer
        groups[-1].append(variable.path)
    return [group for group in groups if group]
