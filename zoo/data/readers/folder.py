"""Reads a folder of image files: one folder per class."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hornbook.errors import InputError
from hornbook.zoo.data.arrays.decode import (
    UnreadableImage,
    image_extensions,
    read_image,
    shrink,
)
from hornbook.zoo.data.arrays.examples import Examples, Found
from hornbook.zoo.data.arrays.on_disk import DiskImages, ImageFile

LAYOUT = (
    "it must hold one folder of images for each class, or such folders in train/ "
    "and test/ (and validation/)"
)
SPLITS = {
    "train": "train",
    "test": "test",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
}
JUNK = {"thumbs.db", "desktop.ini", "__macosx"}  # files of operating systems
WORKERS = 4  # each holds one whole image, so many would need much memory
LISTED = 20
IN_MEMORY_AT_MOST = 2**31  # bytes; more is kept in a file


@dataclass(frozen=True)
class ImageToRead:
    """An image file that is still to be read.

    Attributes:
        path: Path of the file.
        name: Name of the file in messages.
        split: "train", "validation" or "test".
        label: Index of the class.
    """

    path: Path
    name: str
    split: str
    label: int


def read_folder(
    path: str | Path,
    size: int,
    channels: int,
    on_progress: Callable[[int, int], None] | None = None,
    *,
    skip_unreadable: bool = False,
) -> Found:
    """Reads all images below a folder; only the scaled images stay in memory.

    Hidden files are ignored. Anything else in a class folder that is not a readable
    image, such as another folder, is an error.

    Args:
        path: Path of a folder with files `<class>/<image>`, or
            `<split>/<class>/<image>` with the splits train, test and validation (or
            valid, or val).
        size: Side in pixels that images are scaled to.
        channels: 1 for grey, 3 for RGB.
        on_progress: Called with `(done, total)` after each image.
        skip_unreadable: Whether to skip files that cannot be read.

    Returns:
        `Found`, with classes and files sorted by name.

    Raises:
        InputError: If the folder has another layout, or files cannot be read; all of
            them are listed.
    """
    root = Path(path).expanduser()
    if not root.is_dir():
        raise InputError(f"The folder does not exist. Received: folder:{path}")
    try:
        classes, files, bad = _scan(root)
    except OSError as error:
        raise InputError(
            f"The folder cannot be read ({error.strerror}). Received: {error.filename}"
        ) from error
    return read_files(classes, files, bad, size, channels, on_progress, skip_unreadable)


def read_files(
    classes: tuple[str, ...],
    files: list[ImageToRead],
    bad: list[tuple[str, str]],
    size: int,
    channels: int,
    on_progress: Callable[[int, int], None] | None = None,
    skip_unreadable: bool = False,
) -> Found:
    """Reads image files and scales them; if there are many, to a file on disk.

    Args:
        classes: Names of the classes.
        files: The files to read.
        bad: Files that are known to be unusable, as `(name, reason)`.
        size: Side in pixels that images are scaled to.
        channels: 1 for grey, 3 for RGB.
        on_progress: Called with `(done, total)` after each image.
        skip_unreadable: Whether to skip files that cannot be read.

    Returns:
        `Found`.

    Raises:
        InputError: If files cannot be read; all of them are listed.
    """
    images, enlarged, reasons = _read_all(files, size, channels, on_progress)
    bad = bad + [
        (file.name, why) for file, why in zip(files, reasons, strict=True) if why
    ]
    if bad and not skip_unreadable:
        raise InputError(
            f"{_count(bad)} cannot be used (--skip-unreadable skips them):"
            + "".join(f"\n  {each}" for each in _listed(bad))
        )
    names = tuple(file.name for file in files)
    everything = Examples(images, np.array([file.label for file in files]), names)
    splits = {}
    for split in dict.fromkeys(file.split for file in files):
        places = [
            place
            for place, file in enumerate(files)
            if file.split == split and not reasons[place]
        ]
        labels = np.array([files[place].label for place in places], "int64")
        _require_images(np.bincount(labels, minlength=len(classes)), classes, split)
        splits[split] = everything.take(places)
    notices: tuple[str, ...] = ()
    if bad:
        notices = (f"Skipped {_count(bad)}: {'; '.join(_listed(bad))}.",)
    return Found(classes, splits, enlarged, notices)


def _count(bad: list[tuple[str, str]]) -> str:
    return f"{len(bad)} file{'s' if len(bad) > 1 else ''}"


def _listed(bad: list[tuple[str, str]]) -> list[str]:
    told = [f"{name} ({reason})" for name, reason in sorted(bad)[:LISTED]]
    more = len(bad) - len(told)
    return [*told, f"and {more} more"] if more else told


def _require_images(counts: np.ndarray, classes: tuple[str, ...], split: str) -> None:
    if not counts.all():
        missing = classes[int(np.argmin(counts))]
        raise InputError(f"No image of class {missing} in {split} can be read.")


def _scan(root: Path) -> tuple:
    """Finds the classes, the image files and unusable files, without opening any."""
    tops = {top.name: top for top in _visible(root) if top.is_dir()}
    if "train" not in tops or not (
        tops.keys() <= SPLITS.keys() or any(map(Path.is_dir, _visible(tops["train"])))
    ):
        return _scan_split(root, root, "train")
    if others := tops.keys() - SPLITS.keys():
        raise InputError(
            "Beside train, there may only be test and validation, not "
            f"{', '.join(sorted(others))}. Received: folder:{root}"
        )
    found = {}
    for top, folder in tops.items():
        if SPLITS[top] in found:
            raise InputError(
                f"Two folders hold a {SPLITS[top]} split. Received: folder:{root}"
            )
        found[SPLITS[top]] = _scan_split(root, folder, SPLITS[top])
    classes = found["train"][0]
    for split, (others, _, _) in found.items():
        if differ := set(classes) ^ set(others):
            raise InputError(
                f"train and {split} must have the same classes; only one of them has "
                f"{', '.join(sorted(differ))}. Received: folder:{root}"
            )
    files = [file for _, part, _ in found.values() for file in part]
    bad = [each for _, _, part in found.values() for each in part]
    return classes, files, _stray(root, root) + bad


def _scan_split(root: Path, folder: Path, split: str) -> tuple:
    folders = [entry for entry in _visible(folder) if entry.is_dir()]
    if not folders:
        raise InputError(f"{folder} has no class folders: {LAYOUT}.")
    classes = tuple(_shown(each, folder) for each in folders)
    files, bad = [], _stray(folder, root)
    for label, each in enumerate(folders):
        for path in _visible(each):
            name = _shown(path, root)
            if reason := _unusable(path):
                bad.append((name, reason))
            else:
                files.append(ImageToRead(path, name, split, label))
    found = {file.label for file in files}
    if empty := [name for label, name in enumerate(classes) if label not in found]:
        raise InputError(
            f"No images in the class folder{'s' if len(empty) > 1 else ''} "
            f"{', '.join(empty)} of {folder}: {LAYOUT}."
        )
    if len(classes) == 1:
        raise InputError(
            "A classifier needs at least two classes. "
            f"Received: {folder} with only one class, {classes[0]}"
        )
    return classes, files, bad


def _stray(folder: Path, root: Path) -> list[tuple[str, str]]:
    """The images beside the class folders."""
    return [
        (_shown(each, root), "in no class folder")
        for each in _visible(folder)
        if not each.is_dir() and _is_image(each)
    ]


def _visible(folder: Path) -> list[Path]:
    """The sorted entries of a folder, without hidden files and those of systems."""
    return sorted(
        each
        for each in folder.iterdir()
        if not each.name.startswith(".") and each.name.lower() not in JUNK
    )


def _shown(path: Path, root: Path) -> str:
    """A path relative to the root as printable text, whatever bytes it has."""
    relative = path.relative_to(root).as_posix()
    return os.fsencode(relative).decode("utf-8", "replace")


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in image_extensions()


def _unusable(path: Path) -> str | None:
    """Why a file in a class folder cannot be an image, or `None`."""
    if path.is_dir():
        return "a folder in a class folder"
    if not _is_image(path):
        return "not an image file"
    if not path.is_file():
        return "not a file, or a broken link"
    return None


def _read_all(
    files: Sequence[ImageToRead],
    size: int,
    channels: int,
    on_progress: Callable[[int, int], None] | None,
) -> tuple[np.ndarray | DiskImages, int, list[str | None]]:
    """Decodes and scales in threads: images, number enlarged, reasons of failures."""
    shape = (size, size, channels)
    blank, enlarged, reasons = np.zeros(shape, "uint8"), 0, []

    def read(file: ImageToRead) -> tuple[str | None, bool, np.ndarray]:
        try:
            picture = read_image(file.path, channels)
        except UnreadableImage as error:
            return error.reason, False, blank
        return None, min(picture.shape[:2]) < size, shrink(picture, size)

    def read_in_order(keep: Callable[[int, np.ndarray], None]) -> None:
        nonlocal enlarged
        with ThreadPoolExecutor(min(WORKERS, os.cpu_count() or 1)) as pool:
            for place, (reason, grew, small) in enumerate(pool.map(read, files)):
                reasons.append(reason)
                enlarged += grew
                keep(place, small)
                if on_progress is not None:
                    on_progress(place + 1, len(files))

    if len(files) * blank.nbytes > IN_MEMORY_AT_MOST:
        with ImageFile(shape) as file:
            read_in_order(lambda place, small: file.add(small))
        return file.images(), enlarged, reasons
    images = np.zeros((len(files), *shape), "uint8")
    read_in_order(images.__setitem__)
    return images, enlarged, reasons
