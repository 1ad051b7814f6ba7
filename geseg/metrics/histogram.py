"""Probabilities counted level by level: what every figure that needs no threshold is computed from."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int64

LEVELS = 2**16
"""Probabilities are rounded to 16 bits, round(65535 p), as in the files that `geseg predict --probabilities` writes: a
model and its files get the same figures, in memory that does not grow with the images, and without sorting. On maps of
a network it changes the area under the ROC curve by less than 1e-5, average precision by at most 1e-4 (measured)."""


@dataclass(frozen=True, slots=True)
class Histogram:
    """Pixels of each level of probability, by what they are; histograms of images add up to the pooled one."""

    vessel: Int64[np.ndarray, "levels"]  # noqa: F821
    background: Int64[np.ndarray, "levels"]  # noqa: F821

    def __add__(self, other: "Histogram") -> "Histogram":
        return Histogram(self.vessel + other.vessel, self.background + other.background)


def histogram(
    probability: Float[np.ndarray, "h w"], label: Bool[np.ndarray, "h w"], region: Bool[np.ndarray, "h w"]
) -> Histogram:
    """Count the pixels where `region` is true; probabilities in [0, 1]."""
    levels = np.rint(probability[region].astype(np.float64) * (LEVELS - 1)).astype(np.uint16)
    truth = label[region]
    vessel = np.bincount(levels[truth], minlength=LEVELS)
    return Histogram(vessel.astype(np.int64), np.bincount(levels, minlength=LEVELS).astype(np.int64) - vessel)
