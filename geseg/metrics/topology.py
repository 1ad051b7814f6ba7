"""Figures that ask whether vessels are found along their whole length; their width hardly matters."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from jaxtyping import Bool

Mask: TypeAlias = Bool[np.ndarray, "h w"]
Thin: TypeAlias = Callable[[Mask], Mask]
"""A mask to its centre lines."""


@dataclass(frozen=True, slots=True)
class Centrelines:
    """Pixels of centre lines; those of images add up to pooled ones.

    Attributes:
        hit_mask: pixels of the mask's centre line that lie in a vessel of the label.
        length_mask: all pixels of the mask's centre line.
        hit_label: pixels of the label's centre line that lie in a vessel of the mask.
        length_label: all pixels of the label's centre line.
    """

    hit_mask: int
    length_mask: int
    hit_label: int
    length_label: int

    def __add__(self, other: "Centrelines") -> "Centrelines":
        return Centrelines(
            self.hit_mask + other.hit_mask,
            self.length_mask + other.length_mask,
            self.hit_label + other.hit_label,
            self.length_label + other.length_label,
        )


def thin(mask: Mask) -> Mask:
    """The centre lines of a mask, by the thinning of Zhang & Suen 1984 (doi:10.1145/357994.358023).

    It takes pixels from one side before the other: a turned or mirrored image has centre lines that differ by a pixel
    here and there, and so another `cl_dice`. Over the eight symmetries of a photograph it spreads by 0.001-0.003 for an
    eroded label and by 0.003-0.007 for a network's mask (DRIVE, CHASE_DB1): its third decimal means little.
    """
    from skimage.morphology import skeletonize  # noqa: PLC0415 - takes a second to import

    return np.asarray(skeletonize(mask))


def thin_once() -> Thin:
    """`thin`, which remembers its answers: of one image, masks at two thresholds or in two regions are often the same.

    A mask of 8 megapixels takes most of a second. Made anew for each image: masks of another shape may have its bytes.
    """
    known: dict[bytes, Mask] = {}

    def look(mask: Mask) -> Mask:
        key = np.packbits(mask).tobytes()
        if key not in known:
            known[key] = thin(mask)
        return known[key]

    return look


def centrelines(mask: Mask, label: Mask, fov: Mask, thin: Thin = thin) -> Centrelines:
    """Thin mask and label to their centre lines and count which pixels of each lie in the other.

    Both are cut by the field of view first, so that nothing outside of it changes a centre line.
    """
    mask, label = mask & fov, label & fov
    line_mask, line_label = thin(mask), thin(label)
    return Centrelines(
        hit_mask=int(np.sum(line_mask & label)),
        length_mask=int(np.sum(line_mask)),
        hit_label=int(np.sum(line_label & mask)),
        length_label=int(np.sum(line_label)),
    )


def cl_dice(c: Centrelines) -> float:
    """Centreline Dice in [0, 1]: 2 Tprec Tsens / (Tprec + Tsens) (Shit et al. 2021, arXiv:2003.07311, eq. 1-3).

    Tprec = hit_mask / length_mask and Tsens = hit_label / length_label. As `dice`, it is nan if neither mask nor label
    has a vessel, and 0 if only one of them has.
    """
    if c.length_mask == c.length_label == 0:
        return math.nan
    both = c.hit_mask * c.length_label + c.hit_label * c.length_mask
    return 2 * c.hit_mask * c.hit_label / both if both else 0.0
