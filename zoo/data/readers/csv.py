"""Reads a CSV file that lists image files and their labels."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hornbook.errors import InputError
from hornbook.zoo.data.arrays.examples import Found
from hornbook.zoo.data.readers.folder import SPLITS, ImageToRead, read_files

COLUMNS = {
    "path": ("path", "file", "filename", "file_name", "image", "image_path"),
    "label": ("label", "class", "target", "category"),
    "split": ("split", "subset", "set"),
}


def read_csv(
    path: str | Path,
    size: int,
    channels: int,
    on_progress: Callable[[int, int], None] | None = None,
    *,
    skip_unreadable: bool = False,
) -> Found:
    """Reads the images that a CSV file lists.

    Args:
        path: A UTF-8 file whose first line names the columns: `path` (relative to the
            CSV file, or absolute), `label`, and optionally `split` (train, validation
            or test). Other common names, such as `file` and `class`, work too, and
            further columns are ignored.
        size: Side in pixels that images are scaled to.
        channels: 1 for grey, 3 for RGB.
        on_progress: Called with `(done, total)` after each image.
        skip_unreadable: Whether to skip files that cannot be read.

    Returns:
        `Found`, with classes sorted by name.

    Raises:
        InputError: If the file has another layout, or images cannot be read; all of
            them are listed.
    """
    file = Path(path).expanduser()
    rows = _rows(file, path)
    labels = [row["label"] for row in rows]
    classes = tuple(sorted(set(labels)))
    if len(classes) < 2:
        raise InputError(
            "A classifier needs at least two classes. "
            f"Received: csv:{path} with only one class, {classes[0]}"
        )
    places = {name: place for place, name in enumerate(classes)}
    files, bad = [], []
    for row in rows:
        picture = file.parent / Path(row["path"]).expanduser()
        if picture.is_file():
            label = places[row["label"]]
            files.append(ImageToRead(picture, row["path"], row["split"], label))
        else:
            bad.append((row["path"], "no such file"))
    if not any(each.split == "train" for each in files):
        raise InputError(f"The CSV lists no training images. Received: csv:{path}")
    return read_files(classes, files, bad, size, channels, on_progress, skip_unreadable)


def _rows(file: Path, given: str | Path) -> list[dict[str, str]]:
    """A dict for each line: path, label, split."""
    if not file.is_file():
        raise InputError(f"The file does not exist. Received: csv:{given}")
    try:
        with open(file, newline="", encoding="utf-8-sig") as text:
            reader = csv.reader(text)
            header = [name.strip().lower() for name in next(reader, [])]
            lines = [(reader.line_num, line) for line in reader if any(line)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            f"The file is not a CSV file in UTF-8 ({error}). Received: csv:{given}"
        ) from error
    columns = {
        column: next((header.index(name) for name in names if name in header), None)
        for column, names in COLUMNS.items()
    }
    if columns["path"] is None or columns["label"] is None:
        raise InputError(
            f"The first line must name the columns path and label. Received: "
            f"csv:{given} with {', '.join(header) or 'nothing'}"
        )
    if not lines:
        raise InputError(f"The CSV lists no images. Received: csv:{given}")
    rows = []
    for number, line in lines:
        if len(line) != len(header):
            raise InputError(
                f"Line {number} has {len(line)} values for {len(header)} columns. "
                f"Received: csv:{given}"
            )
        row: dict[str, Any] = {
            column: None if place is None else line[place].strip()
            for column, place in columns.items()
        }
        row["split"] = SPLITS.get((row["split"] or "train").lower())
        if row["split"] is None:
            raise InputError(
                f"Line {number} has a split that is not train, validation or test. "
                f"Received: csv:{given} with {line[columns['split'] or 0]}"
            )
        if not row["path"] or not row["label"]:
            raise InputError(
                f"Line {number} has no path or no label. Received: csv:{given}"
            )
        rows.append(row)
    return rows
