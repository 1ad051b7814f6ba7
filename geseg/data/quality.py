"""What can be said of a photograph before anybody looks at it: how bright, how red, how sharp, how round its view."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, UInt8
from scipy import ndimage

from geseg.data import fov as views
from geseg.data import scale
from geseg.data.normalise import histogram

WIDTH = 512
"""Pixels to which wider fields of view are reduced: what is sharp then does not depend on the camera's resolution."""
RIM = 0.03
"""Of that width; so near to the border of the view, its edge counts as detail."""
FINE, COARSE = 1.0, 3.0
"""Sigmas of the Gaussians, in reduced pixels, at whose scales edges are compared."""
STRONGEST = 99
"""Percentile of the edges that are compared: vessels and the optic disc, not the noise."""


@dataclass(frozen=True, slots=True)
class Quality:
    """Figures of one photograph, rounded so that they are the same when it is turned or mirrored.

    Attributes:
        brightness: median of the brightest channel in the field of view, in [0, 255].
        redness: share of the field of view that is redder than green, in [0, 1].
        sharpness: edges at a fine scale over those at a coarse one: 3 for perfect edges, 1 for blurred ones. More
            blur lowers it; contrast and brightness do not matter, and white noise raises it.
        solidity: area of the field of view over that of its convex hull, in (0, 1].
        fill: the same over that of its bounding box; a disc has 0.785.
        aspect: longer over shorter side of that box.
    """

    brightness: int
    redness: float
    sharpness: float
    solidity: float
    fill: float
    aspect: float


def measure(image: UInt8[np.ndarray, "h w 3"], fov: Bool[np.ndarray, "h w"]) -> Quality:
    """Figures of a photograph with a field of view of at least one pixel."""
    wide = scale.diameter(fov) or max(fov.shape)
    by = min(1.0, WIDTH / wide)
    shape = (max(1, round(fov.shape[0] * by)), max(1, round(fov.shape[1] * by)))
    red, green, blue = np.moveaxis(image, -1, 0)
    small = scale.resize(green, shape)
    inner = away_from_rim(scale.shares(fov, shape) > 0.5, RIM * by * wide)
    fine, coarse = (np.percentile(edges(small, sigma)[inner], STRONGEST) for sigma in (FINE, COARSE))
    area, rows, columns = int(fov.sum()), np.flatnonzero(fov.any(axis=1)), np.flatnonzero(fov.any(axis=0))
    sides = (int(rows[-1] - rows[0] + 1), int(columns[-1] - columns[0] + 1))
    return Quality(
        brightness=median(np.maximum(np.maximum(red, green), blue), fov),
        redness=round(float(((red > green) & fov).sum() / area), 3),
        sharpness=round(float(fine / coarse), 3) if coarse > 0 else 0.0,
        solidity=round(area / views.hull_area(fov), 4),
        fill=round(area / (sides[0] * sides[1]), 4),
        aspect=round(max(sides) / min(sides), 4),
    )


def median(values: UInt8[np.ndarray, "h w"], inside: Bool[np.ndarray, "h w"]) -> int:
    """The median of the values inside, the lower one of two: from a histogram, which takes a tenth of sorting them."""
    below = np.cumsum(histogram(values, inside))
    return int(np.searchsorted(below, (below[-1] + 1) // 2))


def away_from_rim(view: Bool[np.ndarray, "h w"], distance: float) -> Bool[np.ndarray, "h w"]:
    """The pixels of a view farther than that from all others and from the border; the farthest where none is so."""
    around = int(distance) + 1
    outside = np.pad(~view, around, constant_values=True)
    inner = ~views.dilate(outside, distance)[around:-around, around:-around]
    if inner.any():
        return inner
    depth = ndimage.distance_transform_edt(np.pad(view, 1))[1:-1, 1:-1]  # exact as well, but five times slower
    return np.asarray(depth == depth.max())


def edges(plane: Float32[np.ndarray, "h w"], sigma: float) -> Float32[np.ndarray, "h w"]:
    """Length of the gradient at the scale of a Gaussian."""
    down, right = (ndimage.gaussian_filter(plane, sigma, order=order) for order in ((1, 0), (0, 1)))
    return np.hypot(down, right)
