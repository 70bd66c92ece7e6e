"""A trained model in Keras's own layers, without what only training needs."""

import keras
from keras import layers

from hornbook.recipes.augmentation.image_augmentation import ImageAugmentation
from hornbook.recipes.augmentation.random_crop import RandomCrop
from hornbook.recipes.layers.drop_connect import DropConnect
from hornbook.recipes.layers.maxout import Maxout


def with_plain_layers(model: keras.Model) -> keras.Model:
    """Returns a model with the same outputs that opens without Hornbook.

    It shares the weights of the model. Augmentation becomes what it does at inference,
    `DropConnect` the layer inside it, `Maxout` a `Dense` layer and a maximum. A model
    that is not a graph of layers is returned as it is.

    Args:
        model: A built `keras.Model`.
    """
    if not isinstance(model, (keras.Sequential, keras.Function)):
        return model
    clone = keras.models.clone_model(model, clone_function=_plain_layer)
    # The clone is compiled as the model is; this one is not.
    return keras.Model(clone.inputs, clone.outputs, name=model.name)


def _plain_layer(layer: keras.layers.Layer) -> keras.layers.Layer:
    if isinstance(layer, (keras.Sequential, keras.Function)):
        return with_plain_layers(layer)
    if isinstance(layer, DropConnect):
        return _plain_layer(layer.layer)
    if isinstance(layer, RandomCrop):
        return layers.CenterCrop(layer.height, layer.width, name=layer.name)
    if isinstance(layer, ImageAugmentation) and (layer.height, layer.width) == (
        None,
        None,
    ):
        return layers.Rescaling(1.0, name=layer.name)  # It only converts to floats.
    if isinstance(layer, Maxout) and len(layer.input.shape) == 2:
        return _plain_maxout(layer)
    return layer


def _plain_maxout(layer: Maxout) -> keras.Sequential:
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
