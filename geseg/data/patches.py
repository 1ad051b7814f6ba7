"""Cut training patches out of a photograph, its label and its field of view."""

import numpy as np
from jaxtyping import Bool, Float32, Int64, UInt8

from geseg.data import scale


def stack_layers(
    image: UInt8[np.ndarray, "h w 3"],
    label: Bool[np.ndarray, "h w"],
    fov: Bool[np.ndarray, "h w"],
    shape: tuple[int, int],
) -> UInt8[np.ndarray, "h2 w2 5"]:
    """What patches are cut from, scaled to `shape`.

    Per pixel red, green, blue, the label, from 0 to 255 for none to all of a scaled pixel, and field of view, 0 or 255.
    """
    planes = scale.resize(np.moveaxis(image, -1, 0), shape).transpose(1, 2, 0)
    inside = scale.shares(fov, shape) > 0.5
    return np.dstack([_levels(planes), _levels(255 * scale.shares(label, shape)), _levels(np.float32(255) * inside)])


def _levels(values: Float32[np.ndarray, "*h"]) -> UInt8[np.ndarray, "*h"]:
    levels: np.ndarray = np.clip(np.rint(values), 0, 255).astype(np.uint8)
    return levels


def cut(
    layers: UInt8[np.ndarray, "h w 5"], size: int, count: int, rng: np.random.Generator
) -> UInt8[np.ndarray, "n p p 5"]:
    """Cut `count` square patches of `size` pixels around random pixels of the field of view, at least one.

    What is smaller than a patch gets a black border outside of its field of view.
    """
    wide = pad(layers, size)
    return np.stack([wide[y : y + size, x : x + size] for y, x in draw_corners(wide, size, count, rng)])


def pad(layers: UInt8[np.ndarray, "h w 5"], size: int) -> UInt8[np.ndarray, "hb wb 5"]:
    """With a black border outside of the field of view where they are smaller than a patch."""
    short = [max(0, size - side) for side in layers.shape[:2]]
    return np.pad(layers, [(s // 2, s - s // 2) for s in short] + [(0, 0)])


def draw_corners(
    layers: UInt8[np.ndarray, "h w 5"], size: int, count: int, rng: np.random.Generator
) -> Int64[np.ndarray, "n 2"]:
    """Row and column of the first pixel of each patch.

    Centres are drawn uniformly from the field of view, with repetition, and patches that would leave the image are
    moved back into it.
    """
    inside = np.flatnonzero(layers[:, :, 4])
    assert inside.size, "a field of view has at least one pixel"
    centres = np.stack(np.unravel_index(rng.choice(inside, count), layers.shape[:2]), axis=1)
    return np.clip(centres - size // 2, 0, np.array(layers.shape[:2]) - size)
