"""The trainable variables of a model, block by block."""

import re


def group_by_block(layers, block, *, ends=False):
    r"""Groups variables by what names their layers share.

    Args:
        layers: Pairs of a name and the variables that go by it, from input to output.
        block: Regular expression. Names in which it finds the same text are one block.
            One in which it finds nothing belongs to the block before it.
        ends: Whether what it finds marks the end of a block instead, as the
            concatenations of Inception do.

    Returns:
        List of lists of variables' paths; none is empty.

    Example:

    >>> import keras
    >>> names = ["stem", "block1_conv", "block1_norm", "relu", "block2_conv"]
    >>> dense = [keras.layers.Dense(1, use_bias=False, name=name) for name in names]
    >>> for each in dense:
    ...     each.build((None, 1))
    >>> pairs = [(each.name, each.trainable_variables) for each in dense]
    >>> [len(group) for group in group_by_block(pairs, r"block\d+")]
    [1, 3, 1]
    """
    groups, place, key = {}, 0, ""
    for name, variables in layers:
        # Keras itself numbers layers such as activations, whatever block they are in.
        found = re.search(block, name) if variables or ends else None
        if found and not ends:
            key = found.group()
        groups.setdefault(key, []).extend(each.path for each in variables)
        if found and ends:
            place += 1
            key = str(place)
    return [group for group in groups.values() if group]


def group_by_kernel(model):
    """Groups variables so that each group begins with a kernel or embeddings.

    For models of which nothing is known but their weights' order.

    Args:
        model: A built `keras.Model`.

    Returns:
        List of lists of variables' paths; none is empty.
    """
    groups, owner = [[]], None
    for variable in model.trainable_variables:
        layer = variable.path.rpartition("/")[0]
        if len(variable.shape) > 1 and layer != owner and groups[-1]:
            groups.append([])
        owner = layer
        groups[-1].append(variable.path)
    return [group for group in groups if group]
