"""Cut training patches out of a photograph, its label and its field of view."""

import numpy as np
from jaxtyping import Bool, Int64, UInt8


def cut(
    image: UInt8[np.ndarray, "h w 3"],
    label: Bool[np.ndarray, "h w"],
    fov: Bool[np.ndarray, "h w"],
    size: int,
    count: int,
    rng: np.random.Generator,
) -> UInt8[np.ndarray, "n p p 5"]:
    """Cut `count` square patches of `size` pixels around random pixels of the field of view.

    Args:
        image: the photograph.
        label: what is to be segmented.
        fov: where the photograph shows something; at least one pixel.
        size: side of a patch in pixels.
        count: number of patches.
        rng: decides the centres.

    Returns:
        Per pixel red, green, blue, label and field of view, the last two as 0 or 255.
    """
    layers = stack_layers(image, label, fov, size)
    return np.stack([layers[y : y + size, x : x + size] for y, x in draw_corners(layers, size, count, rng)])


def stack_layers(
    image: UInt8[np.ndarray, "h w 3"], label: Bool[np.ndarray, "h w"], fov: Bool[np.ndarray, "h w"], size: int
) -> UInt8[np.ndarray, "hb wb 5"]:
    """What patches are cut from; with a black border outside of the field of view if smaller than a patch."""
    layers = np.dstack([image, label.astype(np.uint8) * np.uint8(255), fov.astype(np.uint8) * np.uint8(255)])
    short = [max(0, size - side) for side in fov.shape]
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
