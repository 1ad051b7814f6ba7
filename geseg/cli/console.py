"""The terminal: results go to stdout, progress to stderr; a bar on a terminal, now and then a line in a log file."""

import math
import shlex
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import typer

from geseg.files import printable
from geseg.progress import Track, silent

if TYPE_CHECKING:
    from rich.table import Table

    from geseg.steps.trainconfig import Moment

T = TypeVar("T")
LOG_SECONDS = 30.0
WIDE = 1000
"""Columns where stdout is no terminal."""


def choose_track(quiet: bool) -> Track:
    """The progress display that fits: none, a bar on a terminal, or lines in a log."""
    if quiet:
        return silent
    from rich.console import Console

    return draw_bar if Console(stderr=True).is_terminal else log_lines


@contextmanager
def choose_view(quiet: bool) -> Iterator[tuple[Track, "Callable[[Moment], None]"]]:
    """Track and watch of a training: a live view on a terminal, which draws the bar too, lines in a log, or none."""
    track = choose_track(quiet)
    if track is not draw_bar:
        yield track, (lambda _: None) if quiet else log_epoch
        return
    from geseg.cli.liveview import LiveView

    with LiveView() as view:
        yield silent, view.show


def draw_bar(items: Iterable[T], label: str, total: int | None = None) -> Iterator[T]:
    """A short bar on stderr, so that the label fits beside it on 80 columns; it goes when all is done."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    columns = TextColumn("{task.description}"), BarColumn(bar_width=10), TaskProgressColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        yield from progress.track(items, total, description=label)


def log_lines(items: Iterable[T], label: str, total: int | None = None) -> Iterator[T]:
    """A line on stderr every half minute, and one at the end, for work that goes to a log file."""
    start, last, done = time.monotonic(), time.monotonic(), 0
    try:
        for done, item in enumerate(items, 1):
            yield item
            if time.monotonic() - last >= LOG_SECONDS:
                last = time.monotonic()
                typer.echo(f"{label}: {done} of {total or '?'} after {last - start:.0f} s", err=True)
    except GeneratorExit:  # the caller has left its loop: its time is over, or it was stopped
        typer.echo(f"{label}: ended at {done} of {total or '?'} after {time.monotonic() - start:.1f} s", err=True)
        raise
    typer.echo(f"{label}: {done} done in {time.monotonic() - start:.1f} s", err=True)


def log_epoch(now: "Moment") -> None:
    """A line on stderr once an epoch is validated."""
    from geseg.cli.liveview import time_left

    p = now.progress
    if not p.losses:
        dice = "" if math.isnan(p.last_dice) else f"val Dice {p.last_dice:.4f} (best {p.best_dice:.4f}), "
        speed = f"{now.patches_per_second:.0f} patches/s, {time_left(now)}"
        typer.echo(f"epoch {p.epoch}/{now.epochs}: loss {p.curve[-1]['loss']:.4f}, {dice}{speed}", err=True)


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table on stdout, the first column left, the others right."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 1, 0, 0))
    for number, column in enumerate(columns):
        table.add_column(column, justify="right" if number else "left", no_wrap=number > 0, overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))  # a text, as brackets in names are no markup
    show(table)


def show(table: "Table") -> None:
    """A table and an empty line on stdout; where that is no terminal, nothing is folded, and no line ends in spaces."""
    from rich.console import Console

    console = Console(highlight=False)
    if console.is_terminal:
        console.print(table)
    else:
        console.width = WIDE
        with console.capture() as text:
            console.print(table)
        typer.echo("\n".join(line.rstrip() for line in text.get().split("\n")), nl=False)
    typer.echo()


def say(line: str) -> None:
    """A line on stdout, in which names may hold any byte."""
    typer.echo(printable(line))


def print_next(*words: object) -> None:
    """The last line of a command: what to run next, as a shell wants it."""
    say(f"next: {shlex.join(['geseg', *map(str, words)])}")


def print_next_predict(model: Path, turns: int = 1) -> None:
    """The same after a command that leaves a model ready for photographs."""
    more = ["--turns", turns] if turns > 1 else []
    print_next("predict", "IMAGES", "-o", "MASKS", "--model", model, *more)
