"""From an image to its probability map, the same way in training, eval and predict."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float32, Float64, UInt8

from geseg.data import calibre, normalise, scale
from geseg.data.scale import Diameters
from geseg.inference import tiling
from geseg.metrics.equivariance import Move
from geseg.steps.pipeline import ahead

if TYPE_CHECKING:  # `predict` has no use for h5py, which takes a while to import
    from geseg.data.patchfile import WholeImage

REACH = 8
"""Pixels around the field of view that are computed, too: when a map is scaled back, those next to it count."""
MARGIN = 32
"""Pixels around the field of view that stay of a photograph which is turned for the net, whose tiles are fewer then."""


@dataclass(frozen=True, slots=True)
class Ready:
    """A photograph as the net takes it.

    Attributes:
        planes: normalised, at the scale of the net.
        wanted: the field of view at that scale: no tile is computed that lies outside of it.
        own: height and width of the photograph itself.
        by: what it was scaled by; the finest scale that comes into question.
        coarsest: the coarsest one.
    """

    planes: Float32[np.ndarray, "3 h w"]
    wanted: Bool[np.ndarray, "h w"]
    own: tuple[int, int]
    by: float
    coarsest: float

    def at(self, by: float) -> "Ready":
        """The same at a coarser scale."""
        if by == self.by:
            return self
        shape = scale.scaled_shape(self.own, by)
        return Ready(scale.resize(self.planes, shape), scale.shares(self.wanted, shape) > 0, self.own, by, by)

    def moved(self, move: Move) -> "Ready":
        """The same in another position, without what lies far from the field of view."""
        canvas = move.canvas_around(self.wanted, MARGIN)
        return replace(self, planes=move.forth(self.planes, canvas), wanted=move.region(self.wanted, canvas))


@dataclass(frozen=True, slots=True)
class ScaledMap:
    """A map of probabilities as the net gave it, for a photograph scaled by `by`."""

    probability: Float32[np.ndarray, "h w"]
    by: float


@dataclass(frozen=True, slots=True)
class Segmenter:
    """What turns photographs of any size and camera into probabilities.

    Attributes:
        net: tiles to probabilities.
        divisor: what the sides of a tile must be divisible by.
        learned: how wide the fields of view were that the net learned from; others are brought to it, and their map
            back. None leaves every photograph as it is.
        calibre: mean width in pixels of the widest vessels that it learned from; photographs that show wider ones are
            reduced, too. None leaves that to the field of view.
        turns: positions in which the net segments every photograph beside the upright one; the map is the mean of all.
            In the order of `between`.
    """

    net: tiling.Net
    divisor: int
    learned: Diameters | None
    calibre: float | None = None
    turns: tuple[Move, ...] = ()

    def image(self, image: UInt8[np.ndarray, "h w 3"], fov: Bool[np.ndarray, "h w"]) -> Float32[np.ndarray, "h w"]:
        """Probability in [0, 1] that a pixel is a vessel, at the photograph's own size; meaningless outside the FOV."""
        ready = self.ready(image, fov)
        return scale.resize_probability(self.run(ready).probability, ready.own)

    def ready(self, image: UInt8[np.ndarray, "h w 3"], fov: Bool[np.ndarray, "h w"]) -> Ready:
        """The first of three steps from a photograph to its map: all that can be done before the net is free."""
        return self._ready(image, *normalise.statistics(image), fov, scale.diameter(fov))

    def run(self, ready: Ready) -> ScaledMap:
        """The second: the map at the scale of the net, which `scale.resize_probability` brings to the photograph's."""
        if ready.coarsest == ready.by:
            return self._mean(ready, self._map(ready))
        by, first = self._look(ready)
        ready = ready.at(by)
        return self._mean(ready, first if by == first.by else self._map(ready))

    def whole(self, whole: "WholeImage") -> Float32[np.ndarray, "h w"]:
        """The same for an image of a patch file, with brightness, contrast and scale of its photograph.

        Those of the image itself, unless it was cut out of a photograph.
        """
        ready = self._ready_whole(whole)
        return scale.resize_probability(self.run(ready).probability, ready.own)

    def scales_of(self, whole: "WholeImage") -> tuple[float, float]:
        """What `whole` scales an image by before the net is free, and in the end."""
        ready = self._ready_whole(whole)
        return ready.by, ready.by if ready.coarsest == ready.by else self._look(ready)[0]

    def planes(
        self, normalised: Float32[np.ndarray, "3 h w"], scales: tuple[float, float]
    ) -> Float32[np.ndarray, "h w"]:
        """The map of a normalised photograph that is scaled as `scales_of` says."""
        own = normalised.shape[1:]
        for by in scales:
            normalised = scale.resize(normalised, scale.scaled_shape(own, by))
        ready = Ready(normalised, np.ones(normalised.shape[1:], bool), own, by, by)
        return scale.resize_probability(self._mean(ready, self._map(ready)).probability, own)

    def width_in(self, whole: "WholeImage") -> float | None:
        """Mean width of the vessels of an image of a patch file, in pixels as the net takes it; None if there are few.

        As `run` finds it: at the scale of the narrowest field of view that the net has learned from.
        """
        ready = self._ready_whole(whole)
        narrowest = self.learned and (self.learned[0], self.learned[0])
        width = self._measure(ready.at(scale.factor(whole.record.diameter, ready.own, narrowest)))[0]
        return None if width is None else width * ready.by

    def _ready_whole(self, whole: "WholeImage") -> Ready:
        mean, contrast = np.array(whole.record.mean), np.array(whole.record.contrast)
        return self._ready(whole.image, mean, contrast, whole.fov, whole.record.diameter)

    def _ready(
        self,
        image: UInt8[np.ndarray, "h w 3"],
        mean: Float64[np.ndarray, "3"],
        contrast: Float64[np.ndarray, "3"],
        fov: Bool[np.ndarray, "h w"],
        wide: float | None,
    ) -> Ready:
        """Scaled, and then normalised: most photographs are reduced."""
        coarsest, by = calibre.span(wide, fov.shape, self.learned, self.calibre)
        shape = scale.scaled_shape(fov.shape, by)
        planes = normalise.normalise(scale.resize(np.moveaxis(image, -1, 0), shape), mean, contrast)
        return Ready(planes, scale.shares(fov, shape) > 0, fov.shape, by, coarsest)

    def _mean(self, ready: Ready, upright: ScaledMap) -> ScaledMap:
        """The mean over all positions; the next one is turned while the net works on the last."""
        if not self.turns:
            return upright
        moved = ahead(lambda move: (move, ready.moved(move)), self.turns)
        with closing(moved):
            maps = [move.back(self._map(at).probability, ready.wanted.shape) for move, at in moved]
        return ScaledMap(mean_of_turns(upright.probability, maps), ready.by)

    def _map(self, ready: Ready) -> ScaledMap:
        found = tiling.segment(ready.planes, self.net, self.divisor, wanted=ready.wanted, reach=REACH)
        return ScaledMap(found, ready.by)

    def _look(self, ready: Ready) -> tuple[float, ScaledMap]:
        """The scale to segment a photograph at, and the map at the coarsest one, which decides it."""
        assert self.calibre is not None, "without it there is but one scale"
        width, first = self._measure(ready.at(ready.coarsest))
        return calibre.choose(ready.coarsest, ready.by, width, self.calibre), first

    def _measure(self, ready: Ready) -> tuple[float | None, ScaledMap]:
        """Mean width of the vessels, in pixels of the photograph, and the map that shows them."""
        found = self._map(ready)
        width = calibre.mean_width((found.probability >= 0.5) & ready.wanted)
        return None if width is None else width / ready.by, found


def between(rotations: int, number: int) -> tuple[Move, ...]:
    """So many angles, less the first, between two turns with which a net commutes that knows `rotations` of them.

    Example:
        >>> [move.name for move in between(4, 3)]
        ['rot 30', 'rot 60']
    """
    return tuple(Move(360 * k / (rotations * number)) for k in range(1, number))


def mean_of_turns(
    upright: Float32[np.ndarray, "h w"], others: Sequence[Float32[np.ndarray, "h w"]]
) -> Float32[np.ndarray, "h w"]:
    """The mean of maps at the angles of `between`; a mirror exchanges them from both ends, which changes no bit."""
    total = upright.copy()
    for one, mirrored in zip(others, reversed(others), strict=True):
        total += (one + mirrored) / 2
    return total / np.float32(1 + len(others))
