"""`geseg info`: what a file is, what decided it, and which files it comes from."""

import json as json_
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from geseg.cli.console import show
from geseg.files import printable

if TYPE_CHECKING:
    from geseg.steps.info import Info

MOST_SHOWN = 40
"""Entries of a list that are shown; longer ones are counted, and whole in the JSON."""
DIGEST = 64
"""Characters of a SHA-256."""


def info(
    file: Annotated[
        Path,
        typer.Argument(help="Patch file, model, ONNX file, run folder, or mask; shipped: the weights inside geseg."),
    ],
    json: Annotated[bool, typer.Option("--json", help="Print all of it as JSON.")] = False,
) -> None:
    """Show what a file is, what decided it, and the SHA-256 of the files that it comes from.

    Example: geseg info masks/eye.png
    """
    from geseg.steps.info import InfoConfig, run

    found = run(InfoConfig(file=file))
    if json:
        typer.echo(json_.dumps(found.as_json(), indent=2))
        return
    for part in found.parts or (found,):
        _print(part)


def _print(part: "Info") -> None:
    from rich.table import Table
    from rich.text import Text

    typer.echo(printable(f"{part.file}: {part.kind}"))
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")  # a hash that is cut is none
    rows = (
        {"sha256": part.sha256}
        | ({"native engine": part.native} if part.native else {})
        | dict(_rows(part.header))
        | dict(_rows(part.parents, "parent "))
    )
    for name, value in rows.items():
        table.add_row(*(Text(printable(cell)) for cell in (name, value)))
    show(table)


def _rows(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    """A row per field; those inside of others have the names of both. Many of a sort are counted."""
    for name, value in values.items():
        title = f"{prefix}{name}"
        entries = list(value.values()) if isinstance(value, dict) else value
        if not isinstance(entries, (list, tuple)):
            yield title, f"{value:.6g}" if isinstance(value, float) else str(value)
        elif entries and all(isinstance(entry, str) and len(entry) == DIGEST for entry in entries):
            people = ".people." in title  # one for each photograph, and some for several
            yield title, f"{len(set(entries)):,} people" if people else f"{len(entries):,} files"
        elif isinstance(value, dict) and len(entries) <= MOST_SHOWN:
            yield from _rows(value, f"{title}.")
        elif entries and all(isinstance(entry, dict) for entry in entries):
            yield title, _count(entries)
        else:
            yield title, ", ".join(map(str, entries)) if len(entries) <= MOST_SHOWN else f"{len(entries):,} entries"


def _count(records: Sequence[dict[str, Any]]) -> str:
    """How many records there are, of each data set and split."""
    counts = Counter(" ".join(str(r[key]) for key in ("dataset", "split") if key in r) for r in records)
    return f"{len(records):,}: " + ", ".join(f"{count:,} {words}" for words, count in counts.items())
