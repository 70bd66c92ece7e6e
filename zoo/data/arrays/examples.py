"""What the readers of data sets hand on: small pictures in memory, with labels."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hornbook.zoo.data.arrays.decode import shrink, to_channels


@dataclass(frozen=True, eq=False)
class Examples:
    """Labelled pictures, one split of a data set.

    Attributes:
        images: uint8 array `(examples, size, size, channels)`, or `DiskPictures`.
        labels: int64 array `(examples,)`.
        names: What each is found by: its file in the folder, or "train[7]".
    """

    images: np.ndarray
    labels: np.ndarray
    names: tuple[str, ...]

    def __len__(self):
        return len(self.labels)

    def take(self, places):
        """The examples at some places, in that order."""
        names = tuple(self.names[place] for place in places)
        pick = getattr(self.images, "pick", self.images.__getitem__)
        return Examples(pick(places), self.labels[places], names)


@dataclass(frozen=True, eq=False)
class Found:
    """A data set as its source has it, before anything is drawn.

    Attributes:
        classes: The classes' names; a label is a place among them.
        splits: `Examples` by split: "train", maybe "validation" and "test".
        enlarged: How many pictures were smaller than asked for.
        notices: Sentences for the user.
    """

    classes: tuple[str, ...]
    splits: dict[str, Examples]
    enlarged: int = 0
    notices: tuple[str, ...] = ()


@dataclass
class Gatherer:
    """Gathers pictures of any sizes, one by one, as small squares.

    Args:
        size: Side of a square in pixels.
        channels: 1 for grey, 3 for RGB.
        total: How many pictures there are in all splits.
        on_progress: Called with `(done, total)` after each.

    Example:

    >>> gatherer = Gatherer(size=10, channels=3, total=5)
    >>> gatherer.gather(np.zeros((5, 9, 8), "uint8"), 5).shape, gatherer.enlarged
    ((5, 10, 10, 3), 5)
    """

    size: int
    channels: int
    total: int
    on_progress: Callable | None = None
    done: int = 0
    enlarged: int = 0

    def gather(self, pictures, count):
        """Shrinks the next pictures.

        Args:
            pictures: Iterable of uint8 arrays `(height, width[, channels])`.
            count: How many there are.

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
