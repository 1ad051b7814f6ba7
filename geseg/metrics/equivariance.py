"""How far a map moves with its photograph: moving it, moving maps back, comparing them."""

import math
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

CUBIC: Final = 3
"""Order of the splines that interpolate images and maps: linear ones blur. On photographs of DRIVE and CHASE_DB1, forth
and back at 22.5 and 45 degrees, a normalised image changes by 0.01-0.02 (mean absolute difference; linear 0.03-0.05), a
map by 0.0006-0.0015 (linear 0.006-0.019), and 0.04-0.11 % of its mask flips (0.12-0.31 %). Linear blur even changes
what is measured: a net that is out of its domain at Dice 0.50 gets 0.55.

Maps are interpolated as logits: as probabilities they change by 0.002-0.006, and their AUC falls by 0.0005-0.006, as
splines undershoot to 0 beside every vessel. As logits it falls by less than 0.0001."""
NEAREST: Final = 0
SURE = 2e-4
"""Probabilities this near to 0 and 1 count as this near, which bounds how far splines ring at the border of a map."""
LOWEST = math.log(SURE / (1 - SURE))
ROUNDING = 1e-6
"""Of a pixel: what a side may be too short, so that sines and cosines of a mirrored angle give the same side."""
RINGING = 0.01
"""Largest error, near an edge, of a value of 1 that went forth and back; splines ring."""


@dataclass(frozen=True, slots=True)
class Move:
    """Mirror left-right first if `mirrored`, then turn by `degrees` about the centre, counter-clockwise as displayed.

    Exact for multiples of 90: pixels change places. Other angles are quarter turns and a rest below 90 degrees, for
    which pixels are interpolated; so moving by 112.5 is moving by 90 and then by 22.5, to the last bit.

    Example:
        >>> Move(90.0, mirrored=True).name
        'mirror rot 90'
        >>> Move(90.0).forth(np.array([[[1.0, 2.0], [3.0, 4.0]]])).tolist()
        [[[2.0, 4.0], [1.0, 3.0]]]
    """

    degrees: float | int
    mirrored: bool = False

    @property
    def name(self) -> str:
        """Such as "rot 90", "mirror", "mirror rot 22.5"; "rot 0" changes nothing."""
        turn = f"rot {self.degrees:g}"
        if not self.mirrored:
            return turn
        return f"mirror {turn}" if self.degrees else "mirror"

    @property
    def exact(self) -> bool:
        """True if it maps the pixel grid to itself."""
        return self.degrees % 90 == 0

    def forth(
        self, stack: Float[np.ndarray, "c h w"], canvas: tuple[int, int] | None = None
    ) -> Float[np.ndarray, "c mh mw"]:
        """Move the channels of an image.

        A quarter turn swaps height and width. At other angles the canvas is as large as `canvas` says; without it, it
        grows, to even sides, until it holds the whole image. Its new corners are 0: black in a photograph, the mean
        colour in a normalised one, as tiles have it beyond the border.
        """
        turned = self._on_grid(stack)
        if self.exact:
            return np.ascontiguousarray(turned)
        return _turn(turned, self._rest, canvas or self._canvas(turned))

    def region(self, fov: Bool[np.ndarray, "h w"], canvas: tuple[int, int] | None = None) -> Bool[np.ndarray, "mh mw"]:
        """Move a field of view likewise; between the pixels each takes what is nearest."""
        turned = self._on_grid(fov[None])
        if self.exact:
            return np.ascontiguousarray(turned[0])
        return np.asarray(_turn(turned, self._rest, canvas or self._canvas(turned), NEAREST)[0])

    def canvas_around(self, fov: Bool[np.ndarray, "h w"], margin: int) -> tuple[int, int]:
        """Even sides of the smallest canvas about the same centre that holds a moved field of view and a margin.

        No larger than that of the whole image; means nothing for a move that is exact.
        """
        turned = self._on_grid(fov)
        full, rows = self._canvas(turned), np.flatnonzero(turned.any(axis=1))
        if not rows.size:
            return full
        height, width = turned.shape
        ends = np.stack([turned[rows].argmax(axis=1), width - 1 - turned[rows, ::-1].argmax(axis=1)])
        down, right = rows - (height - 1) / 2, ends - (width - 1) / 2
        cos, sin = _cos_sin(self._rest)
        halves = np.abs(cos * down - sin * right).max(), np.abs(sin * down + cos * right).max()
        sides = (2 * math.ceil(float(half) + 0.5 + margin - ROUNDING) for half in halves)
        return min(next(sides), full[0]), min(next(sides), full[1])

    def back(self, probability: Float[np.ndarray, "mh mw"], shape: tuple[int, int]) -> Float[np.ndarray, "h w"]:
        """Move the map of a moved image back onto the canvas of the image, whose height and width are `shape`.

        Pixels that are interpolated are in [`SURE`, 1 - `SURE`].
        """
        if not self.exact:
            upright = shape[::-1] if self._quarters % 2 else shape
            probability = _probability(_turn(_logits(probability)[None], -self._rest, upright)[0])
        return np.ascontiguousarray(self._off_grid(probability))

    def covered(self, fov: Bool[np.ndarray, "h w"]) -> Bool[np.ndarray, "h w"]:
        """The pixels of a field of view that come through both ways.

        All of them if exact; else those where a field of view of ones comes back as 1, to 1 %: all but a rim of a few
        pixels, 2 % of the field of view in DRIVE.
        """
        if self.exact:
            return fov
        turned = self._on_grid(fov.astype(np.float32)[None])
        there = _turn(turned, self._rest, self._canvas(turned))
        again = _turn(there, -self._rest, turned.shape[1:])[0]
        return np.asarray(fov & self._off_grid(np.abs(again - 1) < RINGING))

    @property
    def _quarters(self) -> int:
        return int(self.degrees // 90)

    @property
    def _rest(self) -> float:
        """What quarter turns leave, in [0, 90)."""
        return float(self.degrees % 90)

    def _on_grid(self, stack: np.ndarray) -> np.ndarray:
        return np.rot90(np.flip(stack, -1) if self.mirrored else stack, self._quarters, (-2, -1))

    def _off_grid(self, stack: np.ndarray) -> np.ndarray:
        turned = np.rot90(stack, -self._quarters, (-2, -1))
        return np.flip(turned, -1) if self.mirrored else turned

    def _canvas(self, turned: np.ndarray) -> tuple[int, int]:
        """Sides of what holds an image after the rest of the turn: even, as odd ones take twice the tiles."""
        height, width = turned.shape[-2:]
        cos, sin = _cos_sin(self._rest)
        return 2 * math.ceil((height * cos + width * sin) / 2), 2 * math.ceil((height * sin + width * cos) / 2)


SYMMETRIES = tuple(Move(degrees, mirrored) for mirrored in (False, True) for degrees in (0.0, 90.0, 180.0, 270.0))
"""All eight exact ones: the group d4."""


@dataclass(frozen=True, slots=True)
class Difference:
    """How far two maps of one photograph are apart, inside a region; all nan if it is empty.

    Attributes:
        mean_abs: mean absolute difference of probability, in [0, 1].
        max_abs: the largest, in [0, 1].
        flipped: share of the pixels that are vessel in one mask and not in the other, in [0, 1].
    """

    mean_abs: float
    max_abs: float
    flipped: float


def difference(
    p: Float[np.ndarray, "h w"],
    q: Float[np.ndarray, "h w"],
    region: Bool[np.ndarray, "h w"],
    threshold: float = 0.5,
) -> Difference:
    """Compare a map with that of the moved photograph, moved back; `threshold` makes the masks.

    After an angle that is not exact, part of it is the interpolation itself: see `CUBIC`.
    """
    if not region.any():
        return Difference(math.nan, math.nan, math.nan)
    p, q = p[region], q[region]
    apart = np.abs(p - q)
    flipped = np.mean((p >= threshold) != (q >= threshold))
    return Difference(float(np.mean(apart, dtype=float)), float(apart.max()), float(flipped))


def _cos_sin(degrees: float) -> tuple[float, float]:
    return math.cos(math.radians(degrees)), math.sin(math.radians(degrees))


def _logits(probability: np.ndarray) -> np.ndarray:
    """Logits, counted from those of `SURE`: beyond a canvas, where splines see 0, is surely no vessel."""
    p = np.clip(probability, SURE, 1 - SURE)
    return np.asarray(np.log(p / (1 - p)) - LOWEST)


def _probability(logits: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-(logits + LOWEST))))


def _turn(stack: np.ndarray, degrees: float, shape: tuple[int, int], order: Literal[0, 3] = CUBIC) -> np.ndarray:
    """Turn [c, h, w] counter-clockwise about the centre, which becomes the centre of a canvas of `shape`."""
    cos, sin = _cos_sin(degrees)
    matrix = np.array([[cos, sin], [-sin, cos]])  # from the canvas to the stack, in rows (downwards) and columns
    offset = (np.array(stack.shape[1:]) - 1) / 2 - matrix @ ((np.array(shape) - 1) / 2)
    channels = [
        ndimage.affine_transform(channel, matrix, offset, shape, order=order, mode="grid-constant") for channel in stack
    ]
    return np.stack(channels)
