"""Reads any picture file as uint8 pixels, and shrinks pictures to a small square."""

import functools
import os

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from hornbook.errors import InputError

# What Pillow decodes by itself. It knows more, but hands EPS to Ghostscript, and of
# HDF5 and others only tells that they are there.
FORMATS = (
    *("AVIF", "BMP", "DDS", "DIB", "GIF", "ICNS", "ICO", "JPEG", "JPEG2000", "MPO"),
    *("PCX", "PNG", "PPM", "PSD", "QOI", "SGI", "TGA", "TIFF", "WEBP"),
)


class UnreadableImage(InputError):
    """A file that should hold a picture can't be read.

    Args:
        path: Path of the file.
        reason: What is wrong, a few words.
    """

    def __init__(self, path, reason):
        super().__init__(f"The picture {path} can't be read: {reason}")
        self.reason = reason


@functools.cache
def _formats():
    """Those of the formats that this Pillow was built with."""
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


@functools.cache
def image_extensions():
    """The file name extensions of pictures that can be read, in lower case.

    Example:

    >>> {".jpg", ".png"} <= image_extensions(), ".txt" in image_extensions()
    (True, False)
    """
    Image.init()
    known = Image.registered_extensions().items()
    return frozenset(extension for extension, name in known if name in FORMATS)


def read_image(path, channels):
    """Reads a picture file as it is meant to be seen.

    It is turned upright as its EXIF orientation says. Transparent parts are laid over
    white. 16-bit greys are scaled to 8 bits, not cut off. Of an animation the first
    frame is read. Colour profiles are not applied.

    Args:
        path: Path of the file; its content tells the format, not its name.
        channels: 1 for grey, 3 for RGB.

    Returns:
        uint8 array `(height, width, channels)`.

    Raises:
        UnreadableImage: an `InputError`, if the file is missing, empty, damaged, no
            picture, too big to be harmless (179 million pixels), or of
            floating-point greys, whose range no one knows.
    """
    try:
        if os.path.getsize(path) == 0:
            raise UnreadableImage(path, "the file is empty")
        with Image.open(path, formats=_formats()) as image:
            ImageOps.exif_transpose(image, in_place=True)
            return _pixels(image, channels)
    except UnreadableImage:
        raise
    except UnidentifiedImageError as error:
        raise UnreadableImage(path, "it is no picture, or damaged") from error
    except Exception as error:  # a damaged file makes each decoder fail in its own way
        system = getattr(error, "strerror", None)
        reason = system or str(error).partition("\n")[0] or type(error).__name__
        raise UnreadableImage(path, reason) from error


def to_channels(picture, channels):
    """Makes a picture in memory grey or RGB, as `read_image` does.

    Args:
        picture: uint8 array `(height, width)` or `(height, width, 1, 3 or 4)`; the
            fourth channel is opacity.
        channels: 1 for grey, 3 for RGB.

    Returns:
        uint8 array `(height, width, channels)`.

    Example:

    >>> clear_black = np.zeros((1, 1, 4), "uint8")
    >>> to_channels(clear_black, 1).tolist()
    [[[255]]]
    """
    if picture.ndim == 3 and picture.shape[-1] == channels:
        return picture
    if picture.ndim == 3 and picture.shape[-1] == 1:
        picture = picture[..., 0]
    return _pixels(Image.fromarray(picture), channels)


def _pixels(image, channels):
    """The pixels of a PIL image of any mode."""
    if image.mode == "F":
        raise ValueError("floating-point greys are not supported")
    if image.mode.startswith("I"):
        grey = _eight_bits(image)[..., None]
        return np.repeat(grey, channels, axis=-1)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    mode = "L" if channels == 1 else "RGB"
    pixels = np.asarray(image if image.mode == mode else image.convert(mode))
    return pixels.reshape(*pixels.shape[:2], channels)


def _eight_bits(image):
    """A 16-bit grey image as uint8; Pillow itself would cut off all above 255."""
    deep = np.asarray(image).astype("int32")
    if deep.min() < 0 or deep.max() > 65535:
        raise ValueError("its greys are not within 16 bits")
    transparent = image.info.get("transparency")
    grey = ((deep + 128) // 257).astype("uint8")
    return grey if transparent is None else np.where(deep == transparent, 255, grey)


def shrink(picture, size):
    """Cuts the square from the middle of a picture and scales it to a small one.

    Within one grey level this is what `keras.layers.Resizing` does with `antialias`
    and `crop_to_aspect_ratio`, which a finished run's model has inside.

    Args:
        picture: uint8 array `(height, width, channels)`; a small one is enlarged.
        size: Side of the result in pixels.

    Returns:
        uint8 array `(size, size, channels)`.

    Example:

    >>> shrink(np.full((40, 60, 3), 7, "uint8"), 8).shape
    (8, 8, 3)
    """
    height, width, channels = picture.shape
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    square = picture[top : top + side, left : left + side]
    if side == size:
        return square
    image = Image.fromarray(square[..., 0] if channels == 1 else square)
    small = image.resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(small).reshape(size, size, channels)
