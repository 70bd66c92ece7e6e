# SPDX-License-Identifier: Apache-2.0
"""GroupLasso: an L1 penalty on whole filters or units, so that they vanish together.

What:    adds `factor` times the sum, over groups, of √size times the group's norm.
When:    pruning: a filter or unit of zeros can be removed, a single weight cannot.
Not for: kernels before a normalisation layer, whose scale undoes any shrinking.
Source:  Yuan and Lin, "Model selection and estimation in regression with grouped
         variables", JRSS B 2006; Wen et al., "Learning Structured Sparsity in Deep
         Neural Networks", NIPS 2016 (filters).
Differs: Yuan and Lin solve for zeros; gradient steps only come near, see below.
Needs:   keras>=3.
"""

import math
from typing import Any

import keras
import numpy as np
from keras import ops


@keras.saving.register_keras_serializable(package="hornbook")
class GroupLasso(keras.regularizers.Regularizer):
    """Penalises a kernel by `factor * sum(sqrt(size) * norm(group))` over its groups.

    A group is the weights with the same index on `axis`: with the last axis the weights
    into one unit or filter, with `-2` those that read one input channel, with `()` the
    whole kernel. Within a group the penalty does not lead to zeros; the group as a
    whole is either needed or goes to 0.

    At 0 its gradient is 0, a subgradient, so weights that start at 0 are not NaN.

    **No group becomes exactly 0.** Even near 0 the penalty pulls with `factor`, so
    steps overshoot and a group oscillates around 0. About how far at most, as its root
    mean square, measured on noisy least squares with the learning rate η:

    | optimizer           | oscillation   |
    |---------------------|---------------|
    | `SGD`               | 2 η `factor`  |
    | `SGD`, momentum 0.9 | 10 η `factor` |
    | `Adam`              | η             |
    | any, η going to 0   | below 1e-4    |

    So end with a small learning rate, call `zero_groups`, and set those to 0. Exact
    zeros during training would need a proximal step after each update, which a penalty
    cannot do.

    The sum is taken in float32 at least, whatever the weights' type.

    Args:
        factor: Float of at least 0, the strength. Defaults to 0.01.
        axis: Int or tuple of ints, the kernel's axes along which each index is a group.
            Defaults to -1.

    Raises:
        ValueError: If `factor` is negative or not finite, or in the call if `axis`
            does not name axes of the kernel, or names all.

    Example:
    >>> penalty = GroupLasso(0.1)
    >>> kernel = keras.ops.array([[3.0, 0.0], [4.0, 0.0]])  # two units of size 2
    >>> round(float(penalty(kernel)), 4)  # 0.1 * sqrt(2) * (5 + 0)
    0.7071
    >>> penalty.zero_groups(kernel, tol=1e-3).tolist()
    [False, True]
    """

    def __init__(self, factor: float = 0.01, axis: int | tuple[int, ...] = -1) -> None:
        if not 0 <= factor < math.inf:
            raise ValueError(
                "`factor` must be a finite number of at least 0. "
                f"Received: factor={factor}"
            )
        self.factor = float(factor)
        self.axis = axis

    def __call__(self, x):
        """Returns the penalty on a kernel."""
        x = ops.cast(x, keras.backend.result_type(x.dtype, "float32"))
        within = self._axes_within(x.shape)
        squares = ops.sum(ops.square(x), axis=within)
        # The root is kept from 0 before it is taken: its gradient there is infinite,
        # and infinity times the 0 of an outer `where` would be NaN.
        some = squares > 0
        norms = ops.where(some, ops.sqrt(ops.where(some, squares, 1.0)), 0.0)
        size = math.prod(x.shape[axis] for axis in within)
        return self.factor * math.sqrt(size) * ops.sum(norms)

    def zero_groups(self, kernel: Any, tol: float) -> np.ndarray:
        """Finds the groups that have gone to zero.

        Args:
            kernel: The kernel, as a variable, tensor or array.
            tol: Float, the largest root mean square of a group that counts as
                zero. It should be above the oscillations that the class describes.

        Returns:
            A NumPy array of bools in the shape of the groups: for one axis, that of
            `np.flatnonzero`.
        """
        kernel = ops.convert_to_numpy(kernel).astype("float64")
        within = self._axes_within(kernel.shape)
        return np.sqrt(np.mean(kernel**2, axis=within)) <= tol

    def _axes_within(self, shape):
        """The axes along which the weights of one group lie."""
        axes = (self.axis,) if isinstance(self.axis, int) else self.axis
        rank = len(shape)
        apart = {axis % rank for axis in axes if -rank <= axis < rank}
        if len(apart) < len(axes) or len(apart) == rank:
            raise ValueError(
                f"`axis` must name axes, but not all, of a kernel of shape "
                f"{tuple(shape)}. Received: axis={self.axis}"
            )
        return tuple(axis for axis in range(rank) if axis not in apart)

    def get_config(self):
        """Returns the arguments."""
        return {"factor": self.factor, "axis": self.axis}
