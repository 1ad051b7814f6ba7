"""The calibre of the vessels: of two photographs of one width, that of the narrower field shows them wider.

The width of the field of view in pixels says at which scale a photograph is segmented, as long as cameras see the same
angle. They see 30 to 60 degrees, of eyes of children and adults. So where a photograph is larger than the narrowest
that a net has learned from, the net segments it at that scale first, and the width of the vessels that it finds says
how much finer it may be segmented: as fine as it is, but with no wider vessels than the net has learned.
"""

import math

import numpy as np
from jaxtyping import Bool
from scipy import ndimage

from geseg.data import scale
from geseg.data.scale import TOLERANCE, Diameters

NARROWEST, WIDEST = 0.0068, 0.014
"""Mean width of the vessels in diameters of the field of view: what two nets found in 7 photographs each of HRF (60
degrees), 0.0062 to 0.0075, DRIVE (45), 0.0080 to 0.0096, STARE (35), 0.0079 to 0.0106, and CHASEDB1 (30, children),
0.0107 to 0.0131. The first is about the middle of HRF, the second beyond all."""
STEPS = 8
"""Per octave, between the scales to choose from: so few that what two engines round differently hardly ever counts."""
LEAST = 500
"""Pixels of vessel that have a calibre: DRIVE has ten thousands."""


def mean_width(mask: Bool[np.ndarray, "h w"]) -> float | None:
    """Mean width in pixels, by area: four times the mean distance of the pixels to the edge. None if there are few.

    In a bar of width w these distances are even between 0 and w / 2. Unlike `morphometry`'s, which is by length, it
    needs no centre lines, and the wide vessels decide it.
    """
    to_outer = ndimage.distance_transform_edt(mask)[mask]  # from the nearest pixel of no vessel, beyond the edge by 1/2
    return 4 * float(to_outer.mean() - 0.5) if len(to_outer) >= LEAST else None


def span(
    wide: float | None, shape: tuple[int, int], learned: Diameters | None, calibre: float | None
) -> tuple[float, float]:
    """The coarsest and the finest scale for a photograph; only if they differ it matters how wide its vessels are.

    Args:
        wide: diameter of the field of view in pixels, if it is known.
        shape: height and width of the photograph.
        learned: what the net has learned from.
        calibre: mean width of the widest vessels among it, in pixels; without it the field of view decides alone.
    """
    by = scale.factor(wide, shape, learned)
    if learned is None or calibre is None:
        return by, by
    low, high = learned
    finest = calibre / NARROWEST
    by = scale.factor(wide, shape, (low, finest if finest > high * TOLERANCE else high))
    if wide is not None and wide * by * WIDEST <= calibre * TOLERANCE:
        return by, by
    return scale.factor(wide, shape, (low, low)), by


def choose(coarsest: float, finest: float, width: float | None, calibre: float) -> float:
    """The scale at which vessels of a mean width in pixels of the photograph are no wider than the calibre.

    Of those in steps of an eighth of an octave from the finest on; the coarsest is among them, and the answer where
    there are too few vessels to tell.
    """
    best = coarsest if width is None else calibre / width
    if best * TOLERANCE >= finest:
        return finest
    by = finest * 2 ** (-math.ceil(STEPS * math.log2(finest / best)) / STEPS)
    return coarsest if by <= coarsest * TOLERANCE else by
