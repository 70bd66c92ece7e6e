import keras
import numpy as np
import pytest

from hornbook.zoo.backbones.glyphnet import glyphnet


def by_hand(channels, widths):
    """Weights of the paper's blocks: kernels, and four numbers a channel in norms."""
    total = 9 * channels * widths[0] + 4 * widths[0]
    before = widths[0]
    for number, width in enumerate(widths):
        total += 9 * before * width + 9 * width * width + 2 * 4 * width
        if number or before != width:
            total += before * width + 4 * width
        before = width
    return total


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("widths", [(8, 16), (32, 64, 128)])
def test_parameters_and_shapes(channels, widths):
    model = glyphnet((32, 32, channels), widths)
    assert model.count_params() == by_hand(channels, widths)
    features = model.predict(np.zeros((2, 32, 32, channels), "uint8"), verbose=0)
    assert features.shape == (2, widths[-1])


def test_pixels_are_scaled_inside():
    scale = glyphnet().get_layer("rescale")
    np.testing.assert_allclose(scale(np.array([0.0, 127.5, 255.0])), [-1, 0, 1])


def test_saves_and_opens_in_plain_keras(tmp_path):
    model = glyphnet(widths=(8, 16))
    x = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3))
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_array_equal(
        again.predict(x, verbose=0), model.predict(x, verbose=0)
    )
