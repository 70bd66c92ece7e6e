"""What every recipe must do, whatever it is: the contract of CONTRIBUTING.md."""

import keras
import numpy as np
from keras import ops

TOLERANCE = {"float32": 1e-5, "float16": 2e-3, "bfloat16": 2e-2}


def numpy(x):
    """A backend tensor as NumPy, on every backend."""
    return ops.convert_to_numpy(x)


def check_config(obj):
    """`get_config` is complete: a second object from it has the same config."""
    config = obj.get_config()
    again = type(obj).from_config(config)
    assert again.get_config() == config
    serialized = keras.saving.serialize_keras_object(obj)
    assert serialized["registered_name"] == f"hornbook>{type(obj).__name__}"


def check_layer(make, input_shape, tmp_path, *, batch=4, fit=True, jit=True, seed=0):
    """Runs a layer through building, fitting, saving, graphs and precisions.

    Args:
        make: Function without arguments that returns a new layer.
        input_shape: Shape of one example, without the batch.
        tmp_path: Folder for the `.keras` file.
        batch: Examples in a batch.
        fit: Train for one step. False for layers that only make views.
        jit: Compile with XLA where the backend is TensorFlow.
        seed: For the inputs.

    Returns:
        The layer's output on the inputs, as NumPy.
    """
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(batch, *input_shape)).astype("float32")
    check_config(make())

    # Unknown batch size, shape inference against what comes out.
    inputs = keras.Input(input_shape)
    layer = make()
    outputs = layer(inputs)
    model = keras.Model(inputs, outputs)
    y = numpy(model(x, training=False))
    assert outputs.shape[1:] == y.shape[1:]
    assert tuple(layer.compute_output_shape((batch, *input_shape))) == y.shape
    assert numpy(model(x[:1], training=False)).shape[1:] == y.shape[1:]

    # Save, load, predict.
    path = tmp_path / "layer.keras"
    model.save(path)
    again = keras.models.load_model(path)
    np.testing.assert_allclose(numpy(again(x, training=False)), y, rtol=1e-6, atol=1e-6)

    if fit:
        check_fit(make(), x)
    if keras.backend.backend() == "tensorflow":
        check_tf_function(model, x, y, jit)
    for policy in ("mixed_float16", "mixed_bfloat16"):
        check_policy(make, x, policy)
    return y


def check_fit(layer, x):
    """One step of `fit` changes every trainable weight and leaves finite ones."""
    model = keras.Sequential(
        [keras.Input(x.shape[1:]), layer, keras.layers.Flatten(), keras.layers.Dense(1)]
    )
    model.compile(optimizer=keras.optimizers.SGD(0.1), loss="mse")
    before = [numpy(v) for v in layer.trainable_variables]
    model.fit(x, np.ones((len(x), 1), "float32"), batch_size=len(x), verbose=0)
    after = [numpy(v) for v in layer.trainable_variables]
    assert all(np.isfinite(v).all() for v in after)
    assert all((a != b).any() for a, b in zip(before, after, strict=True))


def check_tf_function(model, x, y, jit):
    """The same numbers inside `tf.function` with an unknown batch size, and XLA."""
    import tensorflow as tf

    spec = tf.TensorSpec((None, *x.shape[1:]), tf.float32)
    graph = tf.function(lambda t: model(t, training=False), input_signature=[spec])
    np.testing.assert_allclose(graph(x), y, rtol=1e-4, atol=1e-5)
    if jit:
        compiled = tf.function(
            lambda t: model(t, training=False), jit_compile=True, autograph=False
        )
        np.testing.assert_allclose(compiled(tf.constant(x)), y, rtol=1e-4, atol=1e-4)


def check_policy(make, x, policy):
    """Under a mixed policy the output has the compute dtype and is finite."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        layer = make()
        y = layer(ops.convert_to_tensor(x))
        assert keras.backend.standardize_dtype(y.dtype) == layer.compute_dtype
        assert np.isfinite(numpy(ops.cast(y, "float32"))).all()
    finally:
        keras.config.set_dtype_policy(before)
