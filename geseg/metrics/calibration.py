"""Whether a probability means what it says: of the pixels called vessel with 70 %, are 70 % vessels?"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float64, Int64

BINS = 15
"""As in most of the literature since Guo et al. 2017 (arXiv:1706.04599)."""


@dataclass(frozen=True, slots=True, eq=False)
class Reliability:
    """Pixels sorted by their probability into bins of equal width; the bins of images add up to pooled bins.

    Bin i holds the probabilities in [i / 15, (i + 1) / 15), and the last one 1 as well.

    Attributes:
        pixels: how many there are in each bin.
        probability: sum of their probabilities.
        vessels: how many of them the label calls vessel.
    """

    pixels: Int64[np.ndarray, " bins"]
    probability: Float64[np.ndarray, " bins"]
    vessels: Int64[np.ndarray, " bins"]

    def __add__(self, other: "Reliability") -> "Reliability":
        return Reliability(
            self.pixels + other.pixels, self.probability + other.probability, self.vessels + other.vessels
        )

    @property
    def mean_probability(self) -> Float64[np.ndarray, " bins"]:
        """Mean probability in each bin, in [0, 1]; nan in an empty one."""
        return _share(self.probability, self.pixels)

    @property
    def vessel_share(self) -> Float64[np.ndarray, " bins"]:
        """Share of vessels in each bin, in [0, 1]; nan in an empty one."""
        return _share(self.vessels.astype(float), self.pixels)


def reliability(
    probability: Float[np.ndarray, "h w"], label: Bool[np.ndarray, "h w"], fov: Bool[np.ndarray, "h w"]
) -> Reliability:
    """Sort the pixels of the field of view into bins: what a reliability diagram shows."""
    p, truth = probability[fov].astype(float), label[fov]
    place = np.clip((p * BINS).astype(int), 0, BINS - 1)  # a blend of tiles may exceed 1 by a rounding error
    return Reliability(
        pixels=np.bincount(place, minlength=BINS),
        probability=np.bincount(place, weights=p, minlength=BINS).astype(float),  # without pixels it counts in integers
        vessels=np.bincount(place[truth], minlength=BINS),
    )


def ece(r: Reliability) -> float:
    """Expected calibration error in [0, 1], 0 being best; nan if the field of view is empty.

    The mean over the pixels of |mean probability - share of vessels| of their bin (Naeini et al. 2015, AAAI,
    doi:10.1609/aaai.v29i1.9602), of the probability of the class vessel. It is not the variant on the probability of
    the likelier class, which is usual for many classes. Most pixels are surely background: a small figure by nature.
    """
    pixels = int(r.pixels.sum())
    return float(np.abs(r.probability - r.vessels).sum() / pixels) if pixels else math.nan


def _share(part: Float64[np.ndarray, " bins"], whole: Int64[np.ndarray, " bins"]) -> Float64[np.ndarray, " bins"]:
    return np.asarray(np.divide(part, whole, out=np.full(len(whole), math.nan), where=whole > 0))
