"""Drawing charts as SVG: a plane with two axes, lines and marks; colours and fonts are left to the style sheet."""

import html
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from geseg.files import printable

Point = tuple[float, float]
SERIES = 7
"""Colours of lines in the style sheet, classes s0 to s6."""


def text(value: object) -> str:
    """Any text as it may stand in a page, be it in an attribute: names of files hold whatever somebody liked.

    >>> text('<b>"eye"')
    '&lt;b&gt;&quot;eye&quot;'
    """
    return html.escape(printable(value))


def element(name: str, inside: str = "", **attributes: object) -> str:
    """An element with escaped attributes; `_` in their names is `-`, and `class_` is `class`.

    >>> element("circle", cx=1.25, class_="dot")
    '<circle cx="1.2" class="dot"></circle>'
    """
    pairs = "".join(f' {key.rstrip("_").replace("_", "-")}="{_value(value)}"' for key, value in attributes.items())
    return f"<{name}{pairs}>{inside}</{name}>"


def _value(value: object) -> str:
    return f"{value:.1f}".removesuffix(".0") if isinstance(value, float) else text(value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """One axis: from `low` to `high`, with a label, and ticks where there is something to read."""

    low: float
    high: float
    label: str = ""
    ticks: tuple[tuple[float, str], ...] = ()
    logarithmic: bool = False

    def share(self, value: float) -> float:
        """Where on the axis a value lies, in [0, 1]; what is beyond an end is put there."""
        low, high, value = self.low, self.high, min(max(value, self.low), self.high)
        if self.logarithmic:
            low, high, value = math.log(low), math.log(high), math.log(value)
        return (value - low) / (high - low)


UNIT_TICKS = tuple((tick / 10, f"{tick / 10:g}") for tick in range(0, 11, 2))


def unit(label: str) -> Scale:
    """An axis of shares."""
    return Scale(low=0, high=1, label=label, ticks=UNIT_TICKS)


def around(values: Iterable[float], label: str, ceiling: float = 1.0, least: float = 0.01) -> Scale:
    """An axis that the values, of up to 100, fill between round numbers, at least `least` long; nan does not count."""
    known = [value for value in values if not math.isnan(value)] or [0.0, ceiling]
    room = max(max(known) - min(known), least)
    step = next(s for s in (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20) if room / s <= 5)
    low = step * math.floor(round(min(known) / step, 6))
    high = min(ceiling, step * math.ceil(round(max(max(known), low + least) / step, 6)))
    low = min(low, step * math.floor(round((high - least) / step, 6)))
    decimals = max(0, -math.floor(math.log10(step)))
    ticks = tuple((low + i * step, f"{low + i * step:.{decimals}f}") for i in range(round((high - low) / step) + 1))
    return Scale(low=low, high=high, label=label, ticks=ticks)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plane:
    """An area to draw in, in units of the SVG, which are pixels at its natural size."""

    x: Scale
    y: Scale
    width: int = 340
    height: int = 300
    left: int = 48
    right: int = 12
    top: int = 10
    bottom: int = 42
    rows: bool = False
    """Whether ticks of y are names of rows, which are links, and lines of the grid go upwards."""
    title: str = field(default="")
    """What the chart shows, for those who do not see it."""

    def px(self, value: float) -> float:
        return self.left + self.x.share(value) * (self.width - self.left - self.right)

    def py(self, value: float) -> float:
        return self.height - self.bottom - self.y.share(value) * (self.height - self.bottom - self.top)

    def svg(self, *marks: str) -> str:
        """The whole chart: axes below, marks above."""
        drawn = element("title", text(self.title)) + self._axes() + "".join(marks)
        box = f"0 0 {self.width} {self.height}"
        role = "group" if self.rows else "img"  # an image hides the links of its rows from those who hear it
        return element("svg", drawn, viewBox=box, width=self.width, height=self.height, role=role, class_="chart")

    def _axes(self) -> str:
        left, right, top, bottom = self.left, self.width - self.right, self.top, self.height - self.bottom
        parts = []
        for value, name in self.x.ticks:
            x = self.px(value)
            parts.append(element("line", x1=x, x2=x, y1=top, y2=bottom, class_="grid"))
            parts.append(element("text", text(name), x=x, y=bottom + 16, class_="tick middle"))
        for value, name in self.y.ticks:
            y = self.py(value)
            if not self.rows:
                parts.append(element("line", x1=left, x2=right, y1=y, y2=y, class_="grid"))
            parts.append(element("text", text(name), x=left - 8, y=y + 4, class_="tick end"))
        middle_x, middle_y = (left + right) / 2, (top + bottom) / 2
        turned = f"rotate(-90 13 {middle_y:.1f})"
        parts.append(element("text", text(self.x.label), x=middle_x, y=self.height - 6, class_="axis middle"))
        parts.append(element("text", text(self.y.label), x=13, y=middle_y, transform=turned, class_="axis middle"))
        parts.append(element("line", x1=left, x2=right, y1=bottom, y2=bottom, class_="edge"))
        return "".join(parts)

    def line(self, points: Iterable[Point], class_: str) -> str:
        """A line through points; those that fall on the same tenth of a pixel are one, nan breaks it."""
        path, before, pen = [], "", "M"
        for x, y in points:
            if math.isnan(x) or math.isnan(y):
                pen = "M"
                continue
            place = f"{self.px(x):.1f} {self.py(y):.1f}"
            if place != before or pen == "M":
                path.append(pen + place)
            before, pen = place, "L"
        return element("path", d="".join(path), class_=f"line {class_}")

    def mark(self, at: Point, shape: str, class_: str, about: str) -> str:
        """A mark that says what it is when it is pointed at; nothing where it is undefined."""
        if any(math.isnan(value) for value in at):
            return ""
        return shape_at(self.px(at[0]), self.py(at[1]), shape, class_, about)


SHAPES = {
    "circle": "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0",
    "dot": "M-3 0a3 3 0 1 0 6 0a3 3 0 1 0 -6 0",
    "square": "M-3.6 -3.6h7.2v7.2h-7.2z",
    "diamond": "M0 -5L5 0L0 5L-5 0z",
    "swatch": "M-9 -5h18v10h-18z",
}


def shape_at(x: float, y: float, shape: str, class_: str, about: str = "") -> str:
    """A shape about a point of the SVG."""
    title = element("title", text(about)) if about else ""
    place = f"translate({x:.1f} {y:.1f})"
    return element("path", title, d=SHAPES[shape], transform=place, class_=f"mark {class_}")


def legend(entries: Sequence[tuple[str, str, str]]) -> str:
    """What marks and lines mean: (shape or "line", class, words) each."""
    parts = []
    for shape, class_, words in entries:
        if shape == "line":
            drawn = element("path", d="M1 7H23", class_=f"line {class_}")
        else:
            drawn = shape_at(12, 7, shape, class_)
        swatch = element("svg", drawn, viewBox="0 0 24 14", width=24, height=14, aria_hidden="true")
        parts.append(element("span", swatch + text(words)))
    return element("div", "".join(parts), class_="legend")
