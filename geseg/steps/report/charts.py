"""The charts of a report on figures: ROC, precision and recall, calibration, Dice of each image."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from geseg.metrics import overlap
from geseg.metrics.calibration import BINS, Reliability
from geseg.metrics.histogram import Histogram
from geseg.metrics.overlap import Counts
from geseg.steps.evalresult import EvalResult
from geseg.steps.report.svg import SERIES, Plane, Point, Scale, around, element, legend, unit
from geseg.steps.report.words import FIGURES, HUMAN, anchor, badness, name_of, number, shorten, threshold_words
from geseg.steps.scores import ImageScore, Row, Tally

Pooled = Mapping[str, Mapping[Row, Tally]]
"""Per data set, what was counted in all its images."""
MARKS = {"0.5": "circle", "fixed": "square", "mask": "diamond"}
NAMED = 60
"""Images up to which each has a row with its name in the chart; more of them stand closer, without."""
ROW, THIN = 18, 4
"""Height of a row in pixels, with its name and without."""
WIDTH, LETTER = 1080, 7
"""Of the chart with a row for each image, and about that of a letter in it."""


def curves(result: EvalResult, pooled: Pooled) -> str:
    """ROC, precision-recall and reliability side by side, of all pixels in the field of view of each data set.

    "" for masks, among whose pixels there is no order.
    """
    tables = {name: rows[Row("model", "fov", result.at)] for name, rows in pooled.items()}
    histograms = {name: tally.histogram for name, tally in tables.items() if tally.histogram is not None}
    reliable = {name: tally.reliability for name, tally in tables.items() if tally.reliability is not None}
    if not histograms:
        return ""
    drawn = [
        ("ROC curve", "auc", _roc(histograms, result, pooled)),
        ("Precision and recall", "aupr", _precision(histograms, result, pooled)),
        ("Calibration", "ece", _calibration(reliable)),
    ]
    figures = "".join(element("figure", _caption(name, figure, tables) + svg) for name, figure, svg in drawn)
    return element("div", figures, class_="charts three") + _legend(result, pooled)


def _caption(name: str, figure: str, tables: Mapping[str, Tally]) -> str:
    """The name of a chart, and the figure that it makes visible where there is one data set only."""
    known = [f"{FIGURES[figure][0]} {number(tally.figures()[figure])}" for tally in tables.values()]
    return element("figcaption", name + (element("small", known[0]) if len(known) == 1 else ""))


def _legend(result: EvalResult, pooled: Pooled) -> str:
    entries = [("line", f"s{i % SERIES}", name) for i, name in enumerate(pooled)] if len(pooled) > 1 else []
    entries += [(MARKS[at], "s0", f"threshold {words}") for at, words in threshold_words(result).items()]
    if any(HUMAN in rows for rows in pooled.values()):
        entries.append(("diamond", "human", "second observer"))
    return legend(entries)


def _roc(histograms: Mapping[str, Histogram], result: EvalResult, pooled: Pooled) -> str:
    plane = Plane(x=unit("1 − specificity"), y=unit("sensitivity"), title="ROC curve of the pooled pixels")
    marks = [plane.line([(0, 0), (1, 1)], "chance")]
    for i, h in enumerate(histograms.values()):
        tp, fp = _above(h)
        marks.append(plane.line(_pairs(fp / max(fp[-1], 1), tp / max(tp[-1], 1)), f"s{i % SERIES}"))
    return plane.svg(*marks, *_points(plane, result, pooled, _roc_point))


def _precision(histograms: Mapping[str, Histogram], result: EvalResult, pooled: Pooled) -> str:
    plane = Plane(x=unit("recall (sensitivity)"), y=unit("precision"), title="Precision-recall curve, pooled pixels")
    marks = []
    for i, h in enumerate(histograms.values()):
        tp, fp = _above(h)
        called = tp + fp > 0
        points = _pairs(tp[called] / max(tp[-1], 1), tp[called] / (tp + fp)[called])
        marks.append(plane.line(points, f"s{i % SERIES}"))
    return plane.svg(*marks, *_points(plane, result, pooled, _precision_point))


def _above(h: Histogram) -> tuple[np.ndarray, np.ndarray]:
    """Vessel and background pixels at or above each level of probability, from the highest level on; from 0 on."""
    levels = np.flatnonzero(h.vessel + h.background)[::-1]
    tp, fp = (np.concatenate([[0], np.cumsum(counts[levels])]) for counts in (h.vessel, h.background))
    return tp, fp


def _pairs(x: np.ndarray, y: np.ndarray) -> Iterator[Point]:
    return zip(x.tolist(), y.tolist(), strict=True)


def _roc_point(c: Counts) -> Point:
    return 1 - overlap.specificity(c), overlap.sensitivity(c)


def _precision_point(c: Counts) -> Point:
    return overlap.sensitivity(c), c.tp / (c.tp + c.fp) if c.tp + c.fp else math.nan


def _points(plane: Plane, result: EvalResult, pooled: Pooled, place: Callable[[Counts], Point]) -> Iterator[str]:
    """The operating points: of the maps at each threshold, and of the second observer."""
    for i, (name, rows) in enumerate(pooled.items()):
        for row, tally in rows.items():
            if row.region == "fov" and not result.repeats(row.at):
                x, y = place(tally.counts)
                who = row.by if row == HUMAN else f"threshold {result.thresholds[row.at]:g}"
                about = f"{name}, {who}: {plane.x.label} {x:.4f}, {plane.y.label} {y:.4f}"
                yield plane.mark((x, y), MARKS[row.at], "human" if row == HUMAN else f"s{i % SERIES}", about)


def _calibration(reliable: Mapping[str, Reliability]) -> str:
    plane = Plane(x=unit("mean probability"), y=unit("share of vessels"), title="Share of vessels over probability")
    marks = [plane.line([(0, 0), (1, 1)], "chance")]
    for i, r in enumerate(reliable.values()):
        class_ = f"s{i % SERIES}"
        x, y = r.mean_probability.tolist(), r.vessel_share.tolist()
        marks.append(plane.line(((a, b) for a, b in zip(x, y, strict=True) if not math.isnan(a)), class_))
        for i, (a, b, pixels) in enumerate(zip(x, y, r.pixels.tolist(), strict=True)):
            about = (
                f"probability {i / BINS:.2f} to {(i + 1) / BINS:.2f}: {pixels:,} pixels, mean {a:.3f}, vessels {b:.3f}"
            )
            marks.append(plane.mark((a, b), "dot", class_, about))
    return plane.svg(*marks)


def dice_of_images(result: EvalResult) -> str:
    """A row for each image, the worst on top, with the Dice of the map and that of the second observer."""
    row = Row("model", "fov", result.at)
    images = sorted(enumerate(result.images), key=lambda pair: badness(pair[1].rows[row]["dice"]))
    dices = [image.rows[r]["dice"] for _, image in images for r in (row, HUMAN) if r in image.rows]
    mean = float(np.mean([image.rows[row]["dice"] for image in result.images]))
    plane = _rows_plane([image for _, image in images], dices)
    marks = [plane.line([(mean, 0), (mean, len(images))], "chance")]
    for place, (index, image) in enumerate(images):
        marks.append(_row(plane, image, len(images) - place - 0.5, result.at, anchor(index)))
    entries = [("circle", "s0", f"threshold {threshold_words(result)[result.at]}"), ("line", "chance", "mean")]
    if any(HUMAN in image.rows for image in result.images):
        entries.insert(1, ("diamond", "human", "second observer"))
    return element("div", plane.svg(*marks), class_="wide", tabindex=0) + legend(entries)


def _rows_plane(images: Sequence[ImageScore], dices: Sequence[float]) -> Plane:
    named = len(images) <= NAMED
    names = tuple((i + 0.5, shorten(name_of(image))) for i, image in enumerate(reversed(images)))
    return Plane(
        x=around(dices, "Dice inside the field of view", least=0.05),
        y=Scale(low=0, high=len(images), ticks=names if named else ()),
        width=WIDTH,
        height=52 + (ROW if named else THIN) * len(images),
        left=24 + (LETTER * max(len(name) for _, name in names) if named else 0),
        right=24,
        rows=True,
        title=f"Dice of each of {len(images)} images",
    )


def _row(plane: Plane, image: ImageScore, y: float, at: str, target: str) -> str:
    """The marks of an image, which lead to its pictures."""
    dice, name = image.rows[Row("model", "fov", at)]["dice"], name_of(image)
    drawn = plane.line([(plane.x.low, y), (dice, y)], "stem")
    drawn += plane.mark((dice, y), "circle", "s0", f"{name}: {dice:.4f}")
    if HUMAN in image.rows:
        human = image.rows[HUMAN]["dice"]
        drawn += plane.mark((human, y), "diamond", "human", f"{name}, second observer: {human:.4f}")
    return element("a", drawn, href=f"#{target}", aria_label=f"{name}: Dice {number(dice)}")
