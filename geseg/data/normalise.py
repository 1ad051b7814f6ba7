"""Brightness and contrast of a photograph, brought to a common scale; no field of view is needed for it."""

import math

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64, UInt8
from PIL import Image

NORMALISATION = (
    "(image - mean) / contrast per channel of the 8-bit RGB image; both of its lit pixels, those whose red value "
    "exceeds a tenth of its largest red value. mean: 0 without any. contrast: their standard deviation, where 0 counts "
    "as 1, times a factor that all channels share. factor: 6 times the mean of the smallest 4/5 of the differences of "
    "green between two lit pixels in one row or column that are 1 % of the diameter of a disc of as many lit pixels "
    "apart, divided by the standard deviation of green; at least 0.3 and at most 3"
)
"""The rule in words, for the headers of models."""
APART = 0.01
"""How far apart the two pixels of a difference are, in diameters of the retina: about the width of a vessel."""
GAIN, LEAST, MOST = 6.0, 0.3, 3.0
"""Contrast in typical differences, and the range of the factor; on seven photographs of four sets it was 0.6 to 1.2."""


def lit(image: UInt8[np.ndarray, "h w 3"]) -> Bool[np.ndarray, "h w"]:
    """The pixels whose red value exceeds a tenth of the largest: retina is red, the black border is not."""
    red = image[:, :, 0]
    return np.asarray(red > int(red.max()) // 10)  # for whole numbers the same as red > max / 10


def statistics(image: UInt8[np.ndarray, "h w 3"]) -> tuple[Float64[np.ndarray, "3"], Float64[np.ndarray, "3"]]:
    """Mean and contrast per channel of the lit pixels of an image, in grey values [0, 255].

    The contrast is the standard deviation times a factor that makes photographs alike in how far a vessel stands out
    from what is beside it. By the standard deviation alone they are not: shading and spots decide it.

    From histograms and whole numbers, so that an image and its turned or mirrored copies get the same to the last bit.
    An image without a lit pixel gets mean 0; a channel without contrast gets standard deviation 1.
    """
    inside = lit(image)
    count, values, mean, std = int(np.count_nonzero(inside)), np.arange(256), np.zeros(3), np.ones(3)
    if not count:
        return mean, std
    for channel in range(3):
        times = histogram(image[:, :, channel], inside)
        total, squares = int(times @ values), int(times @ values**2)
        mean[channel] = total / count
        std[channel] = math.sqrt((count * squares - total**2) / count**2) or 1.0
    apart = max(1, round(APART * 2 * math.sqrt(count / math.pi)))
    factor = GAIN * typical_difference(image[:, :, 1], inside, apart) / std[1]
    return mean, std * min(max(factor, LEAST), MOST)


def typical_difference(channel: UInt8[np.ndarray, "h w"], inside: Bool[np.ndarray, "h w"], apart: int) -> float:
    """Mean of the smallest 4/5 of all differences |a - b| of two pixels inside, `apart` in a row or a column.

    The largest fifth is left out, so that a few strong edges do not decide it. 0 without any difference.
    """
    times = np.zeros(256, np.int64)
    for near, far in ((np.s_[:-apart], np.s_[apart:]), (np.s_[:, :-apart], np.s_[:, apart:])):
        a, b = channel[near], channel[far]
        times += histogram(np.maximum(a, b) - np.minimum(a, b), inside[near] & inside[far])
    kept = int(times.sum()) * 4 // 5
    before = np.cumsum(times) - times
    return int(np.clip(kept - before, 0, times) @ np.arange(256)) / max(kept, 1)


def normalise(
    planes: Float32[np.ndarray, "3 h w"], mean: Float64[np.ndarray, "3"], contrast: Float64[np.ndarray, "3"]
) -> Float32[np.ndarray, "3 h w"]:
    """(planes - mean) / contrast of the channels of an image, which may be scaled, in float32."""
    result = planes - mean.astype(np.float32)[:, None, None]
    result /= contrast.astype(np.float32)[:, None, None]
    return result


def histogram(values: UInt8[np.ndarray, "h w"], inside: Bool[np.ndarray, "h w"]) -> Int64[np.ndarray, "256"]:
    """How often each value is found inside; Pillow is many times as fast as numpy at it."""
    if not values.size:
        return np.zeros(256, np.int64)
    pixels, only = (Image.fromarray(np.ascontiguousarray(array)) for array in (values, inside.view(np.uint8)))
    return np.array(pixels.histogram(only), np.int64)
