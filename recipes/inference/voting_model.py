# SPDX-License-Identifier: Apache-2.0
"""VotingModel: classify several views of an image and merge the predictions.

What:    one Keras model that makes views, runs a classifier on them, merges.
When:    a trained classifier should be more accurate at test time, for more compute.
Not for: training; views that turn one class into another (mirrored digits).
Source:  Krizhevsky, Sutskever and Hinton, "ImageNet Classification with Deep
         Convolutional Neural Networks", NeurIPS 2012, section 4.1.
Differs: the paper takes the mean only.
Needs:   keras>=3.12.
"""

import copy
import functools
from collections.abc import Callable
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
class VotingModel(keras.Model):
    """Runs a classifier on views of each image and merges their probabilities.

    The views go through the classifier one after the other, in one graph. The merges:

    - `"mean"`: the mean probability, as it is: if the classifier's outputs do not sum
      to one (sigmoids), neither does the result. With all other merges it does.
    - `"mean_logit"`, `"geometric"`: the softmax of the mean logit, which is the
      geometric mean of the probabilities, normalised: one merge under its two names.
      Probabilities are first clipped to at least 1e-7, so that no view alone can rule
      out a class.
    - `"vote"`: the fraction of views whose highest class this is (the first of equals).
      A tie goes to the highest mean probability, then to the first class. To mark the
      winner, 0.0001 of the result is moved to it, so that `argmax` finds it.
    - `"rank"`: the mean over views of a class's rank, 1 for the least probable, equal
      scores sharing their mean rank, divided by `classes * (classes + 1) / 2`.

    Args:
        model: Classifier `(batch, ...) -> (batch, classes)`. Its dropout stays off and
            its BatchNormalization uses the moving statistics.
        views: Layer, or function of `keras.ops` (registered, if the model is to be
            saved), that maps `(batch, height, width, channels)` to
            `(batch, views, ...)` with a fixed number of views, such as `TenCrop`.
        merge: String, one of the merges above. Defaults to `"mean"`.
        from_logits: Bool, whether the classifier returns the logits of a softmax.
            Defaults to `None`, which reads it from the activation of the last layer,
            and raises if it cannot. The attribute `from_logits` holds what was assumed.
        views_per_batch: Int or `None`, how many views of each image go through the
            classifier at once. With 1, the default, it takes no more memory than the
            classifier does for such a batch, apart from the views, all of which are
            kept on TensorFlow and torch. `None`, all at once, is up to three times as
            fast for a few images, and slower for many on JAX, where gradients with
            respect to the images need it.
        **kwargs: The arguments of every Keras model. The result's `dtype` is `float32`
            unless given, whatever the policy; the classifier computes in its own.

    Call arguments:
        images: Tensor `(batch, height, width, channels)`, all of one size; the batch
            may be empty. Values must be in the range that the classifier takes:
            neither this model nor its views scale them.
        training: Must be `False`: train `model` itself.

    Returns:
        Tensor `(batch, classes)`.

    Raises:
        ValueError: if an argument is none of the above, if the classifier does not
            return `(batch, classes)` of two or more, if the images are not one tensor,
            and in training, as by `fit`.

    Example:
    >>> def mirrors(images):
    ...     return keras.ops.stack([images, keras.ops.flip(images, axis=2)], axis=1)
    >>> classifier = keras.Sequential(
    ...     [keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(3)]
    ... )
    >>> voter = VotingModel(classifier, mirrors, merge="mean")
    >>> voter.from_logits
    True
    >>> tuple(voter(keras.ops.ones((2, 8, 8, 1))).shape)
    (2, 3)
    """

    gives_probabilities = True

    def __init__(
        self,
        model: keras.Model,
        views: Callable,
        merge: str = "mean",
        from_logits: bool | None = None,
        views_per_batch: int | None = 1,
        **kwargs: Any,
    ) -> None:
        kwargs.setdefault("dtype", "float32")
        super().__init__(**kwargs)
        if merge not in MERGES:
            raise ValueError(f"`merge` must be in {MERGES}. Received: merge={merge}")
        if views_per_batch is not None and (
            not isinstance(views_per_batch, int) or views_per_batch < 1
        ):
            raise ValueError(
                "`views_per_batch` must be a positive integer or None. Received: "
                f"views_per_batch={views_per_batch}"
            )
        self.model = model
        self.views = views
        self.merge = merge
        self.from_logits = _gives_logits(model) if from_logits is None else from_logits
        self.views_per_batch = views_per_batch

    def build(self, input_shape):
        """Builds the views, and the classifier where it is not built."""
        if not all(size is None or isinstance(size, int) for size in input_shape):
            raise self._not_one_tensor(f"input_shape={input_shape}")
        views = self.views(keras.KerasTensor(input_shape))
        if not self.model.built:
            self.model.build((None, *views.shape[2:]))

    def call(self, images, training=False):
        """Makes the views, classifies them, merges."""
        if training:
            raise ValueError("`VotingModel` is for inference. Received: training=True")
        if isinstance(images, (list, tuple)):
            raise self._not_one_tensor(f"a {type(images).__name__}")
        if images.shape[0] == 0:  # TensorFlow's convolutions fail on an empty batch
            shape = self.compute_output_shape(images.shape)
            return ops.zeros(shape, self.compute_dtype)
        views = self.views(keras.KerasTensor(images.shape, images.dtype))
        count = views.shape[1]
        if self.views_per_batch is None or self.views_per_batch >= count:
            outputs = self._classify(self.views(images))
        else:
            outputs = self._classify_in_turns(images, views)
        merged = _merge(outputs, self.merge, self.from_logits, np.ones(count))
        return ops.cast(merged, self.compute_dtype)

    def _classify(self, views):
        shape = ops.shape(views)
        outputs = self.model(ops.reshape(views, (-1, *shape[2:])), training=False)
        return ops.reshape(outputs, (-1, shape[1], *outputs.shape[1:]))

    def _classify_in_turns(self, images, spec):
        count, step = spec.shape[1], self.views_per_batch
        # The last turn steps back to be full: the graph has one shape for all.
        starts = [*range(0, count - step, step), count - step]
        pick = self._picker(images, starts)

        def turn(number, outputs):
            scores = self._classify(pick(number))
            scores = ops.swapaxes(ops.cast(scores, "float32"), 0, 1)
            places = self._places(starts, number)[:, None]
            return number + 1, ops.scatter_update(outputs, places, scores)

        def goes_on(number, outputs):
            # Reads the outputs only so that TensorFlow, which runs the turns of a loop
            # in parallel where it can, waits for one before it begins the next.
            waits = ops.any(ops.isnan(outputs[-1]))
            return ops.logical_and(number < len(starts), waits)

        shape = (count, ops.shape(images)[0], *self._answer(spec))
        empty = ops.full(shape, np.nan, "float32")
        outputs = ops.while_loop(goes_on, turn, (0, empty))[1]
        return ops.swapaxes(outputs, 0, 1)

    def _picker(self, images, starts):
        """A function from the number of a turn to the views that it classifies."""
        step = self.views_per_batch
        if keras.backend.backend() != "jax":
            views = self.views(images)
            return lambda turn: ops.take(views, self._places(starts, turn), axis=1)

        # XLA makes only the views that a branch keeps. To hold them all would cost as
        # much as a tenth of the whole, in memory that is allocated again each time.
        def cut(start, images):
            return self.views(images)[:, start : start + step]

        branches = [functools.partial(cut, start) for start in starts]
        return lambda turn: ops.switch(turn, branches, images)

    def _places(self, starts, turn):
        """The places, among all views, of those of a turn."""
        start = ops.take(np.array(starts, "int32"), turn)
        return start + ops.arange(self.views_per_batch, dtype="int32")

    def _answer(self, views):
        """The shape of the classifier's output for one view."""
        view = keras.KerasTensor((None, *views.shape[2:]))
        return self.model.compute_output_spec(view).shape[1:]

    @staticmethod
    def _not_one_tensor(received):
        return ValueError(
            "Images of several sizes must be cropped or resized to one size, and "
            f"stacked, before they are classified. Received: {received}"
        )

    def compute_output_shape(self, input_shape):
        """One row of probabilities for each image."""
        views = self.views(keras.KerasTensor(input_shape))
        return (input_shape[0], *self._answer(views))

    def get_config(self):
        """Returns the arguments, `from_logits` as it was resolved."""
        return {
            **super().get_config(),
            "model": keras.saving.serialize_keras_object(self.model),
            "views": keras.saving.serialize_keras_object(self.views),
            "merge": self.merge,
            "from_logits": self.from_logits,
            "views_per_batch": self.views_per_batch,
        }

    @classmethod
    def from_config(cls, config):
        """Deserializes the classifier and the views."""
        config = copy.deepcopy(config)  # Keras empties a functional model's
        model = keras.saving.deserialize_keras_object(config["model"])
        views = keras.saving.deserialize_keras_object(config["views"])
        return cls(**{**config, "model": model, "views": views})
