"""What `eval` counts and reports: tallies that add up, and figures per image, mean, spread and pooled."""

import dataclasses
import functools
import math
import operator
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from jaxtyping import Float32

from geseg.data.patchfile import WholeImage
from geseg.metrics import calibration, overlap, ranking, topology
from geseg.metrics.calibration import Reliability
from geseg.metrics.histogram import Histogram, histogram
from geseg.metrics.overlap import Counts
from geseg.metrics.topology import Centrelines, Mask

Figures = dict[str, float]
"""By name, the most asked for first; nan where one is undefined."""
Map = Float32[np.ndarray, "h w"]
ALL = "all sets"
Region = Literal["fov", "all"]
By = Literal["model", "second observer"]
Drawn: TypeAlias = tuple[By, str]
"""A mask of an image: who drew it, and the name of the threshold, as in `Row`."""


class Row(NamedTuple):
    """What a line of figures is of.

    Attributes:
        by: who drew the masks.
        region: where pixels count: in the field of view, or everywhere.
        at: the name of the threshold, "0.5" or "fixed"; "mask" for masks that come as such.
    """

    by: By
    region: Region
    at: str


@dataclass(frozen=True, slots=True)
class Tally:
    """All that is counted of a map in a region at a threshold; tallies of images add up to the pooled one."""

    counts: Counts
    centrelines: Centrelines
    histogram: Histogram | None
    reliability: Reliability | None
    """Both None for masks, among whose pixels there is no order."""

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            self.counts + other.counts,
            self.centrelines + other.centrelines,
            None if self.histogram is None or other.histogram is None else self.histogram + other.histogram,
            None if self.reliability is None or other.reliability is None else self.reliability + other.reliability,
        )

    def figures(self) -> Figures:
        """All figures by name."""
        c, h, r = self.counts, self.histogram, self.reliability
        return {
            "dice": overlap.dice(c),
            "cldice": topology.cl_dice(self.centrelines),
            "sensitivity": overlap.sensitivity(c),
            "specificity": overlap.specificity(c),
            "accuracy": overlap.accuracy(c),
            "mcc": overlap.mcc(c),
            "auc": math.nan if h is None else ranking.auc(h),
            "aupr": math.nan if h is None else ranking.aupr(h),
            "ece": math.nan if r is None else calibration.ece(r),
            "iou": overlap.iou(c),
        }


NO_LINES = Centrelines(0, 0, 0, 0)
"""Of tallies of pixels alone."""


@dataclass(frozen=True, slots=True)
class ImageScore:
    """The figures of one image."""

    dataset: str
    id: str
    rows: dict[Row, Figures]


@dataclass(frozen=True, slots=True)
class Summary:
    """Figures over images: mean, standard deviation (divided by n), and of all pixels together."""

    images: int
    mean: Figures
    std: Figures
    pooled: Figures


def tally(whole: WholeImage, probability: Map, thresholds: Mapping[str, float]) -> dict[Row, Tally]:
    """Count one image: the map at every threshold and the second observer, inside the field of view and everywhere.

    Pixels are counted inside and outside, and added up. Centre lines are not, as they go on across the border.
    """
    assert whole.label is not None, "only labelled images are scored"
    drawn: dict[Drawn, Mask] = {("model", at): probability >= threshold for at, threshold in thresholds.items()}
    if whole.second is not None:
        drawn["second observer", "mask"] = whole.second
    levels = None if np.isin(probability, (0, 1)).all() else probability
    inner, outer = (_count_pixels(drawn, whole.label, levels, part) for part in (whole.fov, ~whole.fov))
    regions: dict[Region, Mask] = {"fov": whole.fov, "all": np.ones_like(whole.fov)}
    thin, tallies = topology.thin_once(), {}
    for region, inside in regions.items():
        for (by, at), mask in drawn.items():
            pixels = inner[by, at] if region == "fov" else inner[by, at] + outer[by, at]
            lines = topology.centrelines(mask, whole.label, inside, thin)
            tallies[Row(by, region, at)] = dataclasses.replace(pixels, centrelines=lines)
    return tallies


def _count_pixels(drawn: Mapping[Drawn, Mask], label: Mask, levels: Map | None, part: Mask) -> dict[Drawn, Tally]:
    """What is counted of the pixels in a part of an image, for each mask; `levels` is the map of those of the model."""
    order = None if levels is None else histogram(levels, label, part)
    reliable = None if levels is None else calibration.reliability(levels, label, part)
    return {
        (by, at): Tally(
            overlap.count(mask.astype(np.float32), label, part),
            NO_LINES,
            order if by == "model" else None,
            reliable if by == "model" else None,
        )
        for (by, at), mask in drawn.items()
    }


class Scores:
    """Takes one image after the other and keeps its figures, and the sums of the pooled ones.

    Attributes:
        images: the figures of each, in the order in which they came.
        pooled: per data set, what was counted in all its images together.
    """

    def __init__(self) -> None:
        self.images: list[ImageScore] = []
        self.pooled: dict[str, dict[Row, Tally]] = {}

    def add(self, dataset: str, name: str, tallies: Mapping[Row, Tally]) -> None:
        """Take the tallies of an image."""
        self.images.append(ImageScore(dataset, name, {row: tally.figures() for row, tally in tallies.items()}))
        pooled = self.pooled.setdefault(dataset, {})
        for row, tally in tallies.items():
            pooled[row] = pooled[row] + tally if row in pooled else tally

    def summaries(self) -> dict[str, dict[Row, Summary]]:
        """Per data set, and of "all sets" together if there are several."""
        groups = {name: {name} for name in self.pooled}
        if len(groups) > 1:
            groups[ALL] = set(self.pooled)
        return {title: self._summarise(datasets) for title, datasets in groups.items()}

    def _summarise(self, datasets: set[str]) -> dict[Row, Summary]:
        mine = [image for image in self.images if image.dataset in datasets]
        summaries = {}
        for row in dict.fromkeys(row for image in mine for row in image.rows):
            table = [image.rows[row] for image in mine if row in image.rows]
            tallies = [self.pooled[name][row] for name in self.pooled if name in datasets and row in self.pooled[name]]
            summaries[row] = Summary(
                images=len(table),
                mean={name: float(np.mean([figures[name] for figures in table])) for name in table[0]},
                std={name: float(np.std([figures[name] for figures in table])) for name in table[0]},
                pooled=functools.reduce(operator.add, tallies).figures(),
            )
        return summaries
