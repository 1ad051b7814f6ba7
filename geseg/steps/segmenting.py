"""From an image to its probability map, the same way in training, eval and predict."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from geseg.data import normalise, scale
from geseg.data.patchfile import WholeImage
from geseg.data.scale import Diameters
from geseg.inference import tiling


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
        by = scale.factor(scale.diameter(fov), fov.shape, self.learned)
        return self.planes(normalise.normalise(image, *normalise.statistics(image)), by)

    def whole(self, whole: WholeImage) -> Float32[np.ndarray, "h w"]:
        """The same for an image of a patch file, with brightness, contrast and scale of its photograph.

        Those of the image itself, unless it was cut out of a photograph.
        """
        mean, std = np.array(whole.record.mean), np.array(whole.record.std)
        return self.planes(normalise.normalise(whole.image, mean, std), self.factor_of(whole))

    def factor_of(self, whole: WholeImage) -> float:
        """What an image of a patch file is scaled by."""
        return scale.factor(whole.record.diameter, whole.fov.shape, self.learned)

    def planes(self, normalised: Float32[np.ndarray, "3 h w"], by: float) -> Float32[np.ndarray, "h w"]:
        """The map of a normalised photograph that is segmented at `by` times its size."""
        own = normalised.shape[1:]
        probability = tiling.segment(
            scale.resize(normalised, scale.scaled_shape(own, by)),
            self.net,
            self.divisor,
        )
        return scale.resize_probability(probability, own)
