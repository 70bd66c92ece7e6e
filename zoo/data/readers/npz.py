"""Reads an `.npz` file of NumPy arrays."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from hornbook.errors import InputError
from hornbook.zoo.data.arrays.examples import Examples, Found, Gatherer

ARRAYS = {
    "train": ("x_train", "y_train"),
    "validation": ("x_validation", "y_validation"),
    "test": ("x_test", "y_test"),
}


def read_npz(
    path: str | Path,
    size: int,
    channels: int,
    on_progress: Callable[[int, int], None] | None = None,
) -> Found:
    """Reads images and labels from a file that `numpy.savez` wrote.

    Args:
        path: File with the arrays `x_train` and `y_train` (or `x` and `y`), and
            optionally `x_test` and `y_test`, `x_validation` and `y_validation`, and
            `classes`, the names of the classes. Images are `(n, height, width)` or `(n,
            height, width, 1, 3 or 4)`, uint8, or floating-point numbers from 0 to 1.
            Labels are integers or the names of the classes.
        size: Side in pixels that images are scaled to.
        channels: 1 for grey, 3 for RGB.
        on_progress: Called with `(done, total)` after each image.

    Returns:
        `Found`.

    Raises:
        InputError: If the file or one of its arrays has another layout.
    """
    arrays = _load(path)
    splits = [split for split, (x, _) in ARRAYS.items() if x in arrays]
    for split in splits:
        _check(arrays, *ARRAYS[split])
    classes, places = _classes(arrays)
    total = sum(len(arrays[ARRAYS[split][0]]) for split in splits)
    gatherer = Gatherer(size, channels, total, on_progress)
    found, scaled = {}, []
    for split in splits:
        x, y = ARRAYS[split]
        labels = _labels(arrays, y, places)
        pictures, count = arrays[x], len(arrays[x])
        if pictures.dtype != "uint8":
            scaled.append(x)
            pictures = map(_bytes, pictures)
        images = gatherer.gather(pictures, count)
        names = tuple(f"{split}[{place}]" for place in range(count))
        found[split] = Examples(images, labels, names)
    notices: tuple[str, ...] = ()
    if scaled:
        notices = (
            f"{', '.join(scaled)}: numbers from 0 to 1 were scaled to 0 to 255.",
        )
    return Found(classes, found, gatherer.enlarged, notices)


def _load(path: str | Path) -> dict[str, np.ndarray]:
    """The arrays that are used; `x` and `y` as `x_train` and `y_train`."""
    file = Path(path).expanduser()
    if not file.is_file():
        raise InputError(f"The file does not exist. Received: npz:{path}")
    known = {name: name for pair in ARRAYS.values() for name in (*pair, "classes")}
    try:
        with np.load(file, allow_pickle=False) as archive:
            there = archive.files
            if "x_train" not in there:
                known |= {"x": "x_train", "y": "y_train"}
            arrays = {known[name]: archive[name] for name in there if name in known}
    except Exception as error:  # a damaged archive can fail in many ways
        raise InputError(
            "The file is damaged, was not written by numpy.savez, or holds Python "
            f"objects. Received: npz:{path}"
        ) from error
    if "x_train" not in arrays:
        raise InputError(
            "The file must hold x_train and y_train, or x and y. "
            f"Received: npz:{path} "
            f"with {', '.join(there) or 'nothing'}"
        )
    return arrays


def _check(arrays: dict[str, np.ndarray], x_name: str, y_name: str) -> None:
    x, y = arrays[x_name], arrays.get(y_name)
    if y is None:
        raise InputError(
            f"The labels of {x_name} are missing. Received: no array {y_name}"
        )
    shape = f"Received: {x_name} of {x.dtype} {x.shape}"
    if x.ndim not in (3, 4) or (x.ndim == 4 and x.shape[-1] not in (1, 3, 4)):
        raise InputError(
            "Images must be (n, height, width) or (n, height, width, channels) with "
            f"1, 3 or 4 channels. {shape}"
        )
    if not x.size:
        raise InputError(f"The array of images is empty. {shape}")
    if x.dtype.kind == "f":
        if not (x.min() >= 0 and x.max() <= 1):  # false for NaN too
            raise InputError(f"Floating-point images must be between 0 and 1. {shape}")
    elif x.dtype != "uint8":
        raise InputError(f"Images must be uint8, or floats from 0 to 1. {shape}")
    if y.shape not in ((len(x),), (len(x), 1)) or y.dtype.kind not in "iubU":
        raise InputError(
            f"Labels must be one integer or name for each image. Received: {y_name} "
            f"of {y.dtype} {y.shape} for {len(x)} images"
        )


def _bytes(picture: np.ndarray) -> np.ndarray:
    return np.rint(picture.astype("float32") * 255).astype("uint8")


def _classes(arrays: dict[str, np.ndarray]) -> tuple[tuple[str, ...], dict]:
    """The names of the classes, and the index of each value of a label."""
    named, y = arrays.get("classes"), arrays["y_train"]
    if named is None:
        values = np.unique(y).tolist()
        return tuple(map(str, values)), {v: place for place, v in enumerate(values)}
    if (
        named.ndim != 1
        or named.dtype.kind != "U"
        or len(set(named.tolist())) < len(named)
    ):
        raise InputError(
            f"classes must be a list of unique names. Received: {named.dtype} "
            f"{named.shape}"
        )
    values = named.tolist() if y.dtype.kind == "U" else range(len(named))
    return tuple(named.tolist()), {value: place for place, value in enumerate(values)}


def _labels(arrays: dict[str, np.ndarray], name: str, places: dict) -> np.ndarray:
    labels = arrays[name].ravel().tolist()
    if unknown := set(labels) - places.keys():
        raise InputError(
            f"{name} has a label that is not one of the classes. Received: "
            f"{min(unknown, key=str)}"
        )
    return np.array([places[label] for label in labels], "int64")
