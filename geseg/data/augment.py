"""What happens to each training sample: numbers only, drawn per sample; `steps/batches.py` applies them in torch."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int64
from scipy import ndimage

SCALES = (2 / 3, 2.5)
"""A vessel is drawn at 0.67 to 2.5 times its width: fields of view of equal width in pixels span 30 to 60 degrees, and
with 1.5 in place of 2.5 a net lost the wide vessels of a camera that it did not know (geseg/weights/EXPERIMENTS.md)."""
UNSAMPLED = 0.35
"""Share of the patches that are only turned by quarter turns: turning the others takes away the noise of the camera,
which the network has to know."""
GAIN, CHANNEL_GAIN = 0.25, 0.1
SHIFT, CHANNEL_SHIFT = 0.3, 0.15
"""Spread (standard deviations of the normalised image) of what is added to all channels and to each one."""
SHADING, CHANNEL_SHADING = 0.25, 0.1
"""Largest spread, likewise, of the blotches that are added to all channels and to each one."""
CHOROID, CHANNEL_CHOROID = 1.5, ((0.0, 0.5, 0.2), (0.5, 1.0, 0.8))
"""Largest strength of the texture that is added in the manner of the choroid, whose vessels are not to be segmented
(bright patches with soft dark lines between them), and the least and largest share of it in red, green and blue: in an
eye whose choroid shows, its contrast was measured as 0 in red, 0.4 in green, 0.2 in blue. Most draws are weak."""
BLOTCHES, CHOROID_BLOTCHES = 12, (4, 12)
"""Blotches along the side of a patch: of 128 pixels, 11 for each, or 11 to 32, about the choroid's vessels' spacing."""
SHARPNESS, NOISE = 1.0, 0.25
"""Largest share of its fine details that a patch loses or gets once more, and largest spread of the noise that is
added; each to half of the patches. Most draws of noise are weak. What they bring, and what they cost, is in
geseg/weights/EXPERIMENTS.md."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """Which changes are drawn; that of the camera is for nets that shall segment photographs of cameras new to them."""

    colour: bool = True
    camera: bool = False
    scale: bool = True
    mirror: bool = True
    rotation: bool = True


@dataclass(frozen=True, slots=True)
class Draws:
    """What happens to b samples.

    `matrices` map output to input coordinates about the centre of the patch, in pixels; a normalised image x becomes
    gains * x, in the field of view plus shifts, `blotches` and the absolute values of `choroid`, these two
    stretched over the patch and the last one smoothed. What follows is the camera's, see `steps/camera.py`: `sharpness`
    in [-1, 1], the spreads of fine and of coarse noise, at most one of which is not 0, and the `seeds` to draw it from.
    """

    matrices: Float[np.ndarray, "b 2 2"]
    gains: Float[np.ndarray, "b 3"]
    shifts: Float[np.ndarray, "b 3"]
    blotches: Float[np.ndarray, "b 3 n n"]
    choroid: Float[np.ndarray, "b 3 n n"]
    sharpness: Float[np.ndarray, " b"]
    noise: Float[np.ndarray, "b 2"]
    seeds: Int64[np.ndarray, " b"]


def draw(augmentation: Augmentation, seed: int, epoch: int, samples: Sequence[int]) -> Draws:
    """Draw for each sample from (seed, epoch, sample) alone, so that batches, workers and resuming change nothing."""
    return stack([_draw_one(augmentation, np.random.default_rng((seed, epoch, sample))) for sample in samples])


def stack(draws: Sequence[Draws]) -> Draws:
    """One `Draws` of all samples in order."""
    return Draws(*(np.concatenate([getattr(d, f.name) for d in draws]) for f in dataclasses.fields(Draws)))


def _draw_one(augmentation: Augmentation, rng: np.random.Generator) -> Draws:
    """All numbers are always drawn, so that switching one change off leaves the others as they were."""
    angle, log_scale, mirror = rng.uniform(0, 2 * np.pi), rng.uniform(*np.log(SCALES)), rng.random() < 0.5
    if rng.random() < UNSAMPLED:
        angle, log_scale = np.pi / 2 * np.floor(angle / (np.pi / 2)), 0.0
    gains = np.exp(rng.uniform(-GAIN, GAIN) + rng.uniform(-CHANNEL_GAIN, CHANNEL_GAIN, 3))
    shifts = rng.normal(0, SHIFT) + rng.normal(0, CHANNEL_SHIFT, 3)
    grey, choroid, *colours = rng.standard_normal((5, BLOTCHES, BLOTCHES))
    blotches = rng.uniform(0, SHADING) * grey + rng.uniform(0, CHANNEL_SHADING) * np.array(colours)
    n = rng.integers(*CHOROID_BLOTCHES, endpoint=True)
    choroid = ndimage.zoom(choroid[:n, :n], BLOTCHES / n, order=1, grid_mode=True, mode="nearest")
    choroid = CHOROID * rng.random() ** 2 * rng.uniform(*CHANNEL_CHOROID)[:, None, None] * choroid
    matrix = np.eye(2)
    if augmentation.rotation:
        matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    if augmentation.scale:
        matrix = matrix * np.exp(-log_scale)
    if augmentation.mirror and mirror:
        matrix = matrix @ np.diag([-1.0, 1.0])
    colour = augmentation.colour
    return Draws(
        matrices=matrix[None].astype(np.float32),
        gains=(gains if colour else np.ones(3))[None].astype(np.float32),
        shifts=(shifts if colour else np.zeros(3))[None].astype(np.float32),
        blotches=(blotches if colour else np.zeros_like(blotches))[None].astype(np.float32),
        choroid=(choroid if colour else np.zeros_like(choroid))[None].astype(np.float32),
        **_draw_camera(rng, augmentation.camera),
    )


def _draw_camera(rng: np.random.Generator, varied: bool) -> dict[str, np.ndarray]:
    """The last fields of `Draws`: after all others, which are the same with and without them."""
    sharpness = rng.uniform(-SHARPNESS, SHARPNESS) * (rng.random() < 0.5)
    noise, fine = NOISE * rng.random() ** 2 * (rng.random() < 0.5), rng.random() < 0.5
    return {
        "sharpness": np.array([sharpness * varied], np.float32),
        "noise": np.array([[noise * fine * varied, noise * (not fine) * varied]], np.float32),
        "seeds": rng.integers(2**63, size=1),
    }
