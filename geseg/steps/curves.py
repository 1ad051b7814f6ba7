"""The learning curve of a run as a picture: loss and validation Dice over the epochs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from geseg.files import atomic_path

FINE = 3
"""Everything is drawn so many times as large and then reduced, which smooths the lines."""
WIDTH, HEIGHT = 620, 400
"""Of a panel, in pixels of the picture."""
LEFT, RIGHT, TOP, BOTTOM = 72, 24, 52, 56
"""Around the axes: for numbers, title and label."""
INK, GREY, LIGHT = "#222222", "#767676", "#e4e4e4"
LOSS, DICE = "#b34700", "#0072b2"
"""Told apart by colour-blind people, too (Okabe & Ito 2008), and dark enough for text on white."""


@dataclass(frozen=True, slots=True)
class Panel:
    """A curve to draw; `best` is the place in `values` that is marked, if any."""

    title: str
    values: Sequence[float]
    colour: str
    best: int | None = None


def draw(curve: Sequence[dict[str, float]], path: Path) -> None:
    """Write a PNG of one panel, or of two if there are validation images; `curve` has a row per epoch.

    Raises:
        OutputError: the file cannot be written.
    """
    panels = [Panel("Loss, mean of the epoch", [row["loss"] for row in curve], LOSS)]
    dice = [row["val_dice"] for row in curve]
    if not any(map(math.isnan, dice)):
        best = dice.index(max(dice))
        panels.append(Panel(f"Validation Dice: best {dice[best]:.4f}, epoch {best + 1}", dice, DICE, best))
    sheet = Image.new("RGB", (FINE * WIDTH * len(panels), FINE * HEIGHT), "white")
    for number, panel in enumerate(panels):
        tile = Image.new("RGB", (FINE * WIDTH, FINE * HEIGHT), "white")
        _Drawing(ImageDraw.Draw(tile), panel).run()
        sheet.paste(tile, (FINE * WIDTH * number, 0))
    with atomic_path(path) as partial:
        sheet.reduce(FINE).save(partial, "PNG", optimize=True)


class _Drawing:
    """Draws one panel."""

    def __init__(self, pen: ImageDraw.ImageDraw, panel: Panel) -> None:
        self.pen, self.panel = pen, panel
        self.ticks = nice_ticks(min(panel.values), max(panel.values))
        self.epochs = len(panel.values)

    def run(self) -> None:
        """Grid and numbers, then the curve on top."""
        for value, name in self.ticks:
            y = self.y(value)
            self.line([(LEFT, y), (WIDTH - RIGHT, y)], LIGHT)
            self.text((LEFT - 8, y), name, "rm")
        for epoch in epoch_ticks(self.epochs):
            self.line([(self.x(epoch), HEIGHT - BOTTOM), (self.x(epoch), HEIGHT - BOTTOM + 5)], GREY)
            self.text((self.x(epoch), HEIGHT - BOTTOM + 10), str(epoch), "mt")
        self.line([(LEFT, TOP), (LEFT, HEIGHT - BOTTOM), (WIDTH - RIGHT, HEIGHT - BOTTOM)], GREY)
        self.text(((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 12), "epoch", "mb")
        self.text((LEFT, 16), self.panel.title, "lt", 17, INK)
        self.curve()

    def curve(self) -> None:
        """The line, with its epochs if they are few, and the best one."""
        values, colour = self.panel.values, self.panel.colour
        points = [(self.x(e), self.y(value)) for e, value in enumerate(values, 1)]
        mark = None if self.panel.best is None else (self.x(self.panel.best + 1), self.y(values[self.panel.best]))
        if mark:
            self.line([(mark[0], TOP), (mark[0], HEIGHT - BOTTOM)], GREY)
        self.line(points, colour, 2.5)
        for x, y in points if self.epochs <= 30 else ():
            self.dot(x, y, 3.5, colour)
        if mark:
            self.dot(*mark, 7, colour)
            self.dot(*mark, 4, "white")

    def x(self, epoch: float) -> float:
        share = (epoch - 1) / (self.epochs - 1) if self.epochs > 1 else 0.5
        return LEFT + 10 + share * (WIDTH - RIGHT - LEFT - 20)

    def y(self, value: float) -> float:
        low, high = self.ticks[0][0], self.ticks[-1][0]
        return HEIGHT - BOTTOM - (value - low) / (high - low) * (HEIGHT - BOTTOM - TOP)

    def line(self, points: Sequence[tuple[float, float]], colour: str, width: float = 1.0) -> None:
        self.pen.line([(FINE * x, FINE * y) for x, y in points], colour, round(FINE * width), joint="curve")

    def dot(self, x: float, y: float, radius: float, colour: str) -> None:
        box = [FINE * (x - radius), FINE * (y - radius), FINE * (x + radius), FINE * (y + radius)]
        self.pen.ellipse(box, colour)

    def text(self, at: tuple[float, float], words: str, anchor: str, size: int = 14, colour: str = GREY) -> None:
        font = ImageFont.load_default(FINE * size)
        self.pen.text((FINE * at[0], FINE * at[1]), words, colour, font, anchor)


def nice_ticks(low: float, high: float) -> list[tuple[float, str]]:
    """Round numbers from at most `low` to at least `high`, some four to eight of them, and how they are written.

    >>> [name for _, name in nice_ticks(0.612, 0.807)]
    ['0.60', '0.65', '0.70', '0.75', '0.80', '0.85']
    """
    least = max(0.02, 1e-6 * max(abs(low), abs(high)))
    if high - low < least:  # a flat line, or a single point, belongs into the middle
        low, high = low - least / 2, high + least / 2
    span = high - low
    power = 10.0 ** math.floor(math.log10(span / 4))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= span / 6)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    return [(number * step, f"{number * step:.{digits}f}") for number in range(first, max(last, first + 1) + 1)]


def epoch_ticks(epochs: int) -> list[int]:
    """Up to some ten of the epochs, the first one among them.

    >>> epoch_ticks(50)
    [1, 5, 10, 15, 20, 25, 30, 35, 40, 45, 50]
    """
    steps = (m * 10**power for power in range(9) for m in (1, 2, 5))
    step = next(step for step in steps if epochs / step <= 12)
    return [1, *range(step if step > 1 else 2, epochs + 1, step)] if epochs > 1 else [1]
