"""The equivariance panel of a report: figures over the angle by which photographs were turned."""

import math
from collections.abc import Callable, Sequence

from geseg.steps.evalresult import EvalResult
from geseg.steps.moving import MOVES, Moved
from geseg.steps.report.svg import Plane, Point, Scale, around, element, legend

ANGLES = tuple((float(angle), f"{angle}°") for angle in range(0, 361, 90))
ITSELF = MOVES[0].name
"""The map of the unmoved photograph, which does not differ from itself; on an axis of powers that has no place."""
SMALLEST = 1e-9
"""Differences below it are drawn there: float32 has nothing smaller to say about a probability."""

Measure = Callable[[Moved], float]
Models = Sequence[tuple[str, Sequence[Moved]]]


def panel(result: EvalResult) -> str:
    """Four charts over the angle, with a line for each model; "" where nothing was moved."""
    if not result.moved:
        return ""
    models = [(str(result.model), result.moved)]
    if result.beside is not None:
        models.append((str(result.beside.model), result.beside.moved))
    every = [moved for _, rows in models for moved in rows]
    charts = (
        ("Dice", around((m.dice for m in every), "mean Dice at 0.5"), lambda m: m.dice),
        ("AUC", around((m.auc for m in every), "mean AUC"), lambda m: m.auc),
        ("Change of probability", _powers(every), lambda m: math.nan if m.move == ITSELF else m.mean_difference),
        ("Change of the mask", _percent(every), lambda m: 100 * m.flipped),
    )
    figures = [
        element("figure", element("figcaption", name) + _chart(models, name, scale, measure))
        for name, scale, measure in charts
    ]
    entries = [("line", f"s{i}", name) for i, (name, _) in enumerate(models)]
    entries += [("circle", "key", "quarter turn: exact"), ("dot", "key", "between pixels: interpolated")]
    entries += [("diamond", "key", "mirrored first: exact")]
    return element("div", "".join(figures), class_="charts two") + legend(entries)


def _chart(models: Models, name: str, scale: Scale, measure: Measure) -> str:
    plane = Plane(
        x=Scale(low=0, high=360, label="turned by", ticks=ANGLES),
        y=scale,
        width=520,
        height=250,
        left=64,
        title=f"{name} over the angle by which the photographs were turned",
    )
    marks = []
    for number, (model, rows) in enumerate(models):
        turned = [(move, moved) for move, moved in zip(MOVES, rows, strict=True) if not move.mirrored]
        points: list[Point] = [(float(move.degrees), measure(moved)) for move, moved in turned]
        marks.append(plane.line([*points, (360.0, points[0][1])], f"s{number}"))
        for move, moved in zip(MOVES, rows, strict=True):
            shape = "diamond" if move.mirrored else "circle" if move.exact else "dot"
            value = measure(moved)
            marks.append(
                plane.mark((float(move.degrees), value), shape, f"s{number}", f"{model}, {move.name}: {value:.4g}")
            )
    return plane.svg(*marks)


def _powers(moved: Sequence[Moved]) -> Scale:
    """An axis of powers of ten for mean differences."""
    known = [max(m.mean_difference, SMALLEST) for m in moved if m.move != ITSELF and not math.isnan(m.mean_difference)]
    known = known or [SMALLEST]
    low, high = math.floor(math.log10(min(known))), math.ceil(math.log10(max(known)))
    high = max(high, low + 1)
    exponents = range(low, high + 1, max(1, (high - low) // 4))
    ticks = tuple((10.0**e, "≤ 1e−9" if 10.0**e <= SMALLEST else f"1e{e}".replace("-", "−")) for e in exponents)
    return Scale(low=10.0**low, high=10.0**high, label="mean difference", ticks=ticks, logarithmic=True)


def _percent(moved: Sequence[Moved]) -> Scale:
    """An axis from 0 % for shares of the mask."""
    return around([0.0, *(100 * m.flipped for m in moved)], "pixels flipped, %", ceiling=100.0)
