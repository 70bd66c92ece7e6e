"""Images in a file, read when they are indexed: an array that takes no memory."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np


class DiskImages:
    """Images that are read from a file when they are indexed.

    The file is opened each time, since the pages of a memory map that were read once
    stay in the memory of the process.

    Args:
        path: A `.npy` file of uint8 `(images, height, width, channels)`.
        places: Indices of the images, in order. Defaults to all.
        owner: An object that must live as long as the file is needed, such as a
            `TemporaryDirectory`.

    Example:

    >>> with ImageFile((4, 4, 1)) as file:
    ...     for grey in range(3):
    ...         file.add(np.full((4, 4, 1), grey, "uint8"))
    >>> images = file.images()
    >>> images.shape, images[[2, 0]].max(axis=(1, 2, 3)).tolist()
    ((3, 4, 4, 1), [2, 0])
    """

    def __init__(
        self, path: str | Path, places: np.ndarray | None = None, owner: Any = None
    ) -> None:
        self.path, self.owner = Path(path), owner
        whole = np.load(self.path, mmap_mode="r")
        self.places = np.arange(len(whole)) if places is None else np.asarray(places)
        self.shape = (len(self.places), *whole.shape[1:])
        self.dtype, self.ndim = whole.dtype, whole.ndim

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, key: Any) -> np.ndarray:
        first, *rest = key if isinstance(key, tuple) else (key,)
        whole = np.load(self.path, mmap_mode="r")
        chosen = np.array(whole[self.places[first]])
        return chosen[(slice(None), *rest)] if rest else chosen

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(self[:], dtype)

    def pick(self, places: np.ndarray) -> "DiskImages":
        """Some of the images, still on disk."""
        return DiskImages(self.path, self.places[places], self.owner)


class ImageFile:
    """Writes images one by one to a file that is deleted when nothing needs it.

    Args:
        shape: Shape of an image, `(height, width, channels)`.
    """

    def __init__(self, shape: tuple[int, int, int]) -> None:
        self.shape, self.count = tuple(shape), 0
        self.raw: Any = None  # the open file
        self.folder = tempfile.TemporaryDirectory(prefix="hornbook-")
        self.path = Path(self.folder.name) / "images.npy"

    def __enter__(self) -> "ImageFile":
        self.raw = open(self.path, "wb")
        self._write_header(2**40)  # room for any number of images
        return self

    def add(self, image: np.ndarray) -> None:
        """Appends a uint8 image."""
        self.raw.write(np.ascontiguousarray(image).tobytes())
        self.count += 1

    def __exit__(self, *error: object) -> None:
        self.raw.seek(0)
        self._write_header(self.count)
        self.raw.close()

    def _write_header(self, count: int) -> None:
        text = str((count, *self.shape))
        header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {text}, }}"
        header = header.ljust(117) + "\n"
        self.raw.write(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little"))
        self.raw.write(header.encode("latin1"))

    def images(self) -> DiskImages:
        """The images that were written."""
        return DiskImages(self.path, owner=self.folder)
