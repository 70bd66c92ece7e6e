# SPDX-License-Identifier: Apache-2.0
"""ElasticNet: L1 and L2 together, one number for the strength and one for the mix.

What:    adds `factor` times the sum of beta·w² + |w|.
When:    few weights should remain, and correlated ones should remain together.
Not for: weight decay with Adam, which rescales it: use `AdamW`.
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

    That is Keras's `L1L2(l1=factor, l2=factor * beta)`. In this form, a search can
    change the strength and keep the mix. scikit-learn's `alpha` and `l1_ratio` are
    `factor = alpha * l1_ratio` and `beta = (1 - l1_ratio) / (2 * l1_ratio)`, for a
    loss of half the mean squared error.

    Gradient steps take weights near 0, but past it and back: with `SGD` to within
    `2 * learning_rate * factor`. End with a small learning rate, and count weights
    below that as 0.

    The sum is taken in float32 at least, whatever the weights' type.

    Args:
        factor: Float of at least 0, the strength. Defaults to 0.01.
        beta: Float of at least 0, the weight of the squares. 0 is L1. Defaults to 1.

    Raises:
        ValueError: If an argument is negative or not finite.

    Example:
    >>> penalty = ElasticNet(0.5, beta=2.0)
    >>> float(penalty(keras.ops.array([-3.0, 1.0])))  # 0.5 * (2 * 10 + 4)
    12.0
    """

    def __init__(self, factor: float = 0.01, beta: float = 1.0) -> None:
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
