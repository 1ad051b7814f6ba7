"""samples.csv: the list of a folder's images, for data that is named and placed as in no layout that geseg knows.

Columns: image, label; and where wanted fov, second (a second observer's label), person, split (train, val or test;
empty for train). Paths are relative to the folder and stay inside it. UTF-8, with commas.
"""

import csv
import os
from dataclasses import dataclass
from pathlib import Path
from typing import cast, get_args

from geseg.data.images import split_suffix
from geseg.data.samples import Sample, Source, Split
from geseg.errors import LayoutError

NAME = "samples.csv"
REQUIRED = ("image", "label")
COLUMNS = (*REQUIRED, "fov", "second", "person", "split")


def is_there(root: Path) -> bool:
    """Whether a folder has such a list."""
    return (root / NAME).is_file()


def read(root: Path) -> Source:
    """Read the list of the folder `root`, which is called after the folder.

    Raises:
        LayoutError: the list is damaged, names a file that does not exist, or names an image twice.
    """
    samples = []
    rows = read_rows(root / NAME)
    seen: dict[str, Row] = {}
    for row in rows:
        sample = read_sample(root, row)
        other = seen.setdefault(sample.id, row)
        if other is not row:
            raise row.error(
                f"the image {row.get('image')!r} is that of line {other.line}, {other.get('image')!r}, or differs in "
                "its suffix only: list each image once and rename those that share a name"
            )
        samples.append(sample)
    return Source(
        dataset=Path(os.path.realpath(root)).name,
        root=root,
        layout=NAME,
        samples=tuple(samples),
        unknown_persons=sum(not row.get("person") for row in rows),
    )


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the list, by column."""

    path: Path
    line: int
    cells: dict[str, str]

    def get(self, column: str) -> str:
        """What the row has in a column; "" if the column is missing."""
        return self.cells.get(column, "")

    def error(self, message: str) -> LayoutError:
        """An error that says where it is."""
        return LayoutError(f"{self.path} line {self.line}: {message}")


def read_rows(path: Path) -> list[Row]:
    """The rows below the header; those without any text do not count."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, strict=True)
            lines = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
    except (OSError, UnicodeError, csv.Error) as error:
        raise LayoutError(f"{path} cannot be read as UTF-8 text with commas: {error}; save it as such") from error
    lines = [(number, cells) for number, cells in lines if any(cells)]
    if len(lines) < 2:
        raise LayoutError(f"{path} lists no image; expected a line of columns ({','.join(COLUMNS)}) and one per image")
    (first, columns), *rest = lines
    while columns and not columns[-1]:  # spreadsheets may have more columns than were filled
        columns.pop()
    check_columns(Row(path, first, {}), columns)
    rows = []
    for number, cells in rest:
        rows.append(Row(path, number, dict(zip(columns, cells, strict=False))))  # spreadsheets may leave out the last
        if any(cells[len(columns) :]):
            raise rows[-1].error(f"it has {len(cells)} cells for {len(columns)} columns: quote text that has commas")
    return rows


def check_columns(row: Row, columns: list[str]) -> None:
    """Raise LayoutError if the header lacks a column, or has one twice or one that is unknown."""
    expected = f"expected {' and '.join(REQUIRED)}, and perhaps {', '.join(COLUMNS[len(REQUIRED) :])}"
    if len(columns) == 1 and (mark := next((mark for mark in ";\t" if mark in columns[0]), None)):
        raise row.error(f"its columns are parted by {mark!r}; expected commas: save it as CSV with commas")
    for column in columns:
        if column not in COLUMNS:
            raise row.error(f"the column {column!r} is unknown; {expected}")
        if columns.count(column) > 1:
            raise row.error(f"the column {column!r} is there twice; {expected}")
    for column in REQUIRED:
        if column not in columns:
            raise row.error(f"the column {column!r} is missing; {expected}")


def read_sample(root: Path, row: Row) -> Sample:
    """What a row says of an image, if all its files are there."""
    split = row.get("split") or "train"
    if split not in get_args(Split):
        raise row.error(f"the split {split!r} is unknown; expected {', '.join(get_args(Split))}, or nothing for train")
    image = find_file(root, row, "image")
    if image is None:
        raise row.error("the image is missing; expected its path")
    label = find_file(root, row, "label")
    if label is None and split != "test":
        raise row.error(f"the {split} image {row.get('image')!r} has no label; only test images may go without")
    path = image.relative_to(root).as_posix()
    return Sample(
        dataset=Path(os.path.realpath(root)).name,
        id=split_suffix(path)[0],
        person=row.get("person") or path,  # with its suffix, so that it is nobody's name
        split=cast(Split, split),
        image=image,
        label=label,
        fov=find_file(root, row, "fov"),
        second=find_file(root, row, "second"),
    )


def find_file(root: Path, row: Row, column: str) -> Path | None:
    """The file that a row names in a column; None if it names none."""
    cell = row.get(column)
    if not cell:
        return None
    folder = Path(os.path.normpath(root.absolute()))
    place = Path(os.path.normpath(folder / cell))
    if not place.is_relative_to(folder):
        raise row.error(f"the {column} {cell!r} is outside of {root}; expected a path inside: move or copy the file")
    path = root / place.relative_to(folder)
    try:
        there = path.is_file()
    except OSError:  # a name that no file can have
        there = False
    if not there:
        raise row.error(f"the {column} {cell!r} is no file in {root}; expected a path relative to this folder")
    return path
