"""From an image to its probability map, the same way in training, eval and predict."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from geseg.data import normalise, scale
from geseg.data.scale import Diameters
from geseg.inference import tiling

if TYPE_CHECKING:  # `predict` has no use for h5py, which takes a while to import
    from geseg.data.patchfile import WholeImage

REACH = 8
"""Pixels around the field of view that are computed, too: when a map is scaled back, those next to it count."""


@dataclass(frozen=True, slots=True)
class Ready:
    """A photograph as the net takes it.

    Attributes:
        planes: normalised, at the scale of the net.
        wanted: the field of view at that scale: no tile is computed that lies outside of it.
        own: height and width of the photograph itself.
        by: what it was scaled by.
    """

    planes: Float32[np.ndarray, "3 h w"]
    wanted: Bool[np.ndarray, "h w"]
    own: tuple[int, int]
    by: float


@dataclass(frozen=True, slots=True)
class Segmenter:
    """What turns photographs of any size and camera into probabilities.

    Attributes:
        net: tiles to probabilities.
        divisor: what the sides of a tile must be divisible by.
        learned: how wide the fields of view were that the net learned from; others are brought to it, and their map
            back. None leaves every photograph as it is.
    """

    net: tiling.Net
    divisor: int
    learned: Diameters | None

    def image(self, image: UInt8[np.ndarray, "h w 3"], fov: Bool[np.ndarray, "h w"]) -> Float32[np.ndarray, "h w"]:
        """Probability in [0, 1] that a pixel is a vessel, at the photograph's own size; meaningless outside the FOV."""
        ready = self.ready(image, fov)
        return scale.resize_probability(self.run(ready), ready.own)

    def ready(self, image: UInt8[np.ndarray, "h w 3"], fov: Bool[np.ndarray, "h w"]) -> Ready:
        """The first of three steps from a photograph to its map: all that can be done before the net is free."""
        by = scale.factor(scale.diameter(fov), fov.shape, self.learned)
        normalised = normalise.normalise(image, *normalise.statistics(image))
        shape = scale.scaled_shape(fov.shape, by)
        return Ready(scale.resize(normalised, shape), scale.shares(fov, shape) > 0, fov.shape, by)

    def run(self, ready: Ready) -> Float32[np.ndarray, "h w"]:
        """The second: the map at the scale of the net, which `scale.resize_probability` brings to the photograph's."""
        height, width = ready.wanted.shape
        layout = tiling.plan(height, width, self.divisor)
        return tiling.run(ready.planes, self.net, layout, layout.near(ready.wanted, REACH))

    def whole(self, whole: "WholeImage") -> Float32[np.ndarray, "h w"]:
        """The same for an image of a patch file, with brightness, contrast and scale of its photograph.

        Those of the image itself, unless it was cut out of a photograph.
        """
        mean, std = np.array(whole.record.mean), np.array(whole.record.std)
        return self.planes(normalise.normalise(whole.image, mean, std), self.factor_of(whole))

    def factor_of(self, whole: "WholeImage") -> float:
        """What an image of a patch file is scaled by."""
        return scale.factor(whole.record.diameter, whole.fov.shape, self.learned)

    def planes(self, normalised: Float32[np.ndarray, "3 h w"], by: float) -> Float32[np.ndarray, "h w"]:
        """The map of a normalised photograph that is segmented at `by` times its size."""
        own = normalised.shape[1:]
        scaled = scale.resize(normalised, scale.scaled_shape(own, by))
        return scale.resize_probability(tiling.segment(scaled, self.net, self.divisor), own)
