"""Brightness and contrast of a photograph, brought to a common scale; no field of view is needed for it."""

import numpy as np
from jaxtyping import Bool, Float32, Float64, UInt8
from PIL import Image

NORMALISATION = (
    "(image - mean) / std per channel of the 8-bit RGB image, where mean and std are those of its lit pixels: "
    "the pixels whose red value exceeds a tenth of its largest red value; mean 0 without any; a std of 0 counts as 1"
)
"""The rule in words, for the headers of models."""


def lit(image: UInt8[np.ndarray, "h w 3"]) -> Bool[np.ndarray, "h w"]:
    """The pixels whose red value exceeds a tenth of the largest: retina is red, the black border is not."""
    red = image[:, :, 0]
    return np.asarray(red > int(red.max()) // 10)  # for whole numbers the same as red > max / 10


def statistics(image: UInt8[np.ndarray, "h w 3"]) -> tuple[Float64[np.ndarray, "3"], Float64[np.ndarray, "3"]]:
    """Mean and standard deviation per channel of the lit pixels of an image, in grey values [0, 255].

    From histograms and whole numbers, so that an image and its turned or mirrored copies get the same to the last bit.
    An image without a lit pixel gets mean 0; a channel without contrast gets standard deviation 1.
    """
    inside = lit(image)
    count, values, only = int(np.count_nonzero(inside)), np.arange(256), Image.fromarray(inside.view(np.uint8))
    mean, std = np.zeros(3), np.ones(3)
    if count:
        for channel in range(3):
            times = np.array(Image.fromarray(np.ascontiguousarray(image[:, :, channel])).histogram(only))
            total, squares = int(times @ values), int(times @ values**2)
            mean[channel] = total / count
            std[channel] = np.sqrt((count * squares - total**2) / count**2) or 1.0
    return mean, std


def normalise(
    image: UInt8[np.ndarray, "h w 3"], mean: Float64[np.ndarray, "3"], std: Float64[np.ndarray, "3"]
) -> Float32[np.ndarray, "3 h w"]:
    """(image - mean) / std everywhere, channels first, in float32."""
    planes = np.empty((3, *image.shape[:2]), np.float32)
    for channel, plane in enumerate(planes):
        np.subtract(image[:, :, channel], np.float32(mean[channel]), out=plane, dtype=np.float32)
        plane /= np.float32(std[channel])
    return planes
