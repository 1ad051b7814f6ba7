"""Which way the vessels of a patch mostly run: how one study chose its patches for training and for test.

The study is "E(2)-equivariant U-Net on fundus patches, 2021" (github.com/RTuxen/Group-Equivarient-UNet-Segmentation):
it trains on vessels that run in two directions and tests on those that run across, so that only a network that knows
about rotations does well. The figures below are its own.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

DIRECTIONS = (0, 45, 90, 135)
"""Centres of the four bins, in degrees counter-clockwise from the horizontal as displayed; a bin is 45 degrees wide."""
SIGMA, RHO = 0.5, 10.0
"""In pixels: of the Gaussian that smooths the label before its derivatives, and of the window around each pixel."""
LEAST_SHARE = 0.45
"""A patch is kept if the share of its dominant direction exceeds this."""
TRAIN_BINS, TEST_BINS = (0, 1), (2, 3)
"""Directions for training and validation, and for test."""
MOST_BLACK = 0.4
"""A patch is skipped if a larger share of it is black. The study counts values of 0; here pixels outside of the field
of view count, as the black of a JPEG is not 0."""


@dataclass(frozen=True, slots=True)
class Dominance:
    """The direction in which most vessel pixels of a patch run.

    Attributes:
        bin: index into `DIRECTIONS`; None without a vessel, or if no direction leads the others.
        share: share of the vessel pixels that run in the leading direction, in [0, 1]; nan without a vessel.
    """

    bin: int | None
    share: float


def dominant(label: Bool[np.ndarray, "h w"]) -> Dominance:
    """Find the dominant direction of a label from its structure tensor (Bigun & Granlund 1987).

    At each vessel pixel the vessel runs along the eigenvector of the tensor's smaller eigenvalue. Borders repeat their
    nearest pixel. A pixel without a direction, or exactly between two bins, counts as a vessel pixel of no bin.
    Commutes exactly with quarter turns and mirrors: a quarter turn moves the bin by two and leaves the share.
    """
    vessels = int(label.sum())
    if not vessels:
        return Dominance(None, math.nan)
    cos2, sin2 = (component[label] for component in _twice_the_angle(label))
    # The bins are the quadrants of the doubled angle about 0, 90, 180 and 270 degrees: to compare is to be exact.
    sides = (cos2 > abs(sin2), sin2 > abs(cos2), -cos2 > abs(sin2), -sin2 > abs(cos2))
    counts = [int(side.sum()) for side in sides]
    most = max(counts)
    return Dominance(counts.index(most) if counts.count(most) == 1 else None, most / vessels)


def _twice_the_angle(label: Bool[np.ndarray, "h w"]) -> tuple[Float[np.ndarray, "h w"], Float[np.ndarray, "h w"]]:
    """Cosine and sine, times one positive factor, of twice the angle at which the vessels around each pixel run."""
    image = label.astype(float)
    down, right = _gaussian(image, SIGMA, (1, 0)), _gaussian(image, SIGMA, (0, 1))
    return _gaussian(down**2, RHO) - _gaussian(right**2, RHO), 2 * _gaussian(down * right, RHO)


def _gaussian(
    image: Float[np.ndarray, "h w"], sigma: float, order: tuple[int, int] = (0, 0)
) -> Float[np.ndarray, "h w"]:
    """Smooth, or differentiate; the mean of both sequences of the axes, which round differently, favours no axis."""
    rows_first = ndimage.gaussian_filter(image, sigma, order, mode="nearest")
    columns_first = ndimage.gaussian_filter(image.T, sigma, order[::-1], mode="nearest").T
    return np.asarray((rows_first + columns_first) / 2)
