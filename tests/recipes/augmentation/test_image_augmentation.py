import keras
import numpy as np
import pytest
from contract import check_layer, numpy
from keras import ops
from PIL import Image, ImageEnhance
from scipy import ndimage, stats

from hornbook.recipes.augmentation.image_augmentation import PRESETS, ImageAugmentation

TENSORFLOW = keras.backend.backend() == "tensorflow"
# One value for each range, so that what is drawn is known.
FIXED = {
    "horizontal_flip": 1.0,
    "zoom": (1.15, 1.15),
    "aspect": (1.2, 1.2),
    "shear": (9, 9),
    "rotation": (25, 25),
}


def noise(batch=4, height=24, width=32, channels=3, dtype="float32"):
    rng = np.random.default_rng(0)
    return rng.uniform(0, 255, (batch, height, width, channels)).astype(dtype)


def augmented(x, draws=None, **arguments):
    layer = ImageAugmentation(seed=0, **arguments)
    layer._compiled = layer._render  # compiling takes longer than what it saves here
    if draws is None:
        draws = keras.random.uniform((len(x), layer.DRAWS), seed=layer.seed_generator)

    def call(x, draws):
        return layer(x, training=True, draws=draws)

    if keras.backend.backend() == "jax":  # there each operation is compiled by itself
        import jax

        call = jax.jit(call)
    return numpy(call(x, draws))


def most(batch):
    """The upper end of every range."""
    return np.full((batch, ImageAugmentation.DRAWS), 1 - 1e-7, "float32")


def smooth(x, y):
    """A picture on [-1, 1]², with different colours."""
    return np.stack(
        [np.sin(2 * x + y), np.cos(x - 2 * y), np.sin(3 * x) * np.cos(2 * y)], axis=-1
    )


def grid(size):
    centres = (np.arange(size) + 0.5) * 2 / size - 1
    return np.meshgrid(centres, centres)


class TestGeometry:
    def truth(self, size, shift=0.1):
        """Where each pixel comes from, by the parts' own matrices, y downwards."""
        angle, shear = np.radians(25), np.radians(9)
        flip = np.diag([-1, 1])
        zoom = np.diag([1.15 * 1.2**0.5, 1.15 / 1.2**0.5])
        sheared = np.array([[1, -np.tan(shear)], [0, 1]])
        turned = np.array(
            [[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]
        )
        back = np.linalg.inv(turned @ sheared @ zoom @ flip)
        places = np.stack(grid(size)) - 2 * shift
        return np.einsum("ij,jhw->ihw", back, places)

    def test_once_against_the_truth_and_against_part_by_part(self):
        once, parts, apart = [], [], []
        for size in (32, 64, 128):
            x = smooth(*grid(size))[None].astype("float32")
            places = self.truth(size)
            seen = (np.abs(places) < 0.9).all(axis=0)
            truth = smooth(*places)
            y = augmented(x, most(1), translation=0.1, **FIXED)[0]
            steps = x
            for name, value in [*FIXED.items(), ("translation", 0.1)]:
                steps = augmented(steps, most(1), **{name: value})
            # Away from where a part has already filled in from outside.
            inner = seen & (np.abs(np.stack(grid(size))) < 0.35).all(axis=0)
            once.append(np.abs(y - truth)[seen].max())
            parts.append(np.abs(steps[0] - truth)[inner].max())
            apart.append(np.abs(steps[0] - y)[inner].max())
        assert once[-1] < 1e-3
        for errors in (once, apart):
            assert errors[0] > 3 * errors[1] > 9 * errors[2]
        assert all(2 * a < b for a, b in zip(once, parts, strict=True))

    def test_nothing_to_do_gives_the_image(self):
        np.testing.assert_allclose(augmented(noise()), noise(), atol=2e-3)

    def test_flips_are_numpy_flips(self):
        x = noise()
        y = augmented(x, horizontal_flip=1)
        np.testing.assert_allclose(y, x[:, :, ::-1], atol=2e-3)
        y = augmented(x, vertical_flip=1)
        np.testing.assert_allclose(y, x[:, ::-1], atol=2e-3)

    def test_translation_is_a_slice(self):
        x = noise()
        y = augmented(x, most(4), translation=0.25)
        np.testing.assert_allclose(y[:, 6:, 8:], x[:, :-6, :-8], atol=2e-2)

    def test_rotation_is_pillows(self):
        x = ndimage.gaussian_filter(noise(1, 40, 40), (0, 2, 2, 0)).astype("uint8")
        y = augmented(x, rotation=(30, 30), dtype="uint8")
        truth = np.asarray(Image.fromarray(x[0]).rotate(30, Image.Resampling.BILINEAR))
        gap = y[0, 8:-8, 8:-8].astype(int) - truth[8:-8, 8:-8]
        assert np.abs(gap).max() <= 1

    @pytest.mark.parametrize(
        ("fill_mode", "mode"),
        [("reflect", "reflect"), ("nearest", "nearest"), ("constant", "constant")],
    )
    def test_fill_is_scipys(self, fill_mode, mode):
        x = noise(1, 12, 16)
        arguments = {"zoom": (0.3, 0.3), "scale": (1, 1)}
        y = augmented(
            x, None, fill_mode=fill_mode, fill_value=7, **arguments, height=12
        )
        step = 1 / 0.3
        rows, columns = (
            np.arange(n) * step + (n - 1) / 2 * (1 - step) for n in (12, 16)
        )
        # Three places in a pixel on each axis, as 1 / 0.3 rounds to three.
        fine = [
            (r[:, None] + step * np.array([-1, 0, 1]) / 3).ravel()
            for r in (rows, columns)
        ]
        places = np.meshgrid(*fine, indexing="ij")
        # Constant: SciPy's own "constant" has an edge, "grid-constant" fades.
        mode = {"constant": "grid-constant"}.get(mode, mode)
        for channel in range(3):
            truth = ndimage.map_coordinates(
                x[0, ..., channel], places, order=1, mode=mode, cval=7
            )
            truth = truth.reshape(12, 3, 16, 3).mean((1, 3))
            np.testing.assert_allclose(y[0, ..., channel], truth, atol=0.02)

    def test_perspective_is_a_tilt(self):
        """Straight lines stay straight, and one side is nearer than the other."""
        x = np.stack(grid(64), axis=-1)[None].astype("float32")
        draws = np.full((1, ImageAugmentation.DRAWS), 0.5, "float32")
        low, high = (
            augmented(x, 0 * draws, perspective=0.2),
            augmented(x, most(1), perspective=0.2),
        )
        u, v = grid(64)
        truth = np.stack([u, v], -1) / (1 + 0.2 * u + 0.2 * v)[..., None]
        seen = (np.abs(truth) < 0.95).all(axis=-1)
        np.testing.assert_allclose(high[0][seen], truth[seen], atol=1e-4)
        np.testing.assert_allclose(low[0], -high[0, ::-1, ::-1], atol=1e-4)


class TestCrop:
    def boxes(self, count, rows, columns, scale, ratio):
        """torchvision's `RandomResizedCrop.get_params`, without rounding."""
        rng = np.random.default_rng(1)
        for _ in range(count):
            place = rng.uniform(size=2)
            for _ in range(10):
                area = rows * columns * rng.uniform(*scale)
                aspect = np.exp(rng.uniform(*np.log(ratio)))
                high, wide = (area / aspect) ** 0.5, (area * aspect) ** 0.5
                if high <= rows and wide <= columns:
                    break
            else:
                aspect = np.clip(columns / rows, *ratio)
                high, wide = min(rows, columns / aspect), min(columns, rows * aspect)
                place = 0.5, 0.5
            yield place[0] * (rows - high), place[1] * (columns - wide), high, wide

    def test_crops_have_torchvisions_law(self):
        rows, columns, count = 20, 30, 1000
        y, x = np.mgrid[:rows, :columns].astype("float32")
        # The places themselves are the picture, so that the result tells the box.
        images = np.broadcast_to(np.stack([y, x], -1), (count, rows, columns, 2))
        arguments = {"scale": (0.3, 1.0), "ratio": (3 / 4, 4 / 3)}
        z = augmented(images, height=9, width=9, **arguments)
        # Nine pixels across, read from the middle, clear of the edges.
        high = (z[:, 5, 4, 0] - z[:, 3, 4, 0]) * 9 / 2
        wide = (z[:, 4, 5, 1] - z[:, 4, 3, 1]) * 9 / 2
        top, left = z[:, 4, 4, 0] + 0.5 - high / 2, z[:, 4, 4, 1] + 0.5 - wide / 2
        truth = np.array(list(self.boxes(count, rows, columns, *arguments.values())))
        for ours, theirs in zip((top, left, high, wide), truth.T, strict=True):
            assert stats.ks_2samp(ours, theirs).pvalue > 1e-3
        assert high.max() < rows + 0.01
        assert wide.max() < columns + 0.01

    def test_centred_at_inference_and_at_strength_zero(self):
        x = noise(2, 30, 36)
        layer = ImageAugmentation.from_preset(
            "strong", height=15, width=15, strength=0.0, seed=0
        )
        y = numpy(layer(x))
        truth = x[:, :, 3:33].reshape(2, 15, 2, 15, 2, 3)
        # Four places in a pixel's two by two are their mean, but for the image's edge.
        np.testing.assert_allclose(y, truth.mean((2, 4)), atol=1e-2)
        np.testing.assert_allclose(numpy(layer(x, training=True)), y, atol=1e-2)

    def test_identity_at_inference(self):
        x = noise()
        for name in ("digits", "light", "strong"):
            np.testing.assert_array_equal(
                numpy(ImageAugmentation.from_preset(name)(x)), x
            )

    def test_an_image_smaller_than_the_result_is_enlarged(self):
        x = ndimage.gaussian_filter(noise(1, 12, 12), (0, 2, 2, 0)).astype("uint8")
        y = augmented(x, height=48, width=48, dtype="uint8")
        size, method = (48, 48), Image.Resampling.BILINEAR
        truth = np.asarray(Image.fromarray(x[0]).resize(size, method)).astype(int)
        assert np.abs(y[0] - truth).max() <= 1

    def test_antialiasing(self):
        x = noise(1, 256, 256)
        y = augmented(x, height=64, width=64)
        plain = ndimage.zoom(
            x[0], (0.25, 0.25, 1), order=1, grid_mode=True, mode="nearest"
        )
        picture = Image.fromarray(x[0].astype("uint8"))
        truth = np.asarray(picture.resize((64, 64), Image.Resampling.BOX))
        assert np.abs(y[0] - truth).mean() < 0.1 * np.abs(plain - truth).mean()

        board = np.indices((240, 240)).sum(0)[None, :, :, None] % 2 * 255.0
        for size in (40, 60, 120):
            y = augmented(board, height=size, width=size)
            np.testing.assert_allclose(y, 127.5, atol=0.1)


class TestColours:
    @pytest.mark.parametrize(
        ("name", "enhance"),
        [
            ("brightness", ImageEnhance.Brightness),
            ("contrast", ImageEnhance.Contrast),
            ("saturation", ImageEnhance.Color),
        ],
    )
    @pytest.mark.parametrize("factor", [0.0, 0.4, 1.0, 1.7])
    def test_against_pillow(self, name, enhance, factor):
        x = noise(1, dtype="uint8")
        y = augmented(x, dtype="uint8", **{name: (factor, factor)})
        truth = np.asarray(enhance(Image.fromarray(x[0])).enhance(factor)).astype(int)
        assert np.abs(y[0] - truth).max() <= 1

    @pytest.mark.parametrize("value_range", [(0, 255), (0, 1), (-1, 1)])
    def test_together_against_torchvisions_formulas(self, value_range):
        """In any order, as nothing is clipped."""
        low, high = value_range
        x = np.random.default_rng(0).uniform(0.4, 0.6, (1, 8, 8, 3))
        luma = np.array([0.2989, 0.587, 0.114])
        operations = {
            "brightness": lambda z: 0.8 * z,
            "contrast": lambda z: 1.3 * z - 0.3 * (z @ luma).mean(),
            "saturation": lambda z: 0.5 * z + 0.5 * (z @ luma)[..., None],
        }
        factors = {"brightness": 0.8, "contrast": 1.3, "saturation": 0.5}
        arguments = {name: (factor, factor) for name, factor in factors.items()}
        images = low + (high - low) * x
        y = augmented(images, value_range=value_range, **arguments)
        y = (y - low) / (high - low)
        for order in (list(operations), list(operations)[::-1]):
            z = x
            for name in order:
                z = operations[name](z)
            np.testing.assert_allclose(y, z, atol=3e-4)

    @pytest.mark.parametrize("turn", [-0.2, 0.1, 0.5])
    def test_hue_against_yiq(self, turn):
        x = np.random.default_rng(0).uniform(100, 150, (1, 6, 6, 3))
        to = np.array(
            [
                [0.299, 0.587, 0.114],
                [0.5959, -0.2746, -0.3213],
                [0.2115, -0.5227, 0.3112],
            ]
        )
        yiq = x @ to.T
        colour = (yiq[..., 1] + 1j * yiq[..., 2]) * np.exp(-2j * np.pi * turn)
        yiq = np.stack([yiq[..., 0], colour.real, colour.imag], axis=-1)
        y = augmented(x, hue=(turn, turn))
        np.testing.assert_allclose(y, yiq @ np.linalg.inv(to).T, atol=1e-2)

    def test_hue_goes_from_red_to_green_to_blue(self):
        x = np.broadcast_to(np.array([160.0, 100, 100]), (1, 2, 2, 3))
        greenish = augmented(x, hue=(1 / 3, 1 / 3))[0, 0, 0]
        bluish = augmented(x, hue=(-1 / 3, -1 / 3))[0, 0, 0]
        assert (greenish.argmax(), bluish.argmax()) == (1, 2)

    def test_lighting_has_alexnets_covariance(self):
        x = np.full((20000, 1, 1, 3), 0.5, "float32")
        y = augmented(x, lighting=0.1, value_range=(0, 1))[:, 0, 0] - 0.5
        values = np.array([0.2175, 0.0188, 0.0045])
        vectors = np.array(
            [
                [-0.5675, 0.7192, 0.4009],
                [-0.5808, -0.0045, -0.8140],
                [-0.5836, -0.6948, 0.4203],
            ]
        )
        truth = vectors @ np.diag((0.1 * values) ** 2) @ vectors.T
        np.testing.assert_allclose(np.cov(y.T), truth, rtol=0.05, atol=2e-6)
        assert stats.kstest(y @ vectors[:, 0] / (0.1 * 0.2175), "norm").pvalue > 1e-3

    def test_grey_images(self):
        x = noise(1, channels=1, dtype="uint8")
        y = augmented(x, contrast=(0.5, 0.5), hue=0.5, saturation=0.5, lighting=0.5)
        np.testing.assert_allclose(y, (x + x.mean()) / 2, atol=1e-3)

    def test_colours_are_clipped(self):
        y = augmented(noise(), brightness=(3, 3))
        assert (y.min() >= 0, y.max()) == (True, 255)


class TestRandomness:
    def test_each_image_has_its_own(self):
        x = np.repeat(noise(1), 16, axis=0)
        for name in ("rotation", "shear", "zoom", "aspect", "translation", "lighting"):
            y = augmented(x, **{name: 0.4})
            assert len(np.unique(y.reshape(16, -1), axis=0)) == 16, name
        for name in ("perspective", "brightness", "contrast", "saturation", "hue"):
            y = augmented(x, **{name: 0.4})
            assert len(np.unique(y.reshape(16, -1), axis=0)) == 16, name

    @pytest.mark.parametrize("name", ["horizontal_flip", "vertical_flip"])
    @pytest.mark.parametrize("probability", [0.5, 0.2])
    def test_flips_are_binomial(self, name, probability):
        x = np.broadcast_to(np.eye(2, 3)[..., None], (3000, 2, 3, 1))
        y = augmented(x, **{name: probability})
        flipped = int((np.abs(y - x).max((1, 2, 3)) > 0.5).sum())
        assert stats.binomtest(flipped, 3000, probability).pvalue > 1e-4

    def test_ranges_are_uniform(self):
        x = np.full((3000, 1, 1, 1), 1.0, "float32")
        y = augmented(x, brightness=(0.5, 1.5)).ravel()
        assert stats.kstest(y, stats.uniform(0.5, 1).cdf).pvalue > 1e-3

    @pytest.mark.parametrize("name", PRESETS)
    def test_same_seed_same_views(self, name):
        x = noise()
        first, again, other = (
            ImageAugmentation.from_preset(name, height=8, width=8, seed=seed)
            for seed in (1, 1, 2)
        )
        views = [numpy(first(x, training=True)) for _ in range(2)]
        for view in views:
            np.testing.assert_array_equal(numpy(again(x, training=True)), view)
        assert np.abs(views[0] - views[1]).max() > 1
        assert np.abs(numpy(other(x, training=True)) - views[0]).max() > 1

    def test_strength_is_a_variable(self):
        x = noise()
        layer = ImageAugmentation(rotation=20, brightness=0.5, strength=0.0, seed=0)
        np.testing.assert_allclose(numpy(layer(x, training=True)), x, atol=2e-3)
        layer.strength.assign(0.5)
        half = ImageAugmentation(rotation=10, brightness=0.25)
        draws = most(4)
        np.testing.assert_allclose(
            numpy(layer(x, training=True, draws=draws)),
            numpy(half(x, training=True, draws=draws)),
            atol=1e-2,
        )

    def test_masks_share_the_view(self):
        masks = (noise(4, 20, 20, 1) > 127).astype("uint8") * 3
        geometry = {"rotation": 30, "zoom": 0.2, "translation": 0.1, "seed": 5}
        for_images = ImageAugmentation(brightness=0.0, **geometry)
        for_masks = ImageAugmentation(
            interpolation="nearest", dtype="uint8", **geometry
        )
        seen = numpy(for_masks(masks, training=True))
        blended = numpy(for_images(masks.astype("float32"), training=True))
        assert set(np.unique(seen)) == {0, 3}
        clear = np.abs(blended - 1.5) > 1.45  # all four pixels alike
        assert clear.mean() > 0.1
        np.testing.assert_array_equal(seen[clear], np.round(blended[clear]))


class TestLayer:
    def test_contract(self, tmp_path):
        def make():
            return ImageAugmentation.from_preset(
                "strong", height=6, width=7, value_range=(-3, 3), seed=0
            )

        check_layer(make, (10, 8, 3), tmp_path)

    @pytest.mark.parametrize("name", PRESETS)
    def test_presets(self, name):
        layer = ImageAugmentation.from_preset(name, height=8, width=8, seed=0)
        y = numpy(layer(noise(dtype="uint8"), training=True))
        assert y.shape == (4, 8, 8, 3)
        assert (y.min() >= -0.01, y.max() <= 255.01) == (True, True)
        assert (name == "digits") == (layer.horizontal_flip == 0)

    @pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "uint8"])
    def test_dtypes(self, policy):
        layer = ImageAugmentation.from_preset("light", seed=0, dtype=policy)
        exact = ImageAugmentation.from_preset("light", seed=0)
        x = noise(dtype="uint8")
        y = layer(x, training=True)
        assert keras.backend.standardize_dtype(y.dtype) == layer.compute_dtype
        gap = numpy(ops.cast(y, "float32")) - numpy(exact(x, training=True))
        assert np.abs(gap).max() <= 0.51

    def test_compiled_is_the_same(self):
        arguments = {**PRESETS["strong"], "height": 10, "width": 9}
        layer = ImageAugmentation(seed=0, **arguments)
        y = numpy(layer(noise(), training=True))
        np.testing.assert_allclose(y, augmented(noise(), **arguments), atol=0.02)

    def test_one_image_and_none(self):
        layer = ImageAugmentation.from_preset("strong", height=8, width=8, seed=0)
        for training in (False, True):
            one = layer(noise(1)[0], training=training)
            assert tuple(one.shape) == (8, 8, 3)
            assert tuple(layer(noise(1)[:0], training=training).shape) == (0, 8, 8, 3)

    def test_in_a_model_with_keras_layers(self):
        model = keras.Sequential(
            [
                keras.Input((None, None, 3), dtype="uint8"),
                ImageAugmentation.from_preset("strong", height=16, width=16, seed=0),
                keras.layers.RandomErasing(),
                keras.layers.Rescaling(1 / 255),
                keras.layers.GlobalAveragePooling2D(),
                keras.layers.Dense(2),
            ]
        )
        model.compile("sgd", "mse")
        x = noise(6, dtype="uint8")
        history = model.fit(x, np.zeros((6, 2)), batch_size=4, verbose=0)
        assert np.isfinite(history.history["loss"][0])
        assert model.predict(x, verbose=0).shape == (6, 2)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"height": 0}, "`height` must be.*Received: height=0"),
            ({"width": 2.5}, "`width` must be"),
            ({"scale": (0.5, 1.5)}, "`scale` must be"),
            ({"scale": 0.5}, "`scale` must be"),
            ({"ratio": (2, 1)}, "`ratio` must be"),
            ({"horizontal_flip": 1.5}, "`horizontal_flip` must be"),
            ({"rotation": -5}, "`rotation` must be"),
            ({"rotation": (10, -10)}, "`rotation` must be"),
            ({"zoom": (0, 1)}, "`zoom` must be"),
            ({"translation": 2}, "`translation` must be"),
            ({"perspective": 0.9}, "`perspective` must be"),
            ({"brightness": (-1, 1)}, "`brightness` must be"),
            ({"hue": 0.7}, "`hue` must be"),
            ({"lighting": -1}, "`lighting` must be"),
            ({"fill_mode": "mirror"}, "`fill_mode` must be"),
            ({"interpolation": "cubic"}, "`interpolation` must be"),
            ({"value_range": (1, 0)}, "`value_range` must be"),
            ({"strength": -1}, "`strength` must be"),
        ],
    )
    def test_bad_arguments(self, arguments, message):
        with pytest.raises(ValueError, match=message):
            ImageAugmentation(**arguments)

    def test_bad_preset(self):
        with pytest.raises(ValueError, match=r"imagenet_train.*Received: name=none"):
            ImageAugmentation.from_preset("none")

    def test_channels_first(self):
        keras.config.set_image_data_format("channels_first")
        try:
            with pytest.raises(ValueError, match="channels_last"):
                ImageAugmentation()
        finally:
            keras.config.set_image_data_format("channels_last")

    @pytest.mark.parametrize(
        ("images", "message"),
        [
            (np.zeros((2, 8)), "`shape` must be"),
            (np.zeros((2, 0, 8, 3)), "`shape` must be"),
            (np.zeros((2, 8, 8, 4)), "`channels` must be"),
            (np.zeros((2, 8, 8, 3), "uint8"), "`value_range` must be"),
        ],
    )
    def test_bad_images(self, images, message):
        layer = ImageAugmentation(brightness=0.5, value_range=(0, 1))
        with pytest.raises(ValueError, match=message):
            layer(images, training=True)


if TENSORFLOW:
    import tensorflow as tf

    class TestTfData:
        def test_parallel_and_repeatable_with_draws(self):
            x = np.repeat(noise(1), 64, axis=0)
            layer = ImageAugmentation.from_preset("strong", seed=0)

            def view(step, image):
                seed = tf.stack([7, tf.cast(step, tf.int32)])
                draws = tf.random.stateless_uniform((layer.DRAWS,), seed)
                return layer(image, training=True, draws=draws)

            dataset = tf.data.Dataset.from_tensor_slices(x).enumerate()
            dataset = dataset.map(view, num_parallel_calls=4)
            first, again = (np.stack(list(dataset)) for _ in range(2))
            np.testing.assert_array_equal(first, again)
            assert len(np.unique(first.reshape(64, -1), axis=0)) == 64

        def test_in_turn_from_the_seed(self):
            x = np.repeat(noise(1), 16, axis=0)

            def views():
                layer = ImageAugmentation.from_preset("light", seed=3)
                dataset = tf.data.Dataset.from_tensor_slices(x).batch(5)
                return list(dataset.map(lambda batch: layer(batch, training=True)))

            first, again = np.concatenate(views()), np.concatenate(views())
            np.testing.assert_array_equal(first, again)
            assert len(np.unique(first.reshape(16, -1), axis=0)) == 16

        def test_images_of_any_size(self):
            layer = ImageAugmentation.from_preset("strong", height=8, width=8, seed=0)
            sizes = [(30, 20), (9, 40), (5, 5)]
            images = [noise(1, *size, dtype="uint8")[0] for size in sizes]
            dataset = tf.data.Dataset.from_generator(
                lambda: images, output_signature=tf.TensorSpec((None, None, 3), "uint8")
            )
            draws = np.full(layer.DRAWS, 0.7, "float32")
            dataset = dataset.map(
                lambda x: layer(x, training=True, draws=draws), num_parallel_calls=2
            )
            for y, image in zip(dataset, images, strict=True):
                known = layer(image, training=True, draws=draws)
                np.testing.assert_allclose(y, known, atol=0.01)

        def test_chain_with_what_mixes_labels(self):
            augment = ImageAugmentation.from_preset("light", seed=0)
            batch = {"images": noise(8, 16, 16), "labels": np.eye(8, dtype="float32")}
            dataset = tf.data.Dataset.from_tensor_slices(batch).batch(4)
            dataset = dataset.map(
                lambda b: {**b, "images": augment(b["images"], training=True)},
                num_parallel_calls=2,
            )
            for layer in (
                keras.layers.RandAugment(num_ops=1),
                keras.layers.RandomErasing(),
                keras.layers.CutMix(),
                keras.layers.MixUp(),
            ):
                dataset = dataset.map(layer, num_parallel_calls=2)
            for batch in dataset:
                assert batch["images"].shape == (4, 16, 16, 3)
                np.testing.assert_allclose(
                    np.sum(batch["labels"], axis=1), 1, rtol=1e-4
                )

        def test_strength_reaches_a_running_pipeline(self):
            layer = ImageAugmentation(brightness=(2, 2), strength=0.0)
            dataset = tf.data.Dataset.from_tensors(
                np.full((1, 2, 2, 1), 10.0, "float32")
            )
            dataset = dataset.map(lambda x: layer(x, training=True))
            before = next(iter(dataset)).numpy().mean()
            layer.strength.assign(1.0)
            after = next(iter(dataset)).numpy().mean()
            assert (before, after) == (10, 20)
