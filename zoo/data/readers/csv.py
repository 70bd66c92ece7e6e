"""Reads a CSV file of picture files and their labels."""

import csv
from pathlib import Path

from hornbook.errors import InputError
from hornbook.zoo.data.readers.folder import SPLITS, PictureToRead, read_files

COLUMNS = {
    "path": ("path", "file", "filename", "file_name", "image", "image_path"),
    "label": ("label", "class", "target", "category"),
    "split": ("split", "subset", "set"),
}


def read_csv(path, size, channels, on_progress=None, *, skip_unreadable=False):
    """Reads the pictures that a CSV file names.

    Args:
        path: A UTF-8 file whose first line names the columns: `path` (relative to the
            CSV file, or absolute) and `label`, maybe `split` (train, validation or
            test). Columns may go by other common names, such as `file` and `class`,
            and stand among others.
        size: Side in pixels to shrink to.
        channels: 1 for grey, 3 for RGB.
        on_progress: Called with `(done, total)` after each picture.
        skip_unreadable: Go on without what is bad.

    Returns:
        `Found`, with classes in the order of their names.

    Raises:
        InputError: if the file is not like that, or for all pictures that are bad.
    """
    file = Path(path).expanduser()
    rows = _rows(file, path)
    labels = [row["label"] for row in rows]
    classes = tuple(sorted(set(labels)))
    if len(classes) < 2:
        raise InputError(
            f"There is only one class, {classes[0]}: a classifier needs two or more. "
            f"Received: csv:{path}"
        )
    places = {name: place for place, name in enumerate(classes)}
    files, bad = [], []
    for row in rows:
        picture = file.parent / Path(row["path"]).expanduser()
        if picture.is_file():
            label = places[row["label"]]
            files.append(PictureToRead(picture, row["path"], row["split"], label))
        else:
            bad.append((row["path"], "no such file"))
    if not any(each.split == "train" for each in files):
        raise InputError(f"No picture to train on is there. Received: csv:{path}")
    return read_files(classes, files, bad, size, channels, on_progress, skip_unreadable)


def _rows(file, given):
    """One dict a line: path, label, split."""
    if not file.is_file():
        raise InputError(f"There is no such file. Received: csv:{given}")
    try:
        with open(file, newline="", encoding="utf-8-sig") as text:
            reader = csv.reader(text)
            header = [name.strip().lower() for name in next(reader, [])]
            lines = [(reader.line_num, line) for line in reader if any(line)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            f"The file is no CSV file in UTF-8 ({error}). Received: csv:{given}"
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
        raise InputError(f"The file names no pictures. Received: csv:{given}")
    rows = []
    for number, line in lines:
        if len(line) != len(header):
            raise InputError(
                f"Line {number} has {len(line)} values for {len(header)} columns. "
                f"Received: csv:{given}"
            )
        row = {
            column: None if place is None else line[place].strip()
            for column, place in columns.items()
        }
        row["split"] = SPLITS.get((row["split"] or "train").lower())
        if row["split"] is None:
            raise InputError(
                f"Line {number} has a split that is not train, validation or test. "
                f"Received: csv:{given} with {line[columns['split']]}"
            )
        if not row["path"] or not row["label"]:
            raise InputError(
                f"Line {number} lacks its path or its label. Received: csv:{given}"
            )
        rows.append(row)
    return rows
