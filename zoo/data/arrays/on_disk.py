"""Pictures in a file, read as they are asked for: an array that takes no memory."""

import tempfile
from pathlib import Path

import numpy as np


class DiskPictures:
    """Pictures that are read from a file when they are indexed.

    Unlike a memmap, whose pages stay in the process once touched, it opens the file
    anew each time.

    Args:
        path: A `.npy` file of uint8 `(pictures, height, width, channels)`.
        places: Which of them, in which order; None for all.
        owner: What has to live as long as the file is needed, such as a
            `TemporaryDirectory`.

    Example:

    >>> with PictureFile((4, 4, 1)) as file:
    ...     for grey in range(3):
    ...         file.add(np.full((4, 4, 1), grey, "uint8"))
    >>> pictures = file.pictures()
    >>> pictures.shape, pictures[[2, 0]].max(axis=(1, 2, 3)).tolist()
    ((3, 4, 4, 1), [2, 0])
    """

    def __init__(self, path, places=None, owner=None):
        self.path, self.owner = Path(path), owner
        whole = np.load(self.path, mmap_mode="r")
        self.places = np.arange(len(whole)) if places is None else np.asarray(places)
        self.shape = (len(self.places), *whole.shape[1:])
        self.dtype, self.ndim = whole.dtype, whole.ndim

    def __len__(self):
        return len(self.places)

    def __getitem__(self, key):
        first, *rest = key if isinstance(key, tuple) else (key,)
        whole = np.load(self.path, mmap_mode="r")
        chosen = np.array(whole[self.places[first]])
        return chosen[(slice(None), *rest)] if rest else chosen

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self[:], dtype)

    def pick(self, places):
        """Some of the pictures, still on disk."""
        return DiskPictures(self.path, self.places[places], self.owner)


class PictureFile:
    """Writes pictures one after another to a file that goes when it is not needed.

    Args:
        shape: Of a picture, `(height, width, channels)`.
    """

    def __init__(self, shape):
        self.shape, self.count = tuple(shape), 0
        self.folder = tempfile.TemporaryDirectory(prefix="hornbook-")
        self.path = Path(self.folder.name) / "pictures.npy"

    def __enter__(self):
        self.raw = open(self.path, "wb")
        self._write_header(2**40)  # a place for any number of them
        return self

    def add(self, picture):
        """Appends a uint8 picture."""
        self.raw.write(np.ascontiguousarray(picture).tobytes())
        self.count += 1

    def __exit__(self, *error):
        self.raw.seek(0)
        self._write_header(self.count)
        self.raw.close()

    def _write_header(self, count):
        text = str((count, *self.shape))
        header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {text}, }}"
        header = header.ljust(117) + "\n"
        self.raw.write(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little"))
        self.raw.write(header.encode("latin1"))

    def pictures(self):
        """What was written, as `DiskPictures`."""
        return DiskPictures(self.path, owner=self.folder)
