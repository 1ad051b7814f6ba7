"""Rows of the table of goals, and the machine that they were measured on, as JSON and as Markdown."""

import dataclasses
import importlib.metadata
import json
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geseg.cores import count_cores
from tests.benchmarks.timing import Spread

PACKAGES = ("geseg", "torch", "onnxruntime-gpu", "onnxruntime", "e2cnn", "numpy", "scipy", "pillow", "h5py")
HEAD = "| What | Against | Measured | Goal | Reached |\n| --- | --- | --- | --- | --- |"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One goal and what was measured for it."""

    what: str
    against: str = ""
    """What it is the ratio to; empty for figures with a unit."""
    figure: Spread
    goal: float
    """What the median may be at most."""
    unit: str = ""
    detail: str = ""
    """Both sides of a ratio, or whatever else a reader wants to know."""

    @property
    def reached(self) -> bool:
        return self.figure.median <= self.goal

    def to_markdown(self) -> str:
        """The row of the table: the median, and the quartiles where there are several measurements."""
        f, unit = self.figure, f" {self.unit}" if self.unit else ""
        spread = f" ({_short(f.low)} to {_short(f.high)})" if f.count > 1 else ""
        measured = f"{_short(f.median)}{unit}{spread}" + (f"; {self.detail}" if self.detail else "")
        reached = "yes" if self.reached else "**no**"
        return f"| {self.what} | {self.against} | {measured} | {_short(self.goal)}{unit} | {reached} |"


def _short(value: float) -> str:
    """Three digits that mean something.

    >>> [_short(value) for value in (0.7512, 0.05, 12.34, 1024.0)]
    ['0.751', '0.050', '12.3', '1024']
    """
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}" if abs(value) < 100 else f"{value:.0f}"


def both(unit: str, sides: dict[str, Sequence[float]], factor: float = 1.0) -> str:
    """The medians of the sides of a ratio.

    >>> both("ms", {"geseg": [0.5], "e2cnn": [0.75]}, 1e3)
    'geseg 500 ms, e2cnn 750 ms'
    """
    return ", ".join(f"{name} {_short(factor * Spread.of(v).median)} {unit}" for name, v in sides.items())


def machine() -> dict[str, Any]:
    """What decides the figures besides the code: processor, cores, system and versions; nothing that tells who or when.

    `busy` is the load per core before the first measurement: 0 on a quiet machine.
    """
    installed = {dist.metadata["Name"].lower(): dist.version for dist in importlib.metadata.distributions()}
    return {
        "processor": _processor(),
        "cores": count_cores(),
        "busy": round(os.getloadavg()[0] / count_cores(), 2) if hasattr(os, "getloadavg") else None,
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "threads": os.environ.get("OMP_NUM_THREADS", "as many as cores"),
        "versions": {name: installed[name] for name in PACKAGES if name in installed},
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or "unknown"


def to_json(machine: dict[str, Any], rows: Sequence[Row]) -> str:
    values = [dataclasses.asdict(row) | {"reached": row.reached} for row in rows]
    return json.dumps({"machine": machine, "rows": values}, indent=2, ensure_ascii=False) + "\n"


def from_json(text: str) -> tuple[dict[str, Any], list[Row]]:
    """What `to_json` wrote."""
    values = json.loads(text)
    rows = [{k: v for k, v in row.items() if k != "reached"} for row in values["rows"]]
    return values["machine"], [Row(**row | {"figure": Spread(**row["figure"])}) for row in rows]


def to_markdown(machine: dict[str, Any], rows: Sequence[Row]) -> str:
    """The machine in a sentence, and the table."""
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    about = (
        f"{machine['processor']}, {machine['cores']} cores, threads: {machine['threads']}, "
        f"load per core before {machine['busy']}; {machine['system']}; {versions}."
    )
    return "\n".join([about, "", HEAD, *(row.to_markdown() for row in rows)]) + "\n"


def filled_in(page: str, name: str, table: str) -> str:
    """A page with the table of a file between the marks `<!-- NAME -->` and `<!-- end -->`."""
    before, start, rest = page.partition(f"<!-- {name} -->\n")
    _, end, after = rest.partition("<!-- end -->")
    assert start, f"the page has no mark for the figures of {name}"
    assert end, "the page has no mark for their end"
    return f"{before}{start}{table}{end}{after}"


if __name__ == "__main__":  # python -m tests.benchmarks.results RESULTS.json [README.md]
    figures = to_markdown(*from_json(Path(sys.argv[1]).read_text()))
    for page in map(Path, sys.argv[2:]):
        page.write_text(filled_in(page.read_text(), Path(sys.argv[1]).name, figures))
    print(figures, end="")  # noqa: T201 - for whoever started it
