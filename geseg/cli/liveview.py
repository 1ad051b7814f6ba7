"""The view of a training on a terminal: how far it is and how it does, in four lines on stderr."""

import math
from collections.abc import Sequence
from types import TracebackType
from typing import TYPE_CHECKING

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from geseg.steps.trainconfig import Moment

BLOCKS = "▁▂▃▄▅▆▇█"
LONGEST = 24
"""Epochs that a curve shows; of more, every so many."""
RECENT = 50
"""Steps of which the mean loss is shown."""


class LiveView:
    """Within its block, shows what it is given last; it goes when all is done."""

    def __init__(self, console: Console | None = None) -> None:
        self._moment: Moment | None = None
        self._live = Live(
            console=console or Console(stderr=True),
            get_renderable=self._draw,
            transient=True,
            refresh_per_second=4,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def __enter__(self) -> "LiveView":
        self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._live.stop()

    def show(self, moment: "Moment") -> None:
        """Take note of it; it is drawn a few times per second."""
        self._moment = moment

    def _draw(self) -> RenderableType:
        return Text("training begins") if self._moment is None else draw(self._moment)


def draw(now: "Moment") -> RenderableType:
    """The lines of a moment."""
    p, losses = now.progress, now.progress.losses  # which the training goes on to change
    done, epoch = (len(losses), p.epoch + 1) if losses else (now.steps, p.epoch)
    doing = "validates" if losses and done == now.steps else f"{done / now.steps:4.0%}"
    bar = Table.grid(padding=(0, 1))
    bar.add_row(f"epoch {epoch}/{now.epochs}", ProgressBar(now.steps, done, width=30), doing, time_left(now))
    recent = losses[-RECENT:] or [row["loss"] for row in p.curve[-1:]]
    loss = f"loss {math.fsum(recent) / max(1, len(recent)):.4f}"
    curve = f"  {sparkline([row['loss'] for row in p.curve])}"
    lines: list[RenderableType] = [Text(now.description, overflow="ellipsis", no_wrap=True), bar]
    lines.append(Text.assemble(loss, (curve, "yellow"), f"  {now.patches_per_second:.0f} patches/s"))
    if p.curve and not math.isnan(p.last_dice):
        words = f"val Dice {p.last_dice:.4f}"
        curve = f"  {sparkline([row['val_dice'] for row in p.curve])}"
        lines.append(Text.assemble(words, (curve, "cyan"), f"  best {p.best_dice:.4f}, epoch {p.best_epoch}"))
    return Group(*lines)


def time_left(now: "Moment") -> str:
    """In words."""
    seconds = round(60 * now.minutes_left)
    hours, minutes = divmod(seconds // 60, 60)
    if hours:
        return f"{hours} h {minutes:02} min left"
    return f"{minutes} min left" if seconds >= 90 else f"{seconds} s left"


def sparkline(values: Sequence[float]) -> str:
    """A curve of at most `LONGEST` blocks, the lowest value the lowest block.

    >>> sparkline([0.5, 0.7, 0.9, 0.8])
    '▁▄█▆'
    """
    step = -(-len(values) // LONGEST) or 1
    shown = [values[i] for i in range(len(values) - 1, -1, -step)][::-1]
    if not shown:
        return ""
    low, span = min(shown), max(shown) - min(shown) or 1
    return "".join(BLOCKS[round((value - low) / span * (len(BLOCKS) - 1))] for value in shown)
