"""From an image to its probability map, the same way in training, eval and predict."""

import numpy as np
from jaxtyping import Float32, UInt8

from geseg.data import normalise
from geseg.data.patchfile import WholeImage
from geseg.inference import tiling


def segment_image(image: UInt8[np.ndarray, "h w 3"], net: tiling.Net, divisor: int) -> Float32[np.ndarray, "h w"]:
    """Probability in [0, 1] that a pixel is a vessel, for an image of any size."""
    return tiling.segment(normalise.normalise(image, *normalise.statistics(image)), net, divisor)


def segment_whole(whole: WholeImage, net: tiling.Net, divisor: int) -> Float32[np.ndarray, "h w"]:
    """The same for an image of a patch file, with the brightness and contrast of its photograph.

    Those of the image itself, unless it was cut out of a photograph.
    """
    mean, std = np.array(whole.record.mean), np.array(whole.record.std)
    return tiling.segment(normalise.normalise(whole.image, mean, std), net, divisor)
