"""The field of view: the disc of a fundus photograph that shows retina, found where no mask of it is given."""

import numpy as np
from jaxtyping import Bool, UInt8
from scipy import ndimage, spatial

from geseg.data.normalise import lit

RADIUS = 9
"""Of the closing, in pixels: dark notches narrower than twice this, as vessels at the rim, are part of the view."""
LEAST_COVER = 1 / 3
"""Share of the image."""
LEAST_SOLIDITY = 0.9
"""Share of the convex hull."""


def find_fov(image: UInt8[np.ndarray, "h w 3"]) -> Bool[np.ndarray, "h w"]:
    """Find the field of view of a photograph of any size.

    Lit pixels, closed with a disc, without holes, the largest component. Where that covers less than a third of the
    image or less than 0.9 of its convex hull, it is no view through a pupil: then the whole image is the field of view.
    Commutes exactly with quarter turns and mirrors.
    """
    view = largest(fill(close(lit(image), RADIUS)))
    area = int(view.sum())
    if area < LEAST_COVER * view.size or area < LEAST_SOLIDITY * hull_area(view):
        return np.ones_like(view)
    return view


def close(mask: Bool[np.ndarray, "h w"], radius: int) -> Bool[np.ndarray, "h w"]:
    """Morphological closing with the exact disc of the radius, as if the plane around the mask were empty."""
    if not mask.any() or mask.all():
        return mask
    margin = radius + 1
    wide = np.pad(mask, margin)
    grown = ndimage.distance_transform_edt(~wide) <= radius
    closed = ndimage.distance_transform_edt(grown) > radius
    return np.asarray(closed[margin:-margin, margin:-margin])


def fill(mask: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """Add the holes: what is false and not connected to the outside (4 neighbours)."""
    labels, _ = ndimage.label(np.pad(~mask, 1, constant_values=True))
    return np.asarray(labels != labels[0, 0])[1:-1, 1:-1]


def largest(mask: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """The largest component (4 neighbours); several if they are equally large, as no turn may prefer one."""
    labels, _ = ndimage.label(mask)
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    return np.asarray((sizes == max(sizes.max(), 1))[labels])


def hull_area(mask: Bool[np.ndarray, "h w"]) -> float:
    """Area of the convex hull of the true pixels, taken as unit squares."""
    rows = np.flatnonzero(mask.any(axis=1))
    left = mask.argmax(axis=1)[rows]
    right = mask.shape[1] - mask[:, ::-1].argmax(axis=1)[rows]
    corners = np.concatenate([np.stack([y, x], axis=1) for y in (rows, rows + 1) for x in (left, right)])
    area = spatial.ConvexHull(corners).volume  # scipy's word for the area in two dimensions
    return round(2 * area) / 2  # between whole numbers it is exact, so that a turn cannot change it
