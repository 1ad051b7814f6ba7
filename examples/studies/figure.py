"""Curves with bands, as a PNG."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from geseg.files import atomic_path
from studies.grid import Curves

LOOKS = {
    "plain": ("#000000", "-", "o"),
    "plain-turned": ("#56B4E9", "-", "s"),
    "plain + test-time": ("#000000", ":", "s"),
    "plain-wide": ("#E69F00", "-", "^"),
    "plain-tuned": ("#000000", "--", "D"),
    "d4": ("#D55E00", "-", "o"),
    "d4-tuned": ("#D55E00", "--", "D"),
    "c4": ("#009E73", "-", "v"),
    "c8": ("#0072B2", "-", "P"),
    "d8": ("#CC79A7", "-", "X"),
}
"""Colour, line and marker of each net. The colours are those that Okabe & Ito (2008) chose for all kinds of colour
vision; markers tell lines apart where colours do not."""
APART = 0.062
"""Least distance of the labels of lines, as a share of the height of a panel."""
ROUNDS = 200
"""In which labels are pushed apart: enough for ten at one place."""


@dataclass(frozen=True, slots=True)
class Panel:
    """One pair of axes and its curves; `log` spreads amounts evenly that grow by a factor."""

    title: str
    x: str
    y: str
    curves: Curves
    log: bool = True


def draw(path: Path, panels: Sequence[Panel]) -> None:
    """Draw panels of the same y side by side: means over the seeds, and bands from the lowest to the highest seed.

    Panels without curves are left out, and there is no picture if there is none with some.
    """
    panels = [panel for panel in panels if panel.curves]
    if not panels:
        return
    with mpl.rc_context({"font.size": 10, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(4.6 * len(panels), 3.7), dpi=160, layout="constrained")
        axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
        for ax, panel in zip(axes, panels, strict=True):
            _draw(ax, panel)
            ax.label_outer()
        for ax, panel in zip(axes, panels, strict=True):
            _label(ax, panel.curves)  # once all lines are there, as they decide the range of y
        with atomic_path(path) as partial:
            figure.savefig(partial, format="png", metadata={"Software": None})


def _draw(ax: Axes, panel: Panel) -> None:
    for net, points in panel.curves.items():
        colour, line, marker = LOOKS[net]
        x = list(points)
        ax.plot(x, [np.mean(points[at]) for at in x], line, color=colour, marker=marker, markersize=4.5, lw=1.6)
        low, high = ([extreme(points[at]) for at in x] for extreme in (min, max))
        ax.fill_between(x, low, high, color=colour, alpha=0.15, lw=0)
    ticks = sorted({amount for points in panel.curves.values() for amount in points})
    if panel.log:
        ax.set_xscale("symlog", linthresh=1)  # as "log", and with a place for none
    ax.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    ax.minorticks_off()
    ax.grid(axis="y", color="#dddddd", lw=0.6)
    ax.set(xlabel=panel.x, ylabel=panel.y)
    ax.set_title(panel.title, loc="left", fontsize=10)


def _label(ax: Axes, curves: Curves) -> None:
    """Name each line at its right end, with its colour and marker."""
    bottom, top = ax.get_ylim()
    ends = sorted((float(np.mean(points[max(points)])), net) for net, points in curves.items())
    places = spread([(height - bottom) / (top - bottom) for height, _ in ends])
    for place, (_, net) in zip(places, ends, strict=True):
        colour, _, marker = LOOKS[net]
        ax.plot(1.04, place, marker, color=colour, markersize=4.5, transform=ax.transAxes, clip_on=False)
        ax.text(1.07, place, net, color=colour, transform=ax.transAxes, va="center_baseline", fontsize=9)


def spread(places: Sequence[float]) -> list[float]:
    """Ascending places, pushed apart until none are nearer than `APART`, and none lies above the panel."""
    found = list(places)
    for _ in range(ROUNDS):
        for low, high in itertools.pairwise(range(len(found))):
            push = max(0.0, APART - (found[high] - found[low])) / 2
            found[low], found[high] = found[low] - push, found[high] + push
        found[-1] = min(found[-1], 1.0)
    return found
