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


def best_threshold(probabilities: Maps, labels: Masks, fovs: Masks) -> tuple[float, float]:
    """The threshold among 0.05, 0.06, ..., 0.95 with the highest mean Dice over the images, and that Dice.

    For validation images only: a threshold chosen on the images it is then scored on flatters.
    """
    thresholds = np.arange(5, 96) / 100
    scores = np.array([mean_dice(probabilities, labels, fovs, float(t)) for t in thresholds])
    best = int(np.nanargmax(scores)) if not np.all(np.isnan(scores)) else int(np.argmin(np.abs(thresholds - 0.5)))
    return float(thresholds[best]), float(scores[best])
