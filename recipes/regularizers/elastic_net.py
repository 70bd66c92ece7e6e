# SPDX-License-Identifier: Apache-2.0
"""ElasticNet: L1 and L2 together, one number for how much and one for the mix.

What:    adds `factor` times the sum of beta·w² + |w|.
When:    few weights should remain, and correlated ones remain together.
Not for: decay under Adam, which rescales it: use `AdamW`.
Source:  Zou and Hastie, "Regularization and variable selection via the elastic net",
         JRSS B 2005.
Differs: from theirs and scikit-learn's in how strength and mix are written.
Needs:   keras>=3.
"""

import math

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="hornbook")
class ElasticNet(keras.regularizers.L1L2):
    """Penalises weights by `factor * sum(beta * w² + |w|)`.

    That is Keras's `L1L2(l1=factor, l2=factor * beta)`. Written so, a search can turn
    the strength and leave the mix. scikit-learn's `alpha` and `l1_ratio` are
    `factor = alpha * l1_ratio` and `beta = (1 - l1_ratio) / (2 * l1_ratio)`, for a
    loss of half the mean squared error.

    Gradient steps carry weights near 0, but past it and back: under `SGD` to within
    `2 * learning_rate * factor`. End with a small rate, and count what is below that.

    The sum is taken in float32 at least, whatever the weights' type.

    Args:
        factor: Float, at least 0: the strength.
        beta: Float, at least 0: how much the squares weigh. 0 is L1.

    Raises:
        ValueError: If an argument is negative or not finite.

    Example:
    >>> penalty = ElasticNet(0.5, beta=2.0)
    >>> float(penalty(keras.ops.array([-3.0, 1.0])))  # 0.5 * (2 * 10 + 4)
    12.0
    """

    def __init__(self, factor=0.01, beta=1.0):
        for name, value in {"factor": factor, "beta": beta}.items():
            if not 0 <= value < math.inf:
                raise ValueError(
                    f"`{name}` must be a finite number of at least 0. "
                    f"Received: {name}={value}"
                )
        self.factor = float(factor)
        self.beta = float(beta)
        super().__init__(l1=self.factor, l2=self.factor * self.beta)

    def __call__(self, x):
        """Returns the penalty on a tensor of weights."""
        return super().__call__(
            ops.cast(x, keras.backend.result_type(x.dtype, "float32"))
        )

    def get_config(self):
        """Returns the arguments."""
        return {"factor": self.factor, "beta": self.beta}
