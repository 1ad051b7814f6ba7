"""From an image to its probability map, the same way in training, eval and predict."""

import numpy as np
from jaxtyping import Float32, UInt8

from geseg.data import normalise
from geseg.inference import tiling


def segment_image(image: UInt8[np.ndarray, "h w 3"], net: tiling.Net, divisor: int) -> Float32[np.ndarray, "h w"]:
    """Probability in [0, 1] that a pixel is a vessel, for an image of any size."""
    return tiling.segment(normalise.normalise(image, *normalise.statistics(image)), net, divisor)
