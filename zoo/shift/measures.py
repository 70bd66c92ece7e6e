"""Measures of how an image looks, such as its brightness."""

import numpy as np

# Words for a test set with a higher mean, and for one with a lower mean.
WORDS = {
    "brightness": ("brighter", "darker"),
    "contrast": ("with more contrast", "with less contrast"),
    "sharpness": ("sharper", "more blurred"),
    "light area": ("lighter over a larger area", "lighter over a smaller area"),
    "colourfulness": ("more colourful", "less colourful"),
}


def measure(images: np.ndarray) -> dict[str, np.ndarray]:
    """Measures images.

    Args:
        images: uint8 array `(batch, height, width, channels)`.

    Returns:
        Dict from names to arrays `(batch,)`, in grey levels of 0 to 255: `brightness`
        (mean), `contrast` (standard deviation), `sharpness` (mean step between
        neighbours), and in colour `colourfulness` (mean range of the channels); and
        `light area`, the share of pixels above 127.

    Example:

    >>> half = np.zeros((1, 4, 4, 1), "uint8")
    >>> half[:, :2] = 200
    >>> {k: float(v[0]) for k, v in measure(half).items()}  # doctest: +ELLIPSIS
    {'brightness': 100.0, 'contrast': 100.0, 'sharpness': 33.33..., 'light area': 0.5}
    """
    pixels = images.astype("float32")
    grey = pixels.mean(axis=-1)
    steps = [np.abs(np.diff(grey, axis=axis)).mean(axis=(1, 2)) for axis in (1, 2)]
    measures = {
        "brightness": grey.mean(axis=(1, 2)),
        "contrast": grey.std(axis=(1, 2)),
        "sharpness": np.mean(steps, axis=0),
        "light area": (grey > 127).mean(axis=(1, 2)),
    }
    if images.shape[-1] == 3:
        measures["colourfulness"] = np.ptp(pixels, axis=-1).mean(axis=(1, 2))
    return measures
