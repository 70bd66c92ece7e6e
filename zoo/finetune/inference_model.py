"""The model to use: from raw pictures of any one size, by a vote over crops or not."""

import keras
from keras import layers

from hornbook.recipes.inference.ten_crop import TenCrop
from hornbook.recipes.inference.voting_model import VotingModel

CROPS = {"none": 1, "five": 5, "ten": 10}


def build_voter(classifier: keras.Model, test_crops: str, merge: str) -> keras.Model:
    """The classifier over a fixed set of crops of a bigger picture, merged."""
    height, width = classifier.input_shape[1:3]
    crops = TenCrop(height, width, flips=test_crops == "ten")
    # All at once: `predict` brings pictures one by one.
    return VotingModel(classifier, crops, merge, views_per_batch=None, name="vote")


def build_inference_model(
    classifier: keras.Model, picture_size: int, test_crops: str, merge: str
) -> keras.Model:
    """The whole job as one model: raw pictures of any one size to probabilities.

    Args:
        classifier: Model from crops to probabilities.
        picture_size: Integer. Pixels that the short side of a picture is scaled to.
        test_crops: "none" (the centre), "five" or "ten" crops.
        merge: How the views' probabilities become one.

    Returns:
        A `keras.Model` from uint8 `(batch, height, width, channels)` to `(batch,
        classes)`. Without a vote it is made of Keras's own layers alone.
    """
    channels = classifier.input_shape[-1]
    pictures = keras.Input((None, None, channels), dtype="uint8", name="picture")
    scaled = layers.Resizing(
        picture_size,
        picture_size,
        crop_to_aspect_ratio=True,
        antialias=True,
        name="shrink",
    )(pictures)
    if test_crops == "none":
        crops = layers.CenterCrop(*classifier.input_shape[1:3], name="centre")(scaled)
        return keras.Model(
            pictures, classifier(crops, training=False), name="inference_model"
        )
    voter = build_voter(classifier, test_crops, merge)
    return keras.Model(pictures, voter(scaled), name="inference_model")
