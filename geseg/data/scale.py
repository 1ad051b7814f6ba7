"""The working scale: photographs of any camera, brought to fields of view as wide as those that a net learned from."""

import math
from typing import TypeAlias

import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8
from PIL import Image

TOLERANCE = 1.1
"""A field of view wider or narrower than those learned from by less than this factor stays as it is: interpolating it
would cost more than it gains."""
STEP = 16
"""Sides of what was scaled are multiples of it: no side is odd, and nets of up to four poolings need no padding."""
SAFE = 1e-6
"""Probabilities this near to 0 and 1 count as this near, so that their logits are finite."""


Diameters: TypeAlias = tuple[float, float]
"""Of the fields of view that a net learned from, in pixels: the narrowest and the widest."""


def diameter(fov: Bool[np.ndarray, "h w"]) -> float | None:
    """How wide a field of view is in pixels: the longer side of its bounding box, which no cut at two sides changes.

    None where it fills the photograph, which may then be any part of one, or is empty.
    """
    if fov.all() or not fov.any():
        return None
    sides = (np.flatnonzero(fov.any(axis=axis)) for axis in (0, 1))
    return float(max(side[-1] - side[0] + 1 for side in sides))


def factor(wide: float | None, shape: tuple[int, int], learned: Diameters | None) -> float:
    """What to scale a photograph by, for a net to see vessels about as wide as it knows them.

    Args:
        wide: diameter of the field of view in pixels. If it is not known, it is at least the longer side, so that a
            photograph may be reduced, but is never enlarged.
        shape: height and width of the photograph.
        learned: None for a net that takes everything as it is; the factor is then 1.
    """
    low, high = learned or (0.0, math.inf)
    known = max(shape) if wide is None else wide
    if low / TOLERANCE <= known <= high * TOLERANCE or (wide is None and known < low):
        return 1.0
    return (high if known > high else low) / known


def scaled_shape(shape: tuple[int, int], by: float) -> tuple[int, int]:
    """Height and width once scaled: the same for a factor of 1, else the nearest multiples of `STEP`, at least one."""
    if by == 1:
        return shape
    height, width = (STEP * max(1, round(side * by / STEP)) for side in shape)
    return height, width


def resize(
    planes: Float32[np.ndarray, "*c h w"] | UInt8[np.ndarray, "*c h w"], shape: tuple[int, int]
) -> Float32[np.ndarray, "*c h2 w2"]:
    """Interpolate with cubics, and with the average where it shrinks; values may overshoot by a little.

    In float32, in which Pillow's interpolation commutes with quarter turns and mirrors to 2e-5 of the range of values.
    """
    if planes.shape[-2:] == shape:
        return planes.astype(np.float32, order="C", copy=False)
    return _each(planes, shape, Image.Resampling.BICUBIC)


def shares(mask: Bool[np.ndarray, "h w"], shape: tuple[int, int]) -> Float32[np.ndarray, "h2 w2"]:
    """How much of each pixel of a smaller image a mask covers, in [0, 1]: a thin vessel fades, but is not lost."""
    if mask.shape == shape:
        return mask.astype(np.float32)
    return _each(mask, shape, Image.Resampling.BOX)


def resize_probability(probability: Float[np.ndarray, "h w"], shape: tuple[int, int]) -> Float32[np.ndarray, "h2 w2"]:
    """Interpolate a map of probabilities as logits, which are nearly linear across the edge of a vessel."""
    if probability.shape == shape:
        return probability.astype(np.float32, copy=False)
    p = np.clip(probability.astype(np.float32, copy=False), SAFE, 1 - SAFE)
    result = resize(np.log(p / (1 - p)), shape)
    np.negative(result, out=result)  # 1 / (1 + exp(-logits)) in one array: a large photograph fills the memory else
    np.exp(result, out=result)
    result += 1
    np.divide(1, result, out=result)
    return result


def _each(planes: np.ndarray, shape: tuple[int, int], how: Image.Resampling) -> np.ndarray:
    height, width = shape
    flat = planes.reshape(-1, *planes.shape[-2:])
    out = np.empty((len(flat), height, width), np.float32)
    for plane, scaled in zip(flat, out, strict=True):
        pixels = Image.fromarray(plane.astype(np.float32, copy=False))  # one after the other: it needs less memory
        scaled[:] = np.asarray(pixels.resize((width, height), how))
    return out.reshape(*planes.shape[:-2], height, width)
