"""Truth: the exponents, counted by hand."""

import keras
import numpy as np
import pytest
from contract import numpy
from keras import layers

from hornbook.recipes.optimizers.layer_decay import layer_decay
from hornbook.recipes.optimizers.layerwise_learning_rate import LayerwiseLearningRate


def exponents(model, **kwargs):
    """How many layers follow each one, by the layer's name."""
    result = {}
    for pattern, multiplier in layer_decay(model, 0.5, **kwargs).items():
        layer, exponent = pattern.split("/")[-2].lstrip("^"), -np.log2(multiplier)
        assert result.setdefault(layer, exponent) == exponent
    return result


def backbone(name="backbone", **kwargs):
    inputs = keras.Input((8, 8, 3))
    x = layers.BatchNormalization(name="scale")(inputs)
    x = layers.Conv2D(4, 3, name="conv1", use_bias=False)(x)
    x = layers.BatchNormalization(name="norm1")(x)
    x = layers.SeparableConv2D(4, 3, name="conv2")(layers.ReLU()(x))
    x = layers.LayerNormalization(name="norm2")(x)
    return keras.Model(inputs, layers.GlobalAveragePooling2D()(x), name=name, **kwargs)


CLASSIFIER = {"scale": 3, "conv1": 3, "norm1": 3, "conv2": 2, "norm2": 2}


def classifier():
    head = layers.Dense(2, name="head")  # made first, comes last
    inputs = keras.Input((8, 8, 3))
    x = layers.Dense(5, name="neck")(backbone()(inputs))
    return keras.Model(inputs, head(layers.BatchNormalization(name="norm3")(x)))


def test_nested_backbone():
    expected = CLASSIFIER | {"neck": 1, "norm3": 1, "head": 0}
    assert exponents(classifier()) == expected


def test_sequential():
    model = keras.Sequential([backbone(), layers.Dense(2, name="head")])
    model.build((None, 8, 8, 3))
    expected = {name: k - 1 for name, k in CLASSIFIER.items()}
    assert exponents(model) == expected | {"head": 0}


def test_recurrent_layers_and_embeddings():
    model = keras.Sequential(
        [
            keras.Input((6,), dtype="int32"),
            layers.Embedding(10, 4, name="tokens"),
            layers.LSTM(3, return_sequences=True, name="lstm"),
            layers.GRU(3, name="gru"),
            layers.Dense(1, name="head"),
        ]
    )
    expected = {"tokens": 3, "lstm_cell": 2, "gru_cell": 1, "head": 0}
    assert exponents(model) == expected


def transformer():
    x = inputs = keras.Input((6, 4))
    x = layers.Dense(4, name="embed")(x)
    for i in range(2):
        y = layers.LayerNormalization(name=f"block_{i}_norm")(x)
        y = layers.MultiHeadAttention(2, 2, name=f"block_{i}_attention")(y, y)
        x = layers.Dense(4, name=f"block_{i}_dense")(x + y)
    x = layers.LayerNormalization(name="last_norm")(x)
    heads = [layers.Dense(n, name=f"head_{n}")(x) for n in (2, 3)]
    return keras.Model(inputs, heads)


def test_blocks_count_once():
    found = layer_decay(transformer(), 0.5, block=r"block_\d+|head")
    for layer, exponent in {
        "embed": 3,
        "block_0": 2,
        "block_1": 1,
        "last_norm": 1,
        "head": 0,
    }.items():
        own = {m for pattern, m in found.items() if pattern.startswith(f"^{layer}")}
        assert own == {0.5**exponent}


def test_without_blocks_every_kernel_counts():
    model = transformer()
    multipliers = layer_decay(model, 0.5)
    kernels = sum(v.name == "kernel" for v in model.trainable_variables)
    assert kernels == 1 + 2 * 5 + 2
    assert min(multipliers.values()) == 0.5 ** (kernels - 1)
    assert len(multipliers) == len(model.trainable_variables)


def test_frozen_layers_count_but_have_no_entry():
    model = classifier()
    model.get_layer("backbone").get_layer("conv2").trainable = False
    expected = CLASSIFIER | {"neck": 1, "norm3": 1, "head": 0}
    del expected["conv2"]
    assert exponents(model) == expected


@pytest.mark.parametrize("decay", [0, 0.75, 1])
def test_values(decay):
    multipliers = list(layer_decay(classifier(), decay).values())
    assert multipliers[-1] == 1
    assert multipliers[0] == decay**3


def test_paths_are_matched_exactly():
    inputs = keras.Input((4,))
    outputs = layers.Dense(2, name="aa")(layers.Dense(3, name="a")(inputs))
    model = keras.Model(inputs, outputs)
    optimizer = LayerwiseLearningRate("sgd", layer_decay(model, 0.5))
    optimizer.build(model.trainable_variables)
    assert optimizer.multipliers == [0.5, 0.5, 1, 1]


def test_updates_decay():
    model = classifier()
    variables = model.trainable_variables
    before = [numpy(v) for v in variables]
    optimizer = LayerwiseLearningRate(
        keras.optimizers.SGD(0.1), layer_decay(model, 0.5)
    )
    optimizer.apply([keras.ops.ones(v.shape) for v in variables], variables)
    expected = CLASSIFIER | {"neck": 1, "norm3": 1, "head": 0}
    for variable, old in zip(variables, before, strict=True):
        step = -0.1 * 0.5 ** expected[variable.path.split("/")[-2]]
        np.testing.assert_allclose(numpy(variable) - old, step, rtol=1e-5)


@pytest.mark.parametrize("decay", [-0.1, 1.1, float("nan")])
def test_bad_decay(decay):
    with pytest.raises(ValueError, match="Received: decay="):
        layer_decay(classifier(), decay)


@pytest.mark.parametrize(
    "model",
    [
        keras.Sequential([layers.Dense(3)]),
        keras.Sequential([keras.Input((4,)), layers.LayerNormalization()]),
    ],
)
def test_no_kernel(model):
    with pytest.raises(ValueError, match=r"not built, or owns no kernel.*Received"):
        layer_decay(model)


def test_repeated_paths():
    inputs = keras.Input((8, 8, 3))
    x = layers.Concatenate()([backbone("left")(inputs), backbone("right")(inputs)])
    with pytest.raises(ValueError, match=r"the path conv1/kernel.*Received: model="):
        layer_decay(keras.Model(inputs, layers.Dense(2)(x)))
