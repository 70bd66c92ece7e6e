# SPDX-License-Identifier: Apache-2.0
"""SmoothL1: a penalty that is quadratic near zero and linear far from it.

What:    adds `factor` times the sum of w²/2 where |w| < 1, else of |w| - 1/2.
When:    large weights should shrink no faster than with L1, small ones as with L2.
Not for: sparse weights: the smaller a weight below 1, the less it is pulled.
Source:  Girshick, "Fast R-CNN", ICCV 2015.
Differs: there it is a loss between boxes; here it is on weights.
Needs:   keras>=3.
"""

import math

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="hornbook")
class SmoothL1(keras.regularizers.Regularizer):
    """Penalises weights by `factor * sum(w² / 2 if |w| < 1 else |w| - 1/2)`.

    Its gradient is `factor * w`, clipped to `±factor`. So it does not make weights
    sparse: pulled to `a` by a loss `(w - a)² / 2`, a weight ends at
    `a / (1 + factor)`, where L1 would keep it at 0 for every `|a| <= factor`. For
    weights below 1, which are nearly all in most networks, it is the same as
    `keras.regularizers.L2(factor / 2)`.

    The sum is taken in float32 at least, whatever the weights' type.

    Args:
        factor: Float of at least 0, the strength. Defaults to 0.01.

    Raises:
        ValueError: If `factor` is negative or not finite.

    Example:
    >>> penalty = SmoothL1(0.5)
    >>> float(penalty(keras.ops.array([-3.0, 0.5])))  # 0.5 * (2.5 + 0.125)
    1.3125
    """

    def __init__(self, factor: float = 0.01) -> None:
        if not 0 <= factor < math.inf:
            raise ValueError(
                "`factor` must be a finite number of at least 0. "
                f"Received: factor={factor}"
            )
        self.factor = float(factor)

    def __call__(self, x):
        """Returns the penalty on a tensor of weights."""
        x = ops.cast(x, keras.backend.result_type(x.dtype, "float32"))
        distance = ops.absolute(x)
        near = ops.minimum(distance, 1.0)
        return self.factor * ops.sum(near * (distance - near / 2))

    def get_config(self):
        """Returns the arguments."""
        return {"factor": self.factor}
