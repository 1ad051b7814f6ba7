"""The files of a run folder, which training writes and the other steps read."""

import csv
import json
from pathlib import Path
from typing import Any

from geseg.errors import OutputError
from geseg.files import atomic_path, refuse_to_overwrite, remove_partials

WEIGHTS, ONNX = "model.safetensors", "model.onnx"
"""The best weights, and what `geseg export` makes of them."""
STATE, CONFIG, CURVE, PICTURE = "state.safetensors", "config.json", "metrics.csv", "curves.png"
"""Where to resume, what was asked for, what happened in each epoch, and the same to look at."""
BOARD = "tensorboard"
"""Folder of the same for TensorBoard, where that is installed."""
FILES = (STATE, WEIGHTS, ONNX, CONFIG, CURVE, PICTURE)
"""In the order in which they go: without a state nobody can resume a run that lacks its weights."""


def check_free(out: Path, resume: bool, overwrite: bool) -> None:
    """Refuse a run folder that holds a run or a part of one already, or none to resume; nothing is touched yet.

    Raises:
        OutputError: as said.
    """
    if not (resume or overwrite) and (out / STATE).is_file():
        raise OutputError(
            f"{out} holds a run already; go on with the same options and --resume, replace it with --overwrite, or "
            "choose another place with -o"
        )
    if not resume:
        for name in (CONFIG, *FILES):
            refuse_to_overwrite(out / name, overwrite)
    elif not (out / STATE).is_file():
        raise OutputError(f"{out} holds no run to resume; leave out --resume to start one there")


def clear(out: Path) -> None:
    """Empty the run folder of the run that was there.

    Raises:
        OutputError: the folder cannot be written.
    """
    try:
        for name in FILES:
            (out / name).unlink(missing_ok=True)
        for events in (out / BOARD).glob("events.out.tfevents.*"):
            events.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"cannot write the run folder {out}: {error.strerror}; choose another with -o") from error


def remove_leftovers(out: Path) -> None:
    """Remove what a run that was killed has left half-written."""
    remove_partials(out, FILES)


def write_config(out: Path, values: dict[str, Any]) -> None:
    """What was asked for, as JSON."""
    with atomic_path(out / CONFIG) as partial:
        partial.write_text(json.dumps(values, indent=2) + "\n")


def write_curve(out: Path, curve: list[dict[str, float]]) -> None:
    """A row per epoch, as CSV."""
    with atomic_path(out / CURVE) as partial, partial.open("w", newline="") as file:
        writer = csv.DictWriter(file, curve[0])
        writer.writeheader()
        writer.writerows({key: f"{value:.6g}" for key, value in row.items()} for row in curve)
