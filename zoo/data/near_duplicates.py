"""Near duplicates: test images that are nearly the same as a training image.

Two perceptual hashes choose which images to compare; their pixels decide.
"""

import numpy as np
from PIL import Image

BITS_APART = 4  # of 64, for each hash
LEVELS_APART = 8.0  # root mean square over the scaled images, of 255
SIDE = 16


def average_hash(picture: np.ndarray) -> np.uint64:
    """Which fields of an 8×8 grid are brighter than their mean.

    Args:
        picture: uint8 array `(height, width, 1 or 3)`.

    Returns:
        A uint64 with a bit for each field, the first field in the highest bit.

    Example:

    >>> half = np.repeat([0, 255], 4).astype("uint8") * np.ones((8, 1, 1), "uint8")
    >>> hex(average_hash(half.reshape(8, 8, 1)))
    '0xf0f0f0f0f0f0f0f'
    """
    fields = _shrink(picture, 8, 8)
    return _pack(fields > fields.mean())


def difference_hash(picture: np.ndarray) -> np.uint64:
    """Which fields of an 8×8 grid are darker than their right neighbour.

    Args:
        picture: uint8 array `(height, width, 1 or 3)`.

    Returns:
        A uint64 with a bit for each field, the first field in the highest bit.

    Example:

    >>> rising = np.arange(9, dtype="uint8") * np.ones((8, 1), "uint8")
    >>> hex(difference_hash(rising[..., None]))
    '0xffffffffffffffff'
    """
    fields = _shrink(picture, 9, 8)
    return _pack(fields[:, :-1] < fields[:, 1:])


def find_near_duplicates(train: np.ndarray, test: np.ndarray) -> list[tuple[int, int]]:
    """Finds images that differ only in scale, in compression or slightly.

    Args:
        train: uint8 array `(images, height, width, channels)`, or `DiskImages`.
        test: Images of the test set, in the same form.

    Returns:
        List of `(index in train, index in test)`: for each test image its nearest
        training image, if that is near enough.

    Example:

    >>> rng = np.random.default_rng(0)
    >>> pictures = rng.integers(0, 256, (5, 32, 32, 3), dtype="uint8")
    >>> find_near_duplicates(pictures, pictures[[3, 1]] // 2 + 64)
    []
    >>> find_near_duplicates(pictures, pictures[[3, 1]] // 4 * 4)
    [(3, 0), (1, 1)]
    """
    hashes, small = _describe(train)
    test_hashes, test_small = _describe(test)
    pairs = []
    for place, own in enumerate(test_hashes):
        apart = np.bitwise_count(hashes ^ own)
        near = np.flatnonzero((apart <= BITS_APART).all(axis=1))
        if len(near):
            gaps = small[near].astype("float32") - test_small[place]
            levels = np.sqrt((gaps**2).mean(axis=(1, 2, 3)))
            if levels.min() <= LEVELS_APART:
                pairs.append((int(near[levels.argmin()]), place))
    return pairs


def _describe(pictures: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both hashes of each image, and the images scaled to 16×16."""
    hashes = np.empty((len(pictures), 2), "uint64")
    small = np.empty((len(pictures), SIDE, SIDE, pictures.shape[-1]), "uint8")
    for place in range(len(pictures)):
        picture = pictures[place]
        hashes[place] = average_hash(picture), difference_hash(picture)
        image = Image.fromarray(picture[..., 0] if small.shape[-1] == 1 else picture)
        image = image.resize((SIDE, SIDE), Image.Resampling.BOX)
        small[place] = np.asarray(image).reshape(small.shape[1:])
    return hashes, small


def _shrink(picture: np.ndarray, width: int, height: int) -> np.ndarray:
    channels = picture.shape[-1]
    image = Image.fromarray(picture[..., 0] if channels == 1 else picture)
    image = image.convert("L").resize((width, height), Image.Resampling.BOX)
    return np.asarray(image, "float32")


def _pack(bits: np.ndarray) -> np.uint64:
    return np.packbits(bits.ravel()).view(">u8")[0].astype("uint64")
