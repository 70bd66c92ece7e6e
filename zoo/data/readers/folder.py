"""Reads a folder of picture files: one folder a class."""

import os
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
from hornbook.zoo.data.arrays.on_disk import PictureFile

LAYOUT = (
    "it must hold one folder of pictures for each class, or such folders in train/ "
    "and test/ (and validation/)"
)
SPLITS = {
    "train": "train",
    "test": "test",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
}
JUNK = {"thumbs.db", "desktop.ini", "__macosx"}  # what systems leave behind
WORKERS = 4  # each holds one whole picture, so that many would need much memory
LISTED = 20
IN_MEMORY_AT_MOST = 2**31  # bytes; more is kept in a file


@dataclass(frozen=True)
class PictureToRead:
    """A file that a listing names.

    Attributes:
        path: Path of the file.
        name: As the user is told it.
        split: "train", "validation" or "test".
        label: A place among the classes.
    """

    path: Path
    name: str
    split: str
    label: int


def read_folder(path, size, channels, on_progress=None, *, skip_unreadable=False):
    """Reads every picture below a folder; only the shrunken ones stay in memory.

    Hidden files are passed over. Anything else in a class folder that is no readable
    picture is bad, a folder too.

    Args:
        path: `path/<class>/<picture>`, or `path/<split>/<class>/<picture>` with the
            splits train, test, validation (or valid, or val).
        size: Side in pixels to shrink to.
        channels: 1 for grey, 3 for RGB.
        on_progress: Called with `(done, total)` after each picture.
        skip_unreadable: Go on without what is bad.

    Returns:
        `Found`, with classes and files in the order of their names.

    Raises:
        InputError: for another layout, or for all that is bad, listed.
    """
    root = Path(path).expanduser()
    if not root.is_dir():
        raise InputError(f"There is no such folder. Received: folder:{path}")
    try:
        classes, files, bad = _scan(root)
    except OSError as error:
        raise InputError(
            f"The folder can't be read ({error.strerror}): {error.filename}"
        ) from error
    return read_files(classes, files, bad, size, channels, on_progress, skip_unreadable)


def read_files(
    classes, files, bad, size, channels, on_progress=None, skip_unreadable=False
):
    """Reads the pictures of a listing, small; many go to a file on disk.

    Args:
        classes: The classes' names.
        files: List of `PictureToRead`.
        bad: List of `(name, reason)`, of what the listing found bad already.
        size: Side in pixels to shrink to.
        channels: 1 for grey, 3 for RGB.
        on_progress: Called with `(done, total)` after each picture.
        skip_unreadable: Go on without what is bad.

    Returns:
        `Found`.

    Raises:
        InputError: for all that is bad, listed.
    """
    images, enlarged, reasons = _read_all(files, size, channels, on_progress)
    bad = bad + [
        (file.name, why) for file, why in zip(files, reasons, strict=True) if why
    ]
    if bad and not skip_unreadable:
        raise InputError(
            f"{_count(bad)} can't be used (--skip-unreadable goes on without):"
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
        _require_pictures(np.bincount(labels, minlength=len(classes)), classes, split)
        splits[split] = everything.take(places)
    notices = ()
    if bad:
        notices = (f"Left out {_count(bad)}: {'; '.join(_listed(bad))}.",)
    return Found(classes, splits, enlarged, notices)


def _count(bad):
    return f"{len(bad)} file{'s' if len(bad) > 1 else ''}"


def _listed(bad):
    told = [f"{name} ({reason})" for name, reason in sorted(bad)[:LISTED]]
    more = len(bad) - len(told)
    return [*told, f"and {more} more"] if more else told


def _require_pictures(counts, classes, split):
    if not counts.all():
        missing = classes[int(np.argmin(counts))]
        raise InputError(f"No picture of class {missing} in {split} can be read.")


def _scan(root):
    """Finds the classes, the picture files, and what is bad, without opening any."""
    tops = {top.name: top for top in _visible(root) if top.is_dir()}
    if "train" not in tops or not (
        tops.keys() <= SPLITS.keys() or any(map(Path.is_dir, _visible(tops["train"])))
    ):
        return _scan_split(root, root, "train")
    if others := tops.keys() - SPLITS.keys():
        raise InputError(
            f"Beside train there may be test and validation only, not "
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


def _scan_split(root, folder, split):
    folders = [entry for entry in _visible(folder) if entry.is_dir()]
    if not folders:
        raise InputError(f"{folder} has no class folders: {LAYOUT}.")
    classes = tuple(_shown(each, folder) for each in folders)
    files, bad = [], _stray(folder, root)
    for label, each in enumerate(folders):
        for path in _visible(each):
            name = _shown(path, root)
            if reason := _what_is_wrong(path):
                bad.append((name, reason))
            else:
                files.append(PictureToRead(path, name, split, label))
    found = {file.label for file in files}
    if empty := [name for label, name in enumerate(classes) if label not in found]:
        raise InputError(
            f"No pictures in the class folder{'s' if len(empty) > 1 else ''} "
            f"{', '.join(empty)} of {folder}: {LAYOUT}."
        )
    if len(classes) == 1:
        raise InputError(
            f"There is only one class, {classes[0]}, in {folder}: a classifier needs "
            f"two or more."
        )
    return classes, files, bad


def _stray(folder, root):
    """The pictures that lie beside the class folders."""
    return [
        (_shown(each, root), "in no class folder")
        for each in _visible(folder)
        if not each.is_dir() and _is_picture(each)
    ]


def _visible(folder):
    """What is in a folder, sorted, without hidden files and systems' leftovers."""
    return sorted(
        each
        for each in folder.iterdir()
        if not each.name.startswith(".") and each.name.lower() not in JUNK
    )


def _shown(path, root):
    """A path below the root as text that can be printed, whatever bytes are in it."""
    relative = path.relative_to(root).as_posix()
    return os.fsencode(relative).decode("utf-8", "replace")


def _is_picture(path):
    return path.suffix.lower() in image_extensions()


def _what_is_wrong(path):
    if path.is_dir():
        return "a folder in a class folder"
    if not _is_picture(path):
        return "not a picture file"
    if not path.is_file():
        return "not a file, or a broken link"
    return None


def _read_all(files, size, channels, on_progress):
    """Decodes and shrinks in threads: the pictures, how many grew, why some failed."""
    shape = (size, size, channels)
    blank, enlarged, reasons = np.zeros(shape, "uint8"), 0, []

    def read(file):
        try:
            picture = read_image(file.path, channels)
        except UnreadableImage as error:
            return error.reason, False, blank
        return None, min(picture.shape[:2]) < size, shrink(picture, size)

    def read_in_order(keep):
        nonlocal enlarged
        with ThreadPoolExecutor(min(WORKERS, os.cpu_count() or 1)) as pool:
            for place, (reason, grew, small) in enumerate(pool.map(read, files)):
                reasons.append(reason)
                enlarged += grew
                keep(place, small)
                if on_progress is not None:
                    on_progress(place + 1, len(files))

    if len(files) * blank.nbytes > IN_MEMORY_AT_MOST:
        with PictureFile(shape) as file:
            read_in_order(lambda place, small: file.add(small))
        return file.pictures(), enlarged, reasons
    images = np.zeros((len(files), *shape), "uint8")
    read_in_order(images.__setitem__)
    return images, enlarged, reasons
