"""Draws a few labelled examples of each class."""

import numpy as np


def draw_few(labels: np.ndarray, labels_per_class: int | None, seed: int) -> np.ndarray:
    """Chooses the same number of examples of each class at random.

    Args:
        labels: Integer array `(examples,)`.
        labels_per_class: Number of examples of each class, or `None` for all.
        seed: Random seed.

    Returns:
        Integer array: the indices of the chosen examples, class by class.

    Raises:
        ValueError: If a class has fewer examples than requested.

    Example:

    >>> draw_few(np.array([0, 1, 1, 0, 1]), 2, seed=0).shape
    (4,)
    """
    if labels_per_class is None:
        return np.arange(len(labels))
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(len(labels))
    chosen = []
    for label in np.unique(labels):
        places = shuffled[labels[shuffled] == label][:labels_per_class]
        if len(places) < labels_per_class:
            raise ValueError(
                f"Class {label} has {len(places)} examples to draw from. "
                f"Received: labels_per_class={labels_per_class}"
            )
        chosen.append(places)
    return np.concatenate(chosen)
