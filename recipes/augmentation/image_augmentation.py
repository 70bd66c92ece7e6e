# SPDX-License-Identifier: Apache-2.0
"""ImageAugmentation: random views of images, each sampled once from the original.

What:    composes flips, rotation, shear, zoom, aspect, translation, perspective and a
         random resized crop into one transform an image, and brightness, contrast,
         saturation, hue and PCA lighting into one colour matrix.
When:    training on images, in the model or in `tf.data`: faster and sharper than a
         chain of layers, each of which interpolates again.
Not for: bounding boxes; erasing, mixing, solarising: chain Keras's layers after it.
Source:  meaning and ranges of torchvision's transforms; lighting of Krizhevsky et al.,
         "ImageNet Classification with Deep Convolutional Neural Networks", NeurIPS
         2012.
Differs: from torchvision: rotation can show what is outside the crop, crops begin
         between pixels, perspective is a tilt, hue turns in YIQ, colours are clipped
         once, at the end.
Needs:   keras>=3; tensorflow only where it is the backend, for XLA.
"""

import inspect
import math
from typing import Any, Self

import keras
import numpy as np
from keras import ops

Range = float | tuple[float, float]  # one number, or the lowest and the highest
CROP = {"height": 224, "width": 224, "scale": (0.08, 1.0), "ratio": (3 / 4, 4 / 3)}
JITTER = {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "lighting": 0.1}
WRITTEN = {"rotation": 10, "shear": 10, "zoom": 0.1, "aspect": 0.1, "translation": 0.08}
LIGHT = {"rotation": 5, "translation": 0.05, "brightness": 0.1, "saturation": 0.1}
STRONG = {"scale": (0.25, 1.0), "rotation": 20, "shear": 10, "perspective": 0.1}
PRESETS = {
    "imagenet_train": {**CROP, **JITTER, "horizontal_flip": 0.5},
    "digits": {**WRITTEN, "contrast": 0.2, "fill_mode": "nearest"},
    "light": {**LIGHT, "zoom": 0.1, "contrast": 0.1, "horizontal_flip": 0.5},
    "strong": {**STRONG, **JITTER, "hue": 0.1, "horizontal_flip": 0.5},
}
FILL_MODES, INTERPOLATIONS = ("reflect", "nearest", "constant"), ("bilinear", "nearest")
TRIES = 10  # at a crop that fits, as in torchvision

LUMA = np.array([0.299, 0.587, 0.114])  # the grey of Pillow, the Y of YIQ
YIQ = np.array([LUMA, [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])
TURN = (np.linalg.inv(YIQ) @ [[0, 0, 0], [0, 0, 1], [0, -1, 0]] @ YIQ).T
AXES = np.array([[-5675, -5808, -5836], [7192, -45, -6948], [4009, -8140, 4203]]) / 1e4
PRINCIPAL = AXES * [[0.2175], [0.0188], [0.0045]]  # AlexNet's, of ImageNet in [0, 1]


@keras.saving.register_keras_serializable(package="hornbook")
class ImageAugmentation(keras.layers.Layer):
    """Transforms the geometry and colours of each image at random, while training.

    Each image has its own transform, from pixels of the result to positions in the
    image, where four pixels are interpolated. In order: crop, flips, zoom and aspect,
    shear, rotation, translation, perspective; all but the crop about the centre.

    At inference, and at `strength=0`, the view is the largest centred part of the image
    with the result's aspect ratio. If the size stays the same that is all of it, and at
    inference the pixels are not touched. Images smaller than the result are enlarged.

    Antialiasing: a pixel of the result is the mean of n × n positions in it, with n the
    image's side over the result's and over the smallest `zoom`, rounded, on the axis
    where that is more, but at most 8. So there is none when shrinking by less than 1.5.

    Colours: brightness, contrast, saturation and hue commute here, so torchvision's
    random order is not needed. They are composed, and clipped to `value_range` once;
    torchvision clips after each, which differs only if one of them leaves the range.
    Contrast blends with the mean grey, 0.299 R + 0.587 G + 0.114 B, of the view
    (torchvision: 0.2989). Hue rotates the I-Q plane of YIQ, which keeps that grey;
    torchvision rotates the hue of HSV. Grey images, of one channel, have brightness and
    contrast only.

    `strength` scales all ranges: nothing at 0, the given ranges at 1, more above.
    `layer.strength` is a variable: after `layer.strength.assign(0.5)` nothing is
    compiled again, in `fit` and in `tf.data`. It is not trained, and is saved with the
    weights. The probabilities of flips are scaled with it too.

    Randomness: the same seed gives the same views. In `tf.data` that needs
    `num_parallel_calls=1`: parallel calls compete for the state of the seed, and
    sometimes two draw the same, as with all of Keras's layers. With `draws` neither
    happens.

    TensorFlow compiles the work with XLA, once for each shape; if height or width are
    unknown, as after decoding JPEGs of any size, it runs without XLA, several times
    slower. In `tf.data` the backend must be TensorFlow.

    Masks: a second layer with the same geometric ranges, `interpolation="nearest"` and
    the same `draws`, or the same seed and number of earlier calls, gives them the same
    view. Labels are not changed. Boxes are not supported.

    Args:
        height: Int, the height of the result. Defaults to `None`, the image's height.
        width: Int, the width of the result. Defaults to `None`, the image's width.
        scale: Pair in (0, 1]. Area of the random resized crop, as a fraction of the
            image's. One that does not fit is drawn again, ten times, then centred.
        ratio: Pair, above 0. Width over height of the crop, drawn in its logarithm;
            torchvision's is (3/4, 4/3). Defaults to `None`, the ratio of the result.
        horizontal_flip: Float in [0, 1]. Probability of mirroring left to right.
        vertical_flip: Float in [0, 1]. Probability of turning upside down.
        rotation: Degrees, counter-clockwise: 10 or (-10, 10).
        shear: Degrees, along x: 10 or (-10, 10), within 80.
        zoom: Factor of size: 0.2 or (0.8, 1.2); above 1 enlarges. At least 0.05.
        aspect: Factor of width over height at equal area, drawn in its logarithm: 0.2
            or (0.8, 1.2).
        translation: Float in [0, 1]. Largest shift on each axis, as a fraction of the
            result's size.
        perspective: Float in [0, 0.45]. How much nearer or farther than the centre the
            middle of an edge can be, on each axis.
        brightness: Factor: 0.4 or (0.6, 1.4), at least 0.
        contrast: Factor, as for brightness.
        saturation: Factor, as for brightness.
        hue: Shift in turns within [-0.5, 0.5]: 0.1 or (-0.1, 0.1).
        lighting: Standard deviation of the amounts of AlexNet's principal colours that
            are added; 0.1 in the paper.
        fill_mode: How to fill what is outside the image: `"reflect"`, the default
            (d c b a | a b c d | d c b a), `"nearest"` (its edge) or `"constant"`.
        fill_value: Number, or a list of one for each channel, for `"constant"`.
            Defaults to 0.
        interpolation: `"bilinear"`, the default, or `"nearest"` for masks, without
            antialiasing.
        value_range: Pair, black and white. Defaults to `(0, 255)`. Nothing is guessed
            from the values: floats must be in this range. If they are not, such as
            [0, 1] with (0, 255), lighting and clipping are wrong, and the rest is not.
        strength: Float of at least 0. Defaults to 1.
        seed: Int. Defaults to `None`.
        **kwargs: The arguments of every Keras layer. The result has the `dtype`; with
            `dtype="uint8"` it is rounded.

    Call arguments:
        images: Tensor `(batch, height, width, channels)`, or one image without the
            batch, uint8 or float. The batch may be empty.
        training: Bool, whether to augment.
        draws: Random numbers in [0, 1) to use, `(batch, ImageAugmentation.DRAWS)`,
            without the batch for one image. Drawn from the seed if `None`.

    Returns:
        Tensor `(batch, height, width, channels)`, or one image.

    Raises:
        ValueError: If an argument is none of the above, if Keras is set to channels
            first, for images of no pixels or another rank, for uint8 images with
            another `value_range` than (0, 255), and for colours of neither one nor
            three channels.

    Example:
    >>> augment = ImageAugmentation.from_preset("imagenet_train", seed=0)
    >>> images = np.zeros((4, 300, 200, 3), "uint8")
    >>> tuple(augment(images, training=True).shape)
    (4, 224, 224, 3)

    Keras's layers follow it, in a model: `keras.Sequential([augment,
    keras.layers.RandomErasing(), backbone])`, and in `tf.data`, here in parallel and
    repeatable:

        def view(step, batch):
            shape = (tf.shape(batch["images"])[0], augment.DRAWS)
            draws = tf.random.stateless_uniform(shape, seed=(7, step))
            return {**batch, "images": augment(batch["images"], True, draws)}

        dataset = dataset.batch(64).enumerate().map(view, tf.data.AUTOTUNE)
        dataset = dataset.map(keras.layers.MixUp())
    """

    DRAWS = 19 + 2 * TRIES

    def __init__(
        self, height: int | None = None, width: int | None = None,
        scale: tuple = (1.0, 1.0), ratio: tuple | None = None,
        horizontal_flip: float = 0.0, vertical_flip: float = 0.0,
        rotation: Range = 0.0, shear: Range = 0.0, zoom: Range = 0.0,
        aspect: Range = 0.0, translation: float = 0.0, perspective: float = 0.0,
        brightness: Range = 0.0, contrast: Range = 0.0, saturation: Range = 0.0,
        hue: Range = 0.0, lighting: float = 0.0, fill_mode: str = "reflect",
        fill_value: float | list[float] = 0.0, interpolation: str = "bilinear",
        value_range: tuple = (0, 255), strength: float = 1.0, seed: int | None = None,
        **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(autocast=False, **kwargs)
        order = keras.config.image_data_format()
        _check("image_data_format", order, order == "channels_last", "'channels_last'")
        self.height, self.width = _size("height", height), _size("width", width)
        self.scale = _pair("scale", scale, 1e-3, 1)
        self.ratio = None if ratio is None else _pair("ratio", ratio, 1e-3)
        self.horizontal_flip = _number("horizontal_flip", horizontal_flip, 1)
        self.vertical_flip = _number("vertical_flip", vertical_flip, 1)
        self.rotation = _range("rotation", rotation, 0, -180, 180)
        self.shear = _range("shear", shear, 0, -80, 80)
        self.zoom = _range("zoom", zoom, 1, 0.05)
        self.aspect = _range("aspect", aspect, 1, 0.05)
        self.translation = _number("translation", translation, 1)
        self.perspective = _number("perspective", perspective, 0.45)
        self.brightness = _range("brightness", brightness, 1, 0)
        self.contrast = _range("contrast", contrast, 1, 0)
        self.saturation = _range("saturation", saturation, 1, 0)
        self.hue = _range("hue", hue, 0, -0.5, 0.5)
        self.lighting = _number("lighting", lighting)
        self.fill_mode = _choice("fill_mode", fill_mode, FILL_MODES)
        self.interpolation = _choice("interpolation", interpolation, INTERPOLATIONS)
        self.value_range = _pair("value_range", value_range)
        self.fill_value, self.seed = fill_value, seed
        self.seed_generator = keras.random.SeedGenerator(seed)
        self._start = _number("strength", strength)
        self.strength = keras.Variable(self._start, None, "float32", False, False)
        self._compiled = self._render
        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            self._compiled = tf.function(self._render, jit_compile=True)  # 5 × as fast

    @classmethod
    def from_preset(cls, name: str, **kwargs: Any) -> Self:
        """Creates a layer from `PRESETS`; keyword arguments replace its values."""
        return cls(**{**PRESETS[_choice("name", name, tuple(PRESETS))], **kwargs})

    def call(self, images, training=False, draws=None):
        """Draws a view for each image and samples it."""
        shape = self.compute_output_shape(images.shape)
        if len(images.shape) == 3:
            return self.call(images[None], training, draws)[0]
        fits = "uint8" not in str(images.dtype) or self.value_range == (0, 255)
        _check("value_range", self.value_range, fits, "(0, 255) for uint8 images")
        if images.shape[0] == 0:  # some backends cannot look into it
            return ops.zeros(shape, self.compute_dtype)
        if not training and shape == tuple(images.shape):
            return ops.cast(images, self.compute_dtype)
        count, *size, channels = ops.shape(images)
        new = [self.height or size[0], self.width or size[1]]
        if not training:
            draws = ops.full((count, self.DRAWS), 0.5)
        elif draws is None:
            draws = keras.random.uniform((count, self.DRAWS), seed=self.seed_generator)
        draws = ops.reshape(ops.cast(draws, "float32"), (-1, self.DRAWS))
        strength = ops.convert_to_tensor(self.strength) if training else 0.0
        geometry, colours = self._draw(draws, strength)
        places = self._places(draws, strength, geometry, size, new)
        colours = self._colours(*colours, channels) if training else None
        static = None not in (*images.shape[-3:], *shape[-3:])
        render = self._compiled if training and static else self._render
        finer = self._finer(size, new) if self.interpolation == "bilinear" else 1
        return render(images, places, colours, tuple(new), finer)

    def _draw(self, draws, strength):
        """What is drawn from ranges: of geometry; of colours, lighting last."""
        bounds = [(-n, n) for n in 2 * [self.translation] + 2 * [self.perspective]]
        bounds += [np.radians(self.rotation), np.radians(self.shear), self.zoom]
        bounds += [np.log(self.aspect), 2 * np.pi * np.array(self.hue)]
        bounds += [self.brightness, self.contrast, self.saturation]
        neutral = np.array(6 * [0] + [1, 0, 0, 1, 1, 1])
        low, high = (_between(each, neutral, strength) for each in np.transpose(bounds))
        drawn = low + (high - low) * draws[:, :12]
        normal = ops.erfinv(ops.clip(2 * draws[:, 12:15] - 1, -0.99999, 0.99999))
        light = normal * (math.sqrt(2) * self.lighting * strength)
        hue, factors = drawn[:, 8, None, None], ops.maximum(drawn[:, 9:, None, None], 0)
        geometry = ops.unstack(drawn[:, :8], 8, axis=1)
        return geometry, (hue, *ops.unstack(factors, 3, axis=1), light)

    def _places(self, draws, strength, geometry, size, new):
        """Matrices from pixels of the result to pixels of the images."""
        right, down, tilt_x, tilt_y, angle, shear, zoom, aspect = geometry
        rows, columns, height, width = (ops.cast(n, "float32") for n in (*size, *new))
        x, y, high, wide = self._crop(draws, strength, rows, columns, height, width)
        mirror = ops.where(draws[:, 17] < self.horizontal_flip * strength, -1.0, 1.0)
        upset = ops.where(draws[:, 18] < self.vertical_flip * strength, -1.0, 1.0)
        zoom, aspect = ops.maximum(zoom, 0.05), ops.exp(aspect / 2)
        step_x, step_y = mirror * wide / (width * zoom * aspect), upset * high * aspect
        cos, sin, one = ops.cos(angle), ops.sin(angle), ops.ones_like(zoom)
        places = ops.eye(3)
        for entries in [
            (step_x, 0, x, 0, step_y / (height * zoom), y, 0, 0, 1),
            (1, ops.tan(shear), 0, 0, 1, 0, 0, 0, 1),
            (cos, -sin, 0, sin, cos, 0, 0, 0, 1),
            (1, 0, -right * width, 0, 1, -down * height, 0, 0, 1),
            (1, 0, 0, 0, 1, 0, 2 * tilt_x / width, 2 * tilt_y / height, 1),
            (1, 0, (1 - width) / 2, 0, 1, (1 - height) / 2, 0, 0, 1),
        ]:
            matrices = ops.stack([one * entry for entry in entries], axis=1)
            places = ops.matmul(places, ops.reshape(matrices, (-1, 3, 3)))
        return places

    def _crop(self, draws, strength, rows, columns, height, width):
        """Centres, height and width of the parts of the images to show."""
        natural = ops.log(width / height)
        logs = [natural] * 2 if self.ratio is None else np.log(self.ratio).tolist()
        low, high = (natural + strength * (bound - natural) for bound in logs)
        ratio = ops.clip(columns / rows, ops.exp(low), ops.exp(high))
        tall = ops.minimum(rows, columns / ratio)
        broad = ops.minimum(columns, rows * ratio)
        least, most = (_between(bound, 1, strength) for bound in self.scale)
        area, ratio = draws[:, -2 * TRIES : -TRIES], draws[:, -TRIES:]
        area = rows * columns * ops.maximum(least + (most - least) * area, 1e-3)
        ratio = ops.exp(low + (high - low) * ratio)
        high, wide = ops.sqrt(area / ratio), ops.sqrt(area * ratio)
        fits = ops.cast(ops.logical_and(high <= rows, wide <= columns), "float32")
        first = ops.one_hot(ops.argmax(fits, axis=1), TRIES) * fits
        some, high, wide = (ops.sum(first * each, axis=1) for each in (1, high, wide))
        x = (columns - 1) / 2 + (some * columns - wide) * (draws[:, 15] - 0.5)
        y = (rows - 1) / 2 + (some * rows - high) * (draws[:, 16] - 0.5)
        return x, y, high + (1 - some) * tall, wide + (1 - some) * broad

    def _colours(self, hue, brightness, contrast, saturation, light, channels):
        """What pixels, their mean and 1 are multiplied by; `None` for no change."""
        ranges = (self.brightness, self.contrast, self.saturation, self.hue)
        if ranges == (*3 * [(1, 1)], (0, 0)) and not self.lighting:
            return None
        _check("channels", channels, channels in (1, 3), "1 or 3 where colours change")
        constants = (np.ones(1), np.zeros((1, 1)), np.zeros((3, 1)))
        constants = (LUMA, TURN, PRINCIPAL) if channels == 3 else constants
        luma, turn, principal = (ops.convert_to_tensor(c, "float32") for c in constants)
        grey = luma[:, None] * ops.ones((1, channels))
        chroma = ops.cos(hue) * (ops.eye(channels) - grey) + ops.sin(hue) * turn
        matrix = brightness * contrast * (grey + saturation * chroma)
        black, white = self.value_range
        light = (white - black) * ops.matmul(light, principal)[:, None]
        fade = brightness * (1 - contrast) * grey
        return matrix, fade, light + black * (1 - brightness)

    def _finer(self, size, new):
        """How many places on each axis a pixel of the result is the mean of."""
        most = [old / each / self.zoom[0] for old, each in zip(size, new, strict=True)]
        if all(isinstance(n, float) for n in most):
            return min(max(round(max(most)), 1), 8)
        most = ops.maximum(*(ops.cast(n, "float32") for n in most))
        return ops.cast(ops.clip(ops.round(most), 1, 8), "int32")

    def _render(self, images, places, colours, size, finer):
        """Samples the images at the places, and maps the colours."""
        (batch, rows, columns, channels), (height, width) = ops.shape(images), size
        steps = (ops.arange(n * finer, dtype="float32") for n in size)
        axes = [(step + 0.5) / ops.cast(finer, "float32") - 0.5 for step in steps]
        y, x = (ops.reshape(p, (-1,)) for p in ops.meshgrid(*axes, indexing="ij"))
        pixels = ops.stack([x, y, ops.ones_like(x)])
        x, y, depth = ops.unstack(ops.matmul(places, pixels), 3, axis=1)
        if self.perspective:
            x, y = x / depth, y / depth
        left, right, to_right, seen_x = self._taps(x, columns)
        top, bottom, down, seen_y = self._taps(y, rows)
        begin = ops.arange(batch, dtype="int32")[:, None] * (rows * columns)
        flat = ops.reshape(images, (batch * rows * columns, channels))

        def across(row):
            both = (begin + row * columns + column for column in (left, right))
            one, other = (ops.cast(ops.take(flat, i, axis=0), "float32") for i in both)
            return one + (other - one) * to_right

        pixels = across(top)
        pixels = pixels + (across(bottom) - pixels) * down
        if self.fill_mode == "constant":
            fill = ops.convert_to_tensor(self.fill_value, "float32")
            pixels = fill + (pixels - fill) * (seen_x * seen_y)
        pixels = ops.reshape(pixels, (batch, height, finer, width, finer, channels))
        pixels = ops.mean(pixels, axis=(2, 4))
        if colours is not None:
            matrix, fade, offset = colours
            pixels = ops.reshape(pixels, (batch, height * width, channels))
            mean = ops.mean(pixels, axis=1, keepdims=True)
            pixels = ops.matmul(pixels, matrix) + (ops.matmul(mean, fade) + offset)
            pixels = ops.clip(pixels, *self.value_range)
        pixels = ops.round(pixels) if "int" in self.compute_dtype else pixels
        pixels = ops.reshape(pixels, (batch, height, width, channels))
        return ops.cast(pixels, self.compute_dtype)

    def _taps(self, place, count):
        """The pixels by a place, the way between them, and how much of it is seen."""
        last, inside = ops.cast(count - 1, "float32"), place
        if self.fill_mode == "reflect":
            turns = (place + 0.5) / (2 * last + 2)
            inside = ops.abs(turns - ops.round(turns)) * (2 * last + 2) - 0.5
        inside = ops.clip(inside, 0, last)
        first = ops.floor(inside)
        way, seen = inside - first, ops.maximum(1 - ops.abs(place - inside), 0)
        if self.interpolation == "nearest":
            way, seen = ops.round(way), ops.round(seen)
        first = ops.cast(first, "int32")
        return first, ops.minimum(first + 1, count - 1), way[..., None], seen[..., None]

    def compute_output_shape(self, input_shape):
        """The given size, and the channels of the images."""
        fits = len(input_shape) in (3, 4) and 0 not in input_shape[-3:]
        _check("shape", tuple(input_shape), fits, "([batch], height, width, channels)")
        *batch, rows, columns, channels = input_shape
        return (*batch, self.height or rows, self.width or columns, channels)

    def get_config(self):
        """Returns the arguments, with ranges as pairs."""
        names = inspect.signature(ImageAugmentation).parameters.keys()
        config = {n: getattr(self, n) for n in names - {"strength", "kwargs"}}
        return {**super().get_config(), **config, "strength": self._start}


def _between(bound, neutral, strength):
    away = ops.convert_to_tensor(bound - np.array(neutral), "float32")
    return ops.convert_to_tensor(neutral, "float32") + strength * away


def _check(name, value, holds, wanted):
    if not holds:
        raise ValueError(f"`{name}` must be {wanted}. Received: {name}={value}")
    return value


def _choice(name, value, choices):
    return _check(name, value, value in choices, f"in {choices}")


def _size(name, value):
    fits = value is None or (isinstance(value, int) and value > 0)
    return _check(name, value, fits, "a positive integer or None")


def _number(name, value, high=math.inf):
    fits = isinstance(value, int | float) and 0 <= value <= high
    return _check(name, value, fits, f"a number in [0, {high}]")


def _pair(name, value, low=-math.inf, high=math.inf):
    fits = np.shape(value) == (2,) and low <= value[0] <= value[1] <= high
    return tuple(_check(name, value, fits, f"two numbers in order in [{low}, {high}]"))


def _range(name, value, neutral, low, high=math.inf):
    """A pair, or from one number the range about neutral."""
    if np.ndim(value) == 0:
        value = _number(name, value)
        value = (max(neutral - value, low), neutral + value)
    return _pair(name, value, low, high)
