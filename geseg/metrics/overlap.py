"""Figures that compare a thresholded probability with a label, inside the field of view."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float


@dataclass(frozen=True, slots=True)
class Counts:
    """Pixels by what they are and what they were called; counts of images add up to pooled counts."""

    tp: int
    fp: int
    fn: int
    tn: int

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn, self.tn + other.tn)


def count(
    probability: Float[np.ndarray, "h w"],
    label: Bool[np.ndarray, "h w"],
    fov: Bool[np.ndarray, "h w"],
    threshold: float = 0.5,
) -> Counts:
    """Compare `probability >= threshold` with `label` where `fov` is true; the black border is no achievement."""
    vessel, truth = probability[fov] >= threshold, label[fov]
    tp, called, true = int(np.sum(vessel & truth)), int(np.sum(vessel)), int(np.sum(truth))
    return Counts(tp=tp, fp=called - tp, fn=true - tp, tn=truth.size - called - true + tp)


def dice(c: Counts) -> float:
    """Overlap 2 tp / (2 tp + fp + fn) in [0, 1] (Dice 1945, doi:10.2307/1932409); nan if neither has a vessel."""
    return _ratio(2 * c.tp, 2 * c.tp + c.fp + c.fn)


def iou(c: Counts) -> float:
    """Intersection over union tp / (tp + fp + fn) in [0, 1] (Jaccard 1912); nan if neither has a vessel."""
    return _ratio(c.tp, c.tp + c.fp + c.fn)


def sensitivity(c: Counts) -> float:
    """Share of the labelled vessel pixels that were found, tp / (tp + fn), in [0, 1]; nan if the label has none."""
    return _ratio(c.tp, c.tp + c.fn)


def specificity(c: Counts) -> float:
    """Share of the background pixels left alone, tn / (tn + fp), in [0, 1]; nan if all is vessel."""
    return _ratio(c.tn, c.tn + c.fp)


def accuracy(c: Counts) -> float:
    """Share of the pixels called right, (tp + tn) / all, in [0, 1]; nan if the field of view is empty."""
    return _ratio(c.tp + c.tn, c.tp + c.fp + c.fn + c.tn)


def mcc(c: Counts) -> float:
    """Correlation of mask and label in [-1, 1], 0 by chance (Matthews 1975, doi:10.1016/0005-2795(75)90109-9).

    (tp tn - fp fn) / sqrt((tp + fp) (tp + fn) (tn + fp) (tn + fn)); nan if mask or label is all vessel or has none.
    """
    covariance = c.tp * c.tn - c.fp * c.fn
    margins = (c.tp + c.fp) * (c.tp + c.fn) * (c.tn + c.fp) * (c.tn + c.fn)
    # Squared, both are whole numbers: nothing is rounded before the division, and the result cannot exceed 1.
    return math.copysign(math.sqrt(_ratio(covariance**2, margins)), covariance)


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else math.nan


Maps = Sequence[Float[np.ndarray, "_ _"]]
Masks = Sequence[Bool[np.ndarray, "_ _"]]
"""Of several images, which may differ in size."""


def mean_dice(probabilities: Maps, labels: Masks, fovs: Masks, threshold: float = 0.5) -> float:
    """Mean over the images of `dice`; nan if there is one without a vessel in label and probability."""
    triples = zip(probabilities, labels, fovs, strict=True)
    return float(np.mean([dice(count(p, label, fov, threshold)) for p, label, fov in triples]))


TOLERANCE = 0.003
"""Mean Dice by which two trainings of one recipe differ: what a threshold gains below that is chance."""


def choose_threshold(probabilities: Maps, labels: Masks, fovs: Masks) -> tuple[float, float]:
    """The threshold to keep among 0.05, 0.06, ..., 0.95, and the mean Dice over the images that it gives.

    Of all that come within `TOLERANCE` of the best mean Dice the one nearest 0.5: few images decide, whose Dice hardly
    depends on the threshold, and a net is less sure of cameras that it does not know (geseg/weights/EXPERIMENTS.md).

    For validation images only: a threshold chosen on the images it is then scored on flatters.
    """
    thresholds = np.arange(5, 96) / 100
    scores = np.mean([_dices(*image, thresholds) for image in zip(probabilities, labels, fovs, strict=True)], axis=0)
    good = scores >= np.nanmax(scores) - TOLERANCE if not np.all(np.isnan(scores)) else np.ones_like(scores, bool)
    chosen = int(np.argmin(np.where(good, np.abs(thresholds - 0.5), np.inf)))
    return float(thresholds[chosen]), float(scores[chosen])


def _dices(
    probability: Float[np.ndarray, "h w"],
    label: Bool[np.ndarray, "h w"],
    fov: Bool[np.ndarray, "h w"],
    thresholds: Float[np.ndarray, " t"],
) -> list[float]:
    """`dice` at thresholds that rise, in one pass over the image."""
    edges = thresholds.astype(probability.dtype)  # as `count` compares
    reached = np.searchsorted(edges, probability[fov], side="right")  # how many of them a pixel meets
    truth = label[fov]
    called, hits = (np.bincount(of, minlength=len(edges) + 1)[:0:-1].cumsum()[::-1] for of in (reached, reached[truth]))
    true = int(truth.sum())
    return [
        dice(Counts(tp=int(tp), fp=int(of - tp), fn=true - int(tp), tn=truth.size - true - int(of - tp)))
        for of, tp in zip(called, hits, strict=True)
    ]
