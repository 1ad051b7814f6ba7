"""Figures of the vessels of each photograph, a row each in a CSV file, and the centre lines that they are of.

A row can always be made again from a photograph and its mask. So a run that goes on where another was stopped writes a
file with a row for every photograph that is done, by whichever run. Rows of an earlier file are kept as far as they
name the SHA-256 of the mask that is there: it has in its header what decides it.
"""

import csv
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TypeAlias

import numpy as np
from jaxtyping import Bool
from PIL import Image

from geseg.data import fov, images
from geseg.errors import ConfigError, ImageError, OutputError
from geseg.files import sha256, write_csv
from geseg.metrics import morphometry
from geseg.metrics.morphometry import Morphometry
from geseg.steps.jobs import Job, output_name

Row: TypeAlias = Mapping[str, str]
"""What the file says of a photograph, by `COLUMNS`."""
COLUMNS = (
    "image",
    "fov_diameter_px",
    "fov_area_px",
    "vessel_area_px",
    "vessel_density",
    "length_px",
    "length_per_diameter",
    "mean_width_px",
    "mean_width_diameters",
    "branch_points",
    "branch_points_per_diameter2",
    "end_points",
    "end_points_per_diameter2",
    "tortuosity",
    "fractal_dimension",
    "mask_sha256",
)
"""The header: `px` counts pixels along a line or in an area, `diameter` is that of the field of view. Those without a
unit are shares, ratios and counts. What is undefined, as the width of no vessel, is empty."""


def earlier_rows(path: Path, masks: Path, overwrite: bool) -> dict[str, Row]:
    """The rows of an earlier run whose masks are in the folder as they were, by `Job.name`, before any work starts.

    Raises:
        ConfigError: the file is not called .csv, which might be a photograph.
        OutputError: there is another file, or one of other masks alone, and `overwrite` is false; or none can be there.
    """
    if path.suffix.lower() != ".csv":
        raise ConfigError(f"{path} is not the name of a CSV file; expected one such as vessels.csv")
    rows = _read(path)
    kept = {row["image"]: row for row in rows or () if _is_of(row, masks)}
    if overwrite or rows == [] or kept:
        return kept
    found = "is no table of geseg" if rows is None else f"none of its {len(rows)} rows is of a mask that is here"
    raise OutputError(
        f"{path} exists already and {found}; choose another place with --measure, or replace it with --overwrite"
    )


def _read(path: Path) -> list[Row] | None:
    """The rows of a file of ours, none if there is no file; None if it is something else."""
    try:
        with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
            lines = list(csv.reader(file, strict=True))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise OutputError(f"{path} cannot be read: {error.strerror}; choose another place with --measure") from error
    except csv.Error:
        return None
    if not lines or tuple(lines[0]) != COLUMNS or any(len(line) != len(COLUMNS) for line in lines):
        return None
    return [dict(zip(COLUMNS, line, strict=True)) for line in lines[1:]]


def _is_of(row: Row, masks: Path) -> bool:
    try:
        return sha256(masks / output_name(Path(row["image"]))) == row["mask_sha256"]
    except (OSError, ValueError):  # gone; or edited: an empty name, or one with a zero byte
        return False


def row_of(job: Job, figures: Morphometry) -> Row:
    """The row of a photograph whose mask is written.

    Raises:
        OutputError: the mask is gone.
    """
    f = figures
    values: tuple[str | int | float, ...] = (
        job.name,
        *(f.fov_diameter, f.fov_area, f.vessel_area, f.density),
        *(f.length, f.relative_length, f.width, f.width / f.fov_diameter),
        *(f.branch_points, f.per_area(f.branch_points), f.end_points, f.per_area(f.end_points)),
        *(f.tortuosity, f.fractal_dimension),
        _digest(job.outputs["mask"]),
    )
    return dict(zip(COLUMNS, map(_text, values), strict=True))


def _text(value: str | int | float) -> str:
    """Six digits of what is not whole; they are the same for a turned photograph."""
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.6g}"
    return str(value)


def _digest(mask: Path) -> str:
    try:
        return sha256(mask)
    except OSError as error:
        raise OutputError(f"{mask} cannot be read any more: {error.strerror}; start again") from error


def row_of_done(job: Job) -> Row:
    """The row of a photograph whose mask an earlier run has written; raises as `figures_of_done`."""
    return row_of(job, figures_of_done(job))


def figures_of_done(job: Job) -> Morphometry:
    """The figures of a photograph whose mask is written, from the two files.

    Raises:
        ImageError: one of them cannot be read, or they differ in size.
        OutputError: the mask is gone.
    """
    view = fov.find_fov(images.read_image(job.image))
    mask = images.read_mask(job.outputs["mask"])
    if mask.shape != view.shape:
        raise ImageError(f"{job.outputs['mask']} has another size than {job.image}; remove the mask and start again")
    return morphometry.measure(mask, view).figures


def write_skeleton(path: Path, skeleton: Bool[np.ndarray, "h w"], text: str, fresh: bool = False) -> None:
    """Write centre lines as PNG of 1 bit, white where they are; the rest as for `images.save_png`.

    Raises:
        OutputError: the file cannot be written.
    """
    images.save_png(path, Image.fromarray(skeleton), text, fresh)


def write_rows(path: Path, rows: Iterable[Row]) -> None:
    """Write the file, as `files.write_csv`."""
    write_csv(path, COLUMNS, rows, "--measure")
