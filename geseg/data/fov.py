"""The field of view: the disc of a fundus photograph that shows retina, found where no mask of it is given."""

import math

import numpy as np
from jaxtyping import Bool, Int64, UInt8
from PIL import Image
from scipy import ndimage

RADIUS = 9
"""Of the closing, in pixels: dark notches narrower than twice this, as vessels at the rim, are part of the view.

It does not grow with the image: on DRIVE, CHASEDB1, STARE and HRF (565 to 3504 pixels wide) radii from 0 to 36 differ
by less than 0.0005 in the share of vessels kept and in the Dice overlap with the masks.
"""
LEAST_COVER = 1 / 3
"""Share of the image."""
LEAST_SOLIDITY = 0.9
"""Share of the convex hull."""
RECTANGLE = 0.95
"""Share of the bounding box from which a view is taken for one without a rim; a disc has 0.79, if cut up to 0.93."""
DARKEST_RIM, BRIGHTEST_RIM = 10, 3
"""The level that parts retina from border lies between a tenth and a third of the largest red value."""
RIM_WINDOW = 8
"""An eighth of the largest red value: how far above a level one with a shorter outline is looked for."""
RIM_EXCESS = 1.05
"""An outline longer than the shortest one of the window by this factor crosses more than the rim."""
LONGEST_RIM = 1.1
"""Share of the circumference of the image, which is the longest outline of anything convex."""


def find_fov(image: UInt8[np.ndarray, "h w 3"]) -> Bool[np.ndarray, "h w"]:
    """Find the field of view of a photograph of any size.

    The pixels above a level of red (see `rim_levels`), closed with a disc, without holes, the largest component. Where
    that is less than a third of the image or less than 0.9 of its convex hull, it is no view through a pupil: if no
    level gives one, the whole image is the field of view. Of views that could be, one that is no rectangle is
    preferred. Commutes exactly with quarter turns and mirrors.
    """
    red = image[:, :, 0]
    rectangle = None
    for level in rim_levels(red):
        view = largest(fill(close(red > level, RADIUS)))
        area = int(view.sum())
        if area >= LEAST_COVER * view.size and area >= LEAST_SOLIDITY * hull_area(view):
            if area <= RECTANGLE * int(view.any(axis=0).sum()) * int(view.any(axis=1).sum()):
                return view
            rectangle = view if rectangle is None else rectangle
    return np.ones(red.shape, bool) if rectangle is None else rectangle


def rim_levels(red: UInt8[np.ndarray, "h w"]) -> list[int]:
    """The levels at which retina may part from border, the likeliest first.

    A border that is not black, as on scanned slides, may be brighter than a tenth of the largest value. So from there
    the level rises while that makes the outline of what is above it simpler: through the noise of the border, up to
    the first level that crosses little but the rim. In dark retina it does not rise, as there is more noise above.
    The second level starts from the most noise instead, for borders of which all is brighter than a tenth.
    """
    top = int(red.max())
    lowest, highest, window = top // DARKEST_RIM, top // BRIGHTEST_RIM, top // RIM_WINDOW
    lengths = outline_lengths(red)

    def settle(level: int) -> int:
        while level < highest and lengths[level] > RIM_EXCESS * lengths[level : level + window + 1].min():
            level += 1
        return level

    above = settle(lowest + int(lengths[lowest : highest + 1].argmax()))
    simple = lengths[above] <= LONGEST_RIM * 2 * sum(red.shape)
    return list(dict.fromkeys([settle(lowest), above if simple else lowest, lowest]))


def outline_lengths(red: UInt8[np.ndarray, "h w"]) -> Int64[np.ndarray, "256"]:
    """How many pairs of neighbours each level from 0 to 255 parts: one is brighter than the level, the other is not."""
    wide = np.pad(red, ((0, 1), (0, 1)), mode="edge")  # adds only pairs of equal values
    lengths = np.zeros(256, np.int64)
    for other in (wide[1:, :-1], wide[:-1, 1:]):
        for pick, sign in ((np.minimum, 1), (np.maximum, -1)):
            lengths += sign * np.cumsum(Image.fromarray(pick(wide[:-1, :-1], other)).histogram())
    return lengths


def close(mask: Bool[np.ndarray, "h w"], radius: int) -> Bool[np.ndarray, "h w"]:
    """Morphological closing with the exact disc of the radius, as if the plane around the mask were empty."""
    if not mask.any() or mask.all():
        return mask
    grown = dilate(np.pad(mask, radius), radius)
    return ~dilate(~grown, radius)[radius:-radius, radius:-radius]


def dilate(mask: Bool[np.ndarray, "h w"], radius: int | float) -> Bool[np.ndarray, "h w"]:
    """All pixels at most `radius` from one of the mask, which is larger: rows of the disc, moved to their heights."""
    row, grown = mask.copy(), np.zeros_like(mask)
    widest = int(radius)
    heights = [math.isqrt(int(radius**2) - width**2) for width in range(widest + 1)]
    for width in range(widest + 1):
        if width:
            row[:, width:] |= mask[:, :-width]
            row[:, :-width] |= mask[:, width:]
        lower = heights[width + 1] + 1 if width < widest else 0
        for dy in range(lower, heights[width] + 1):
            grown[dy:] |= row[: len(row) - dy]
            grown[: len(row) - dy] |= row[dy:]
    return grown


def fill(mask: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """Add the holes: what is false and not connected to the outside (4 neighbours)."""
    labels, _ = ndimage.label(np.pad(~mask, 1, constant_values=True))
    return np.asarray(labels != labels[0, 0])[1:-1, 1:-1]


def largest(mask: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
    """The largest component (4 neighbours); several if they are equally large, as no turn may prefer one."""
    labels, count = ndimage.label(mask)
    if count < 2:
        return mask
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    (first, *others) = np.flatnonzero(sizes == sizes.max())
    return np.asarray((sizes == sizes.max())[labels] if others else labels == first)  # the latter is much faster


def hull_area(mask: Bool[np.ndarray, "h w"]) -> float:
    """Area of the convex hull of the true pixels, taken as unit squares; computed in whole numbers, so it is exact.

    Not with `scipy.spatial`, which takes longer to import than a photograph to judge.
    """
    rows = np.flatnonzero(mask.any(axis=1))
    left = mask.argmax(axis=1)[rows]
    right = mask.shape[1] - mask[:, ::-1].argmax(axis=1)[rows]
    corners = np.union1d(rows, rows + 1)
    twice = 0
    for side in (right, -left):
        reach = np.full(len(mask) + 1, -mask.shape[1] - 1)
        reach[rows] = side
        reach[rows + 1] = np.maximum(reach[rows + 1], side)
        y, x = _hull_line(corners, reach[corners])
        twice += int(((y[1:] - y[:-1]) * (x[1:] + x[:-1])).sum())
    return twice / 2


def _hull_line(y: Int64[np.ndarray, " n"], x: Int64[np.ndarray, " n"]) -> tuple[np.ndarray, np.ndarray]:
    """The corners of the lowest concave line above the points (y, x), y ascending.

    A point that is not above the line between its neighbours is none; those that are left when no more go are all.
    """
    while True:
        (dy, next_dy), (dx, next_dx) = ((d[:-1], d[1:]) for d in (np.diff(y), np.diff(x)))
        corner = np.concatenate([[True], dx * next_dy > next_dx * dy, [True]])
        if corner.all():
            return y, x
        y, x = y[corner], x[corner]
