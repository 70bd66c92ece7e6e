"""What the readers of data sets return: scaled images with their labels."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from hornbook.zoo.data.arrays.decode import shrink, to_channels


@dataclass(frozen=True, eq=False)
class Examples:
    """Labelled images: one split of a data set.

    Attributes:
        images: uint8 array `(examples, size, size, channels)`, or `DiskImages`.
        labels: int64 array `(examples,)`.
        names: Name of each example: its file in the folder, or "train[7]".
    """

    images: np.ndarray
    labels: np.ndarray
    names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, places: Sequence[int] | np.ndarray) -> "Examples":
        """The examples at some indices, in that order."""
        names = tuple(self.names[place] for place in places)
        pick = getattr(self.images, "pick", self.images.__getitem__)
        return Examples(pick(places), self.labels[places], names)


@dataclass(frozen=True, eq=False)
class Found:
    """A data set as its source has it, before any split is drawn.

    Attributes:
        classes: Names of the classes; a label is an index into them.
        splits: Dict from "train", and optionally "validation" and "test", to
            `Examples`.
        enlarged: Number of images that were smaller than requested.
        notices: Sentences for the user.
    """

    classes: tuple[str, ...]
    splits: dict[str, Examples]
    enlarged: int = 0
    notices: tuple[str, ...] = ()


@dataclass
class Gatherer:
    """Collects images of any size as squares of one size.

    Args:
        size: Side of a square in pixels.
        channels: 1 for grey, 3 for RGB.
        total: Number of images in all splits together.
        on_progress: Called with `(done, total)` after each image.

    Example:

    >>> gatherer = Gatherer(size=10, channels=3, total=5)
    >>> gatherer.gather(np.zeros((5, 9, 8), "uint8"), 5).shape, gatherer.enlarged
    ((5, 10, 10, 3), 5)
    """

    size: int
    channels: int
    total: int
    on_progress: Callable[[int, int], None] | None = None
    done: int = 0
    enlarged: int = 0

    def gather(self, pictures: Iterable[np.ndarray], count: int) -> np.ndarray:
        """Scales the next images.

        Args:
            pictures: Iterable of uint8 arrays `(height, width[, channels])`.
            count: Number of images.

        Returns:
            uint8 array `(count, size, size, channels)`.
        """
        images = np.empty((count, self.size, self.size, self.channels), "uint8")
        for place, picture in enumerate(pictures):
            self.enlarged += min(picture.shape[:2]) < self.size
            images[place] = shrink(to_channels(picture, self.channels), self.size)
            self.done += 1
            if self.on_progress is not None:
                self.on_progress(self.done, self.total)
        return images
