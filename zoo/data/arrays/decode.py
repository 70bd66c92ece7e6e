"""Reads any image file as uint8 pixels, and scales images to a square."""

import functools
import os
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from hornbook.errors import InputError

# What Pillow decodes itself. It runs Ghostscript for EPS, and only recognises HDF5 and
# some others without decoding them.
FORMATS = (
    *("AVIF", "BMP", "DDS", "DIB", "GIF", "ICNS", "ICO", "JPEG", "JPEG2000", "MPO"),
    *("PCX", "PNG", "PPM", "PSD", "QOI", "SGI", "TGA", "TIFF", "WEBP"),
)


class UnreadableImage(InputError):
    """Raised if an image file cannot be read.

    Args:
        path: Path of the file.
        reason: What is wrong, in a few words.
    """

    def __init__(self, path: str | Path, reason: str) -> None:
        super().__init__(f"The image {path} cannot be read: {reason}")
        self.reason = reason


@functools.cache
def _formats() -> list[str]:
    """The formats that the installed Pillow was built with."""
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


@functools.cache
def image_extensions() -> frozenset[str]:
    """The file name extensions of images that can be read, in lower case.

    Example:

    >>> {".jpg", ".png"} <= image_extensions(), ".txt" in image_extensions()
    (True, False)
    """
    Image.init()
    known = Image.registered_extensions().items()
    return frozenset(extension for extension, name in known if name in FORMATS)


def read_image(path: str | Path, channels: int) -> np.ndarray:
    """Reads an image file as it is meant to be displayed.

    The image is rotated by its EXIF orientation. Transparent parts become white. 16-bit
    greys are scaled to 8 bits, not clipped. Of an animation, the first frame is read.
    Colour profiles are not applied.

    Args:
        path: Path of the file, whose format is told by its content, not by its name.
        channels: 1 for grey, 3 for RGB.

    Returns:
        uint8 array `(height, width, channels)`.

    Raises:
        UnreadableImage: An `InputError`, if the file is missing, empty, damaged, not an
            image, larger than 179 million pixels, or has floating-point greys, whose
            range is unknown.
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
        raise UnreadableImage(path, "it is not an image, or is damaged") from error
    except Exception as error:  # each decoder fails in its own way
        system = getattr(error, "strerror", None)
        reason = system or str(error).partition("\n")[0] or type(error).__name__
        raise UnreadableImage(path, reason) from error


def to_channels(picture: np.ndarray, channels: int) -> np.ndarray:
    """Converts an image in memory to grey or RGB, as `read_image` does.

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


def _pixels(image: Image.Image, channels: int) -> np.ndarray:
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


def _eight_bits(image: Image.Image) -> np.ndarray:
    """A 16-bit grey image as uint8; Pillow itself would clip at 255."""
    deep = np.asarray(image).astype("int32")
    if deep.min() < 0 or deep.max() > 65535:
        raise ValueError("its greys are not within 16 bits")
    transparent = image.info.get("transparency")
    grey = ((deep + 128) // 257).astype("uint8")
    return grey if transparent is None else np.where(deep == transparent, 255, grey)


def shrink(picture: np.ndarray, size: int) -> np.ndarray:
    """Crops the square in the middle of an image and scales it.

    Within one grey level this equals `keras.layers.Resizing` with `antialias` and
    `crop_to_aspect_ratio`, which the model of a finished run contains.

    Args:
        picture: uint8 array `(height, width, channels)`; a small image is enlarged.
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
