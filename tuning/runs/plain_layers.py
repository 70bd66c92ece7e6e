"""A trained model without what only training needs, in Keras's own layers."""

import keras
from keras import layers

from hornbook.recipes.augmentation.image_augmentation import ImageAugmentation
from hornbook.recipes.augmentation.random_crop import RandomCrop
from hornbook.recipes.layers.drop_connect import DropConnect
from hornbook.recipes.layers.maxout import Maxout


def plain(model):
    """A model of the same outputs that shares the weights and opens in plain Keras.

    Augmentation becomes what it is at inference, DropConnect the layer inside it,
    Maxout a `Dense` and a maximum. Models that are no graph of layers stay as they are.

    Args:
        model: A `keras.Model`.
    """
    if not isinstance(model, (keras.Sequential, keras.Function)):
        return model
    clone = keras.models.clone_model(model, clone_function=_plain_layer)
    # The clone is compiled as the model is; this one is not.
    return keras.Model(clone.inputs, clone.outputs, name=model.name)


def _plain_layer(layer):
    if isinstance(layer, (keras.Sequential, keras.Function)):
        return plain(layer)
    if isinstance(layer, DropConnect):
        return _plain_layer(layer.layer)
    if isinstance(layer, RandomCrop):
        return layers.CenterCrop(layer.height, layer.width, name=layer.name)
    if isinstance(layer, ImageAugmentation) and (layer.height, layer.width) == (
        None,
        None,
    ):
        return layers.Rescaling(1.0, name=layer.name)  # As numbers, and no more.
    if isinstance(layer, Maxout) and len(layer.input.shape) == 2:
        return _plain_maxout(layer)
    return layer


def _plain_maxout(layer):
    """The pieces lie side by side in the kernel."""
    dense = layers.Dense(layer.pieces * layer.units, use_bias=layer.use_bias)
    same = keras.Sequential(
        [
            keras.Input(layer.input.shape[1:]),
            dense,
            layers.Reshape((layer.pieces, layer.units)),
            layers.GlobalMaxPooling1D(),
        ],
        name=layer.name,
    )
    same.set_weights(layer.get_weights())
    return same
