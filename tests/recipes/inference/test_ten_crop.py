import keras
import numpy as np
import pytest
from contract import check_layer, numpy
from keras import ops

from hornbook.recipes.inference.ten_crop import TenCrop

TENSORFLOW = keras.backend.backend() == "tensorflow"


def images(height, width, batch=2, channels=3, dtype="float32"):
    size = batch * height * width * channels
    return np.arange(size).reshape(batch, height, width, channels).astype(dtype)


def five(x, height, width):
    """torchvision's `five_crop`, its rounding included, as NumPy slices."""
    bottom, right = x.shape[1] - height, x.shape[2] - width
    middle, centre = round(bottom / 2.0), round(right / 2.0)
    return [
        x[:, :height, :width],
        x[:, :height, right:],
        x[:, bottom:, :width],
        x[:, bottom:, right:],
        x[:, middle : middle + height, centre : centre + width],
    ]


def ten(x, height, width):
    return np.stack(five(x, height, width) + five(x[:, :, ::-1], height, width), 1)


@pytest.mark.parametrize(
    ("image", "crop"),
    [
        ((8, 8), (5, 5)),  # margin 3: 1.5 rounds up, to 2
        ((7, 9), (6, 4)),  # margins 1 and 5: 0.5 rounds down to 0, 2.5 to 2
        ((9, 12), (2, 5)),  # margins 7 and 7: 3.5 rounds up to 4
        ((10, 6), (4, 2)),
        ((6, 6), (6, 6)),  # no margin at all
        ((5, 4), (1, 1)),
    ],
)
def test_crops_are_numpy_slices(image, crop):
    x = images(*image)
    np.testing.assert_array_equal(numpy(TenCrop(*crop)(x)), ten(x, *crop))
    np.testing.assert_array_equal(
        numpy(TenCrop(*crop, flips=False)(x)), np.stack(five(x, *crop), 1)
    )


def test_order():
    """Each quarter and the centre of this image has a digit of its own."""
    x = np.array([[1, 1, 2, 2], [1, 5, 5, 2], [3, 5, 5, 4], [3, 3, 4, 4]], "uint8")
    crops = numpy(TenCrop(2, 2)(x[None, :, :, None]))[0, ..., 0]
    corners = [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert [crop[c] for crop, c in zip(crops, corners, strict=False)] == [1, 2, 3, 4]
    assert (crops[4] == 5).all()
    for mirrored, plain in zip(range(5, 10), (1, 0, 3, 2, 4), strict=True):
        np.testing.assert_array_equal(crops[mirrored], crops[plain][:, ::-1])


def test_an_odd_margin_moves_the_mirrored_centre():
    """The centre of the mirror image, not the mirror of the centre."""
    crops = numpy(TenCrop(1, 1)(images(1, 2, batch=1, channels=1)))[0, :, 0, 0, 0]
    assert crops[4] == 0 and crops[9] == 1


@pytest.mark.parametrize("dtype", ["uint8", "int32", "float32"])
def test_dtype_is_kept(dtype):
    x = images(6, 5, dtype=dtype)
    layer = TenCrop(4, 3)
    y = layer(x)
    assert keras.backend.standardize_dtype(y.dtype) == dtype
    assert layer(keras.Input((6, 5, 3), dtype=dtype)).dtype == dtype
    np.testing.assert_array_equal(numpy(y), ten(x, 4, 3))


def test_integers_stay_and_floats_are_cast_under_a_mixed_policy():
    layer = TenCrop(4, 3, dtype="mixed_bfloat16")
    assert keras.backend.standardize_dtype(layer(images(6, 5)).dtype) == "bfloat16"
    y = layer(images(6, 5, dtype="uint8"))
    assert keras.backend.standardize_dtype(y.dtype) == "uint8"


def test_contract(tmp_path):
    check_layer(lambda: TenCrop(4, 7), (7, 8, 3), tmp_path, fit=False)
    check_layer(lambda: TenCrop(4, 7, flips=False), (7, 8, 3), tmp_path, fit=False)


def test_unknown_image_size(tmp_path):
    inputs = keras.Input((None, None, 3), dtype="uint8")
    outputs = TenCrop(100, 96)(inputs)
    assert outputs.shape == (None, 10, 100, 96, 3) and outputs.dtype == "uint8"
    model = keras.Model(inputs, outputs)
    model.save(tmp_path / "model.keras")
    model = keras.models.load_model(tmp_path / "model.keras")
    for size in ((100, 96), (103, 101), (120, 97)):
        x = images(*size, dtype="uint8")
        np.testing.assert_array_equal(numpy(model(x)), ten(x, 100, 96))


def test_empty_batch():
    assert numpy(TenCrop(4, 3)(images(6, 5)[:0])).shape == (0, 10, 4, 3, 3)


def test_trains_what_comes_before():
    """Crops pass gradients on, so the layer may stand inside a model."""
    model = keras.Sequential(
        [keras.Input((6, 6, 1)), keras.layers.Conv2D(1, 1), TenCrop(4, 4)]
    )
    model.compile("sgd", "mse")
    before = numpy(model.layers[0].kernel)
    model.fit(images(6, 6, channels=1) / 100, np.ones((2, 10, 4, 4, 1)), verbose=0)
    assert (numpy(model.layers[0].kernel) != before).all()


@pytest.mark.parametrize("size", [(4, 9), (9, 4), (2, 2)])
def test_small_images_are_refused(size):
    layer = TenCrop(5, 5)
    with pytest.raises(ValueError, match=r"smaller than the crop.*Received: input_sh"):
        layer(images(*size))
    with pytest.raises(ValueError, match="smaller than the crop"):
        layer(keras.Input((*size, 3)))
    with pytest.raises(ValueError, match="smaller than the crop"):
        layer.compute_output_shape((None, *size, 3))


@pytest.mark.parametrize("size", [(4, 9), (9, 4), (2, 2)])
def test_small_images_fail_in_a_graph_of_unknown_size(size):
    """Where slices counted from the end would quietly give crops of a wrong size."""
    layer, x = TenCrop(5, 5), images(*size)
    if TENSORFLOW:
        import tensorflow as tf

        spec = tf.TensorSpec((None, None, None, 3), tf.float32)
        crop, error = tf.function(layer, [spec]), tf.errors.InvalidArgumentError
        y = images(9, 9)
        np.testing.assert_array_equal(crop(y), ten(y, 5, 5))
    else:  # every size is known when JAX and torch run
        inputs = keras.Input((None, None, 3))
        crop, error = keras.Model(inputs, layer(inputs)), ValueError
    with pytest.raises(error):
        crop(x)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"height": 0, "width": 3}, "Received: height=0"),
        ({"height": 3, "width": -1}, "Received: width=-1"),
        ({"height": 2.5, "width": 3}, r"Received: height=2\.5"),
        ({"height": 3, "width": None}, "Received: width=None"),
    ],
)
def test_bad_sizes(arguments, message):
    with pytest.raises(ValueError, match=message):
        TenCrop(**arguments)


def test_one_image_without_a_batch_is_refused():
    with pytest.raises(ValueError, match=r"Received: input_shape=\(6, 6, 3\)"):
        TenCrop(4, 4)(ops.ones((6, 6, 3)))


def test_channels_first_is_refused():
    keras.config.set_image_data_format("channels_first")
    try:
        with pytest.raises(ValueError, match="image_data_format=channels_first"):
            TenCrop(4, 4)
    finally:
        keras.config.set_image_data_format("channels_last")
