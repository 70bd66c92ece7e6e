# SPDX-License-Identifier: Apache-2.0
"""Ensemble: several classifiers as one model, their predictions merged.

What:    one Keras model with each member as a parallel branch of one graph.
When:    several good classifiers of the same classes are wrong on different examples.
Not for: training; members whose input is preprocessed outside the model.
Source:  Hansen and Salamon, "Neural Network Ensembles", IEEE TPAMI 1990 (votes);
         Ho, Hull and Srihari, "Decision Combination in Multiple Classifier Systems",
         IEEE TPAMI 1994 (ranks).
Differs: Ho et al. rank by the Borda count; here equal scores share their mean rank.
Needs:   keras>=3.12.
"""

import copy
import math
from collections.abc import Iterable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

MERGES = ("mean", "mean_logit", "geometric", "vote", "rank")


def _gives_logits(layer):
    """Whether a classifier returns logits, by the activation of its last layer."""
    sequential = isinstance(layer, keras.Sequential)
    inner = layer.layers if sequential else getattr(layer, "operations", None)
    if inner:  # the layers of a model, the one that gives its output last
        return _gives_logits(inner[-1])
    softmax = isinstance(layer, keras.layers.Softmax)
    if softmax or getattr(layer, "gives_probabilities", False):
        return False
    activation = getattr(layer, "activation", None)
    if activation in (keras.activations.softmax, keras.activations.sigmoid):
        return False
    # A linear `Activation` only casts or names: what comes before it decides.
    casts = isinstance(layer, keras.layers.Activation)
    if activation is keras.activations.linear and not casts:
        return True
    raise ValueError(
        f"Cannot tell whether the last layer, {layer.name!r}, gives logits or "
        "probabilities: pass `from_logits=True` or `False`. Received: from_logits=None"
    )


def _ranks(scores):
    """Ranks from 1 upwards, equal scores sharing their mean rank."""

    def places(x):
        return ops.argsort(ops.argsort(x, axis=-1), axis=-1)

    # The sort is stable: one way it numbers ties from the left, the other from the
    # right, and the mean of the two is what they share.
    both = places(scores) + ops.flip(places(ops.flip(scores, axis=-1)), axis=-1)
    return 1 + ops.cast(both, "float32") / 2


def _merge(outputs, merge, from_logits, weights):
    """Merges `(batch, views, classes)` into `(batch, classes)`, in float32.

    `weights`, of any sum, has one value a view; `from_logits` one a view or one.
    """
    if len(outputs.shape) != 3 or outputs.shape[-1] < 2:
        raise ValueError(
            "A classifier must return (batch, classes), of two classes or more. "
            f"Received: output_shape={(None, *outputs.shape[2:])}"
        )
    outputs = ops.cast(outputs, "float32")
    classes = outputs.shape[-1]
    is_logits = np.reshape(from_logits, (-1, 1))
    weights = (np.reshape(weights, (-1, 1)) / np.sum(weights)).astype("float32")

    def average(x):
        return ops.sum(ops.multiply(x, weights), axis=1)

    if merge == "rank":
        return average(_ranks(outputs)) * (2 / (classes * (classes + 1)))
    if merge in ("mean_logit", "geometric"):
        # The softmax cancels what makes a logit differ from a log probability.
        logs = ops.log(ops.maximum(outputs, 1e-7))
        return ops.softmax(average(ops.where(is_logits, outputs, logs)))
    mean = average(ops.where(is_logits, ops.softmax(outputs), outputs))
    if merge == "mean":
        return mean
    votes = average(ops.one_hot(ops.argmax(outputs, axis=-1), classes, dtype="float32"))
    leads = votes > ops.max(votes, axis=-1, keepdims=True) - 1e-6
    winner = ops.argmax(ops.where(leads, mean, -np.inf), axis=-1)
    # Small beside a vote, large beside a rounding error.
    return 0.9999 * votes + 0.0001 * ops.one_hot(winner, classes, dtype="float32")


@keras.saving.register_keras_serializable(package="hornbook")
class Ensemble(keras.Model):
    """Gives the same input to several classifiers and merges their probabilities.

    The members keep the weights they come with and are not trained. They may be of one
    architecture or of many, and may have the same names. Members that work at different
    image sizes must contain their own resizing, since all take the same raw input. The
    merges:

    - `"mean"`: the mean probability, as it is: if the members' outputs do not sum to
      one (sigmoids), neither does the result. With all other merges it does.
    - `"mean_logit"`, `"geometric"`: the softmax of the mean logit, which is the
      geometric mean of the probabilities, normalised: one merge under its two names.
      Probabilities are first clipped to at least 1e-7, so that no member alone can rule
      out a class.
    - `"vote"`: the fraction of members whose highest class this is (the first of
      equals). A tie goes to the highest mean probability, then to the first class. To
      mark the winner, 0.0001 of the result is moved to it, so that `argmax` finds it.
    - `"rank"`: the mean over members of a class's rank, 1 for the least probable,
      equal scores sharing their mean rank, divided by `classes * (classes + 1) / 2`.

    Args:
        models: Iterable of classifiers `(batch, ...) -> (batch, classes)` of the same
            classes. No two may share a layer: such a file could not be loaded.
        merge: String, one of the merges above. Defaults to `"mean"`.
        weights: One number for each member, of any sum. Defaults to `None`, which
            weights all members equally.
        from_logits: Bool, or one bool for each member: whether a member returns
            the logits of a softmax. Defaults to `None`, which reads it from the
            activation of each last layer, and raises if it cannot. The attribute
            `from_logits` holds what was assumed of each member.
        **kwargs: The arguments of every Keras model. The result's `dtype` is `float32`
            unless given, whatever the policy; the members compute in their own.

    Call arguments:
        inputs: Tensor `(batch, ...)` that every member takes; the batch may be empty.
        training: Must be `False`: train the members themselves.

    Returns:
        Tensor `(batch, classes)`.

    Raises:
        ValueError: if an argument is none of the above, if the members do not all
            return `(batch, classes)` of the same two or more, and in training, as by
            `fit`.

    Example:
    >>> def classifier():
    ...     return keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    >>> ensemble = Ensemble([classifier(), classifier()], merge="vote")
    >>> ensemble.from_logits
    [True, True]
    >>> tuple(ensemble(keras.ops.ones((2, 4))).shape)
    (2, 3)
    """

    gives_probabilities = True

    def __init__(
        self,
        models: Iterable[keras.Model],
        merge: str = "mean",
        weights: Sequence[float] | None = None,
        from_logits: bool | Sequence[bool] | None = None,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("dtype", "float32")
        super().__init__(**kwargs)
        models = list(models)
        count = len(models)
        if not models:
            raise ValueError("`models` must not be empty. Received: models=[]")
        variables = [id(v) for model in models for v in model.variables]
        if len(set(variables)) < len(variables):
            raise ValueError(
                "`models` must not share layers (to count a member twice, give it "
                f"weight 2). Received: models={models}"
            )
        if merge not in MERGES:
            raise ValueError(f"`merge` must be in {MERGES}. Received: merge={merge}")
        weights = [1.0] * count if weights is None else [float(w) for w in weights]
        if len(weights) != count or min(weights) < 0 or not 0 < sum(weights) < math.inf:
            raise ValueError(
                f"`weights` must be {count} numbers that are not negative and not all "
                f"zero. Received: weights={weights}"
            )
        if from_logits is None:
            from_logits = [_gives_logits(model) for model in models]
        elif isinstance(from_logits, bool):
            from_logits = [from_logits] * count
        if len(from_logits) != count:
            raise ValueError(
                f"`from_logits` must be one bool or {count}. "
                f"Received: from_logits={from_logits}"
            )
        self.models = models
        self.merge = merge
        self.member_weights = weights  # Keras's `weights` are the variables
        self.from_logits = list(from_logits)

    def build(self, input_shape):
        """Builds the members that are not built."""
        for model in self.models:
            if not model.built:
                model.build(input_shape)

    def call(self, inputs, training=False):
        """Runs every member and merges the results."""
        if training:
            raise ValueError("`Ensemble` is for inference. Received: training=True")
        if inputs.shape[0] == 0:  # TensorFlow's convolutions fail on an empty batch
            shape = self.compute_output_shape(inputs.shape)
            return ops.zeros(shape, self.compute_dtype)
        outputs = [model(inputs, training=False) for model in self.models]
        shapes = [tuple(output.shape[1:]) for output in outputs]
        if len(set(shapes)) > 1:
            raise ValueError(
                "The members must have the same classes. Received: "
                f"output_shapes={[(None, *shape) for shape in shapes]}"
            )
        merged = _merge(
            ops.stack(outputs, axis=1),
            self.merge,
            self.from_logits,
            self.member_weights,
        )
        return ops.cast(merged, self.compute_dtype)

    def compute_output_shape(self, input_shape):
        """One row of probabilities for each example."""
        inputs = keras.KerasTensor(input_shape)
        return tuple(self.models[0].compute_output_spec(inputs).shape)

    def get_config(self):
        """Returns the arguments, `from_logits` as it was resolved."""
        return {
            **super().get_config(),
            "models": [keras.saving.serialize_keras_object(m) for m in self.models],
            "merge": self.merge,
            "weights": self.member_weights,
            "from_logits": self.from_logits,
        }

    @classmethod
    def from_config(cls, config):
        """Deserializes the members."""
        config = copy.deepcopy(config)  # Keras empties a functional model's
        models = [keras.saving.deserialize_keras_object(m) for m in config["models"]]
        return cls(**{**config, "models": models})
