"""Pictures of the test that are all but in the training set too.

Two perceptual hashes say which pictures to compare, and the pixels decide.
"""

import numpy as np
from PIL import Image

BITS_APART = 4  # of 64, for each hash
LEVELS_APART = 8.0  # root mean square over the small pictures, of 255
SIDE = 16


def average_hash(picture):
    """Which of 8 by 8 fields are brighter than their mean.

    Args:
        picture: uint8 array `(height, width, 1 or 3)`.

    Returns:
        A uint64 of 64 bits, the first field in the highest.

    Example:

    >>> half = np.repeat([0, 255], 4).astype("uint8") * np.ones((8, 1, 1), "uint8")
    >>> hex(average_hash(half.reshape(8, 8, 1)))
    '0xf0f0f0f0f0f0f0f'
    """
    fields = _shrink(picture, 8, 8)
    return _pack(fields > fields.mean())


def difference_hash(picture):
    """Which of 8 by 8 fields are darker than the next on the right.

    Args:
        picture: uint8 array `(height, width, 1 or 3)`.

    Returns:
        A uint64 of 64 bits, the first field in the highest.

    Example:

    >>> rising = np.arange(9, dtype="uint8") * np.ones((8, 1), "uint8")
    >>> hex(difference_hash(rising[..., None]))
    '0xffffffffffffffff'
    """
    fields = _shrink(picture, 9, 8)
    return _pack(fields[:, :-1] < fields[:, 1:])


def find_near_duplicates(train, test):
    """Pairs of pictures that are the same but for scale, compression or a little.

    Args:
        train: uint8 array `(pictures, height, width, channels)`, or `DiskPictures`.
        test: The same.

    Returns:
        List of `(place in train, place in test)`: for each picture of the test the
        nearest one, if there is one that near.

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


def _describe(pictures):
    """Both hashes of each picture, and the picture very small."""
    hashes = np.empty((len(pictures), 2), "uint64")
    small = np.empty((len(pictures), SIDE, SIDE, pictures.shape[-1]), "uint8")
    for place in range(len(pictures)):
        picture = pictures[place]
        hashes[place] = average_hash(picture), difference_hash(picture)
        image = Image.fromarray(picture[..., 0] if small.shape[-1] == 1 else picture)
        image = image.resize((SIDE, SIDE), Image.Resampling.BOX)
        small[place] = np.asarray(image).reshape(small.shape[1:])
    return hashes, small


def _shrink(picture, width, height):
    channels = picture.shape[-1]
    image = Image.fromarray(picture[..., 0] if channels == 1 else picture)
    image = image.convert("L").resize((width, height), Image.Resampling.BOX)
    return np.asarray(image, "float32")


def _pack(bits):
    return np.packbits(bits.ravel()).view(">u8")[0].astype("uint64")
