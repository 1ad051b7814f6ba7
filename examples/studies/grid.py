"""A grid of trainings, one result file per cell: what was stopped goes on, and what is there is reported."""

import argparse
import dataclasses
import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from geseg.errors import ConfigError
from geseg.files import atomic_path

Record = dict[str, Any]
"""What a cell ended with: "cell", "minutes", and what its study measures."""
Point = tuple[str, int, int, float]
"""A net, an amount, a seed, and a figure."""
Curves = dict[str, dict[int, list[float]]]
"""Per net and amount, a figure of each seed."""
LONG = 60
"""Characters of two values that a message has room for."""
LAST = ("c4", "c8", "d8")
"""Nets that wait until the others are done, in this order; the last two share a place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One training: its net, how many images (or patches) it learns from, its seed, and what limits it."""

    net: str
    amount: int
    seed: int
    fold: int = 0
    budget: str = "steps"

    @property
    def name(self) -> str:
        """Of its files."""
        return f"{self.net}-{self.amount}-{self.budget}-seed{self.seed}-fold{self.fold}"


def in_order(cells: Iterable[Cell], lead: Sequence[str]) -> list[Cell]:
    """The most telling cells first, so that a study may be stopped early.

    The nets of `lead` at the smallest, middle and largest amount with all seeds; then what else there is of all nets
    but `LAST`; then those. In each stage one seed after the other.
    """
    cells = list(cells)
    amounts = sorted({cell.amount for cell in cells} - {0})  # what learns from nothing is scored in no time
    key = {amounts[0], amounts[len(amounts) // 2], amounts[-1]} if amounts else set()

    def stage(cell: Cell) -> int:
        if cell.net in LAST:
            return 2 + (cell.net != LAST[0])
        return 0 if cell.amount == 0 or (cell.net in lead and cell.amount in key) else 1

    return sorted(cells, key=lambda cell: (stage(cell), cell.seed, cell.fold))


def keep_settings(out: Path, settings: dict[str, Any]) -> None:
    """Note what holds for all cells of a folder, or raise ConfigError if it holds cells of other settings."""
    path, settings = out / "settings.json", json.loads(json.dumps(settings))
    if not path.exists():
        write_json(path, settings)
    before = json.loads(path.read_text())
    for name in sorted(before.keys() | settings.keys()):
        was, now = before.get(name), settings.get(name)
        if was != now:
            words = f"{name} {was}, not {now}" if len(f"{was}{now}") < LONG else f"other {name}"
            raise ConfigError(f"{out} holds cells with {words}; go on with the same, or choose another folder with -o")


def run_cells(
    cells: Sequence[Any], out: Path, measure: Callable[[Any], Record], report: Callable[[list[Record]], None]
) -> None:
    """Measure the cells (dataclasses with a `name`) that have no result yet, and report after each on all that have.

    A cell counts as done once its file is there, and that is written last: after whatever stops a study, the same
    command goes on with it.
    """
    missing = [cell for cell in cells if not (out / "cells" / f"{cell.name}.json").exists()]
    for number, cell in enumerate(missing, 1 + len(cells) - len(missing)):
        print(f"cell {number} of {len(cells)}: {cell.name}", flush=True)
        start = time.monotonic()
        measured = measure(cell)
        minutes = round((time.monotonic() - start) / 60, 2)
        record = {"cell": dataclasses.asdict(cell), "minutes": minutes} | measured
        write_json(out / "cells" / f"{cell.name}.json", record)
        report(read_cells(out))
    if not missing:
        report(read_cells(out))


def read_cells(out: Path) -> list[Record]:
    """All results of a folder, also of cells that were asked for by another command."""
    return [json.loads(path.read_text()) for path in sorted((out / "cells").glob("*.json"))]


def gather(points: Iterable[Point], nets: Iterable[str]) -> Curves:
    """Sort figures by net, in the order of `nets`, then amount, then seed."""
    order, curves = list(nets), Curves()
    for net, amount, _, value in sorted(points, key=lambda point: (order.index(point[0]), *point[1:3])):
        curves.setdefault(net, {}).setdefault(amount, []).append(value)
    return curves


def rows(curves: Curves) -> list[dict[str, Any]]:
    """The curves for JSON, a row per net and amount; the deviation is that of a sample, null for a single seed."""
    return [
        {"net": net, "amount": amount, "seeds": len(values), "mean": float(np.mean(values))}
        | {"std": float(np.std(values, ddof=1)) if len(values) > 1 else None, "values": values}
        for net, points in curves.items()
        for amount, values in points.items()
    ]


def table(curves: Curves, corner: str, digits: int = 3) -> str:
    """The curves as Markdown: a line per net, a column per amount; mean ± standard deviation over n seeds (n)."""
    amounts = sorted({amount for points in curves.values() for amount in points})
    lines = [[corner, *(f"{amount:,}" for amount in amounts)], ["---"] * (1 + len(amounts))]
    cells = {(row["net"], row["amount"]): row for row in rows(curves)}
    lines += [[net, *(_cell(cells.get((net, amount)), digits) for amount in amounts)] for net in curves]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(row: dict[str, Any] | None, digits: int) -> str:
    if row is None:
        return ""
    spread = "" if row["std"] is None else f" ± {row['std']:,.{digits}f}"
    return f"{row['mean']:,.{digits}f}{spread} ({row['seeds']})"


def write_json(path: Path, values: Any) -> None:  # noqa: ANN401 - JSON of any depth
    """Write values whole or not at all."""
    write_text(path, json.dumps(values, indent=2))


def write_text(path: Path, text: str) -> None:
    """Write a text whole or not at all."""
    with atomic_path(path) as partial:
        partial.write_text(text + "\n", encoding="utf-8")


def parse(parser: argparse.ArgumentParser, tiny: dict[str, Any]) -> argparse.Namespace:
    """Read the command line of a study; with --tiny the values of `tiny` are the defaults."""
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder for everything; the study goes on there")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: %(default)s)")
    parser.add_argument("--tiny", action="store_true", help="a trial in seconds, on drawn images if no folder is given")
    if parser.parse_known_args()[0].tiny:
        parser.set_defaults(**tiny)
    args = parser.parse_args()
    if not args.data and not args.tiny:
        parser.error("the folder of the data set is missing")
    return args
