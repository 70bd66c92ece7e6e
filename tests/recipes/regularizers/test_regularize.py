import keras
import numpy as np
import pytest
from contract import numpy

from hornbook.recipes.regularizers.regularize import regularize

L2 = keras.regularizers.L2


def nested_model():
    """A head on a backbone that holds a model of its own."""
    block = keras.Sequential(
        [keras.Input((6,)), keras.layers.Dense(6, name="dense")], name="block"
    )
    inputs = keras.Input((5,))
    x = keras.layers.Dense(6, kernel_regularizer=L2(0.5), name="stem")(inputs)
    x = keras.layers.BatchNormalization(name="norm")(block(x))
    backbone = keras.Model(inputs, x, name="backbone")
    inputs = keras.Input((5,))
    head = keras.layers.Dense(2, name="head")
    return keras.Model(inputs, head(backbone(inputs)))


def penalties(model):
    """The regularizer of each weight that has one, by path."""
    return {v.path: v.regularizer for v in model.weights if v.regularizer is not None}


def test_sets_every_kernel_and_puts_back_what_was_there():
    model = nested_model()
    before = penalties(model)
    assert list(before) == ["stem/kernel"]
    undo = regularize(model, L2(0.1))
    kernels = [v for v in model.weights if v.name == "kernel"]
    assert list(penalties(model)) == [v.path for v in kernels]
    assert len(kernels) == 3
    expected = 0.1 * sum(np.sum(numpy(v) ** 2) for v in kernels)
    assert sum(map(numpy, model.losses)) == pytest.approx(expected, rel=1e-5)
    undo()
    assert penalties(model) == before
    undo()
    assert penalties(model) == before


def test_none_takes_penalties_away():
    model = nested_model()
    undo = regularize(model, None)
    assert model.losses == []
    undo()
    assert len(model.losses) == 1


def test_only_a_function_chooses():
    model = nested_model()
    regularize(model, "l1", only=lambda v: v.path.startswith("head"))
    assert set(penalties(model)) == {"stem/kernel", "head/kernel", "head/bias"}


def test_names_of_kernels():
    layers = [
        keras.layers.SeparableConv2D(3, 2),
        keras.layers.Reshape((49, 3)),
        keras.layers.LSTM(2, return_sequences=True),
        keras.layers.MultiHeadAttention(1, 2),
    ]
    inputs = keras.Input((8, 8, 3))
    x = layers[2](layers[1](layers[0](inputs)))
    model = keras.Model(inputs, layers[3](x, x))
    regularize(model, L2(0.1))
    names = [path.rpartition("/")[2] for path in penalties(model)]
    assert sorted(names) == sorted(
        ["depthwise_kernel", "pointwise_kernel", "kernel", "recurrent_kernel"]
        + ["kernel"] * 4
    )


# Into the compiled step.


def compiled(model):
    model.compile(keras.optimizers.SGD(0.1, momentum=0.5), "mse")
    return model


def shrinkage(model):
    """What a step on zeros, without a gradient of its own, leaves of a kernel."""
    kernel = model.layers[-1].kernel
    before = numpy(kernel).copy()
    model.fit(np.zeros((4, 3)), np.zeros((4, 2)), verbose=0)
    return (numpy(kernel) / before).mean()


def small_model():
    return keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])


def test_takes_effect_in_a_model_that_has_been_trained():
    model = compiled(small_model())
    zeros = np.zeros((4, 3)), np.zeros((4, 2))
    assert shrinkage(model) == 1
    assert model.evaluate(*zeros, verbose=0) == 0
    optimizer, steps = model.optimizer, int(model.optimizer.iterations)

    undo = regularize(model, L2(0.5))
    kernel = numpy(model.layers[0].kernel)
    assert model.evaluate(*zeros, verbose=0) == pytest.approx(
        0.5 * np.sum(kernel**2), rel=1e-5
    )
    assert shrinkage(model) == pytest.approx(1 - 0.1, rel=1e-6)
    assert model.optimizer is optimizer
    assert int(optimizer.iterations) == steps + 1

    undo()
    assert model.evaluate(*zeros, verbose=0) == 0
    # Momentum still carries half of the last step: 0.5 * 0.1 / 0.9 of the kernel.
    assert shrinkage(model) == pytest.approx(1 - 0.05 / 0.9, rel=1e-5)


def test_takes_effect_in_the_midst_of_fit():
    class Switch(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                regularize(self.model, L2(0.5))

    model = compiled(small_model())
    zeros = np.zeros((4, 3)), np.zeros((4, 2))
    history = model.fit(*zeros, epochs=3, callbacks=[Switch()], verbose=0)
    first, second, third = history.history["loss"]
    assert first == 0
    assert second > third > 0


def test_a_layers_argument_set_after_build_does_nothing():
    model = small_model()
    model.layers[0].kernel_regularizer = L2(0.5)
    assert model.losses == []
    assert shrinkage(compiled(model)) == 1
    regularize(model, L2(0.5))
    assert shrinkage(model) == pytest.approx(0.9, rel=1e-6)


def test_a_variables_regularizer_alone_misses_the_compiled_step():
    model = compiled(small_model())
    assert shrinkage(model) == 1
    model.layers[0].kernel.regularizer = L2(0.5)
    traced = keras.backend.backend() != "torch"
    assert shrinkage(model) == pytest.approx(1 if traced else 0.9, rel=1e-6)


def test_frozen_weights_count_once_they_train():
    model = small_model()
    model.trainable = False
    regularize(model, L2(0.5))
    assert model.losses == []
    model.trainable = True
    assert len(model.losses) == 1


def test_is_not_saved(tmp_path):
    model = small_model()
    regularize(model, L2(0.5))
    model.save(tmp_path / "model.keras")
    assert keras.models.load_model(tmp_path / "model.keras").losses == []
    assert keras.models.clone_model(model).losses == []


def test_a_layer_that_is_no_model():
    layer = keras.layers.Dense(2)
    layer.build((None, 3))
    regularize(layer, L2(0.5))
    assert len(layer.losses) == 1


def test_refuses():
    model = small_model()
    with pytest.raises(ValueError, match="Received: only=biases"):
        regularize(model, L2(0.5), only="biases")
    with pytest.raises(ValueError, match=r"none of its 2 weights.*Received: model="):
        regularize(model, L2(0.5), only=lambda v: False)
    with pytest.raises(ValueError, match=r"not built.*Received: model="):
        regularize(keras.Sequential([keras.layers.Dense(2)]), L2(0.5))
    with pytest.raises(ValueError, match="regularizer"):
        regularize(model, "l3")
    assert model.losses == []
