"""What happens to each training sample: numbers only, drawn per sample; `steps/batches.py` applies them in torch."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

SCALES = (0.8, 1.25)
"""A vessel is drawn at 0.8 to 1.25 times its width: about what separates the cameras of one clinic."""
GAIN, CHANNEL_GAIN = 0.25, 0.1
SHIFT, CHANNEL_SHIFT = 0.3, 0.15
"""Spread (standard deviations of the normalised image) of what is added to all channels and to each one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """Which changes are drawn; each can be switched off."""

    colour: bool = True
    scale: bool = True
    mirror: bool = True
    rotation: bool = True


@dataclass(frozen=True, slots=True)
class Draws:
    """What happens to b samples.

    `matrices` map output to input coordinates about the centre of the patch, in pixels; a normalised image x becomes
    gains * x + shifts.
    """

    matrices: Float[np.ndarray, "b 2 2"]
    gains: Float[np.ndarray, "b 3"]
    shifts: Float[np.ndarray, "b 3"]


def draw(augmentation: Augmentation, seed: int, epoch: int, samples: Sequence[int]) -> Draws:
    """Draw for each sample from (seed, epoch, sample) alone, so that batches, workers and resuming change nothing."""
    return stack([_draw_one(augmentation, np.random.default_rng((seed, epoch, sample))) for sample in samples])


def stack(draws: Sequence[Draws]) -> Draws:
    """One `Draws` of all samples in order."""
    return Draws(*(np.concatenate([getattr(d, name) for d in draws]) for name in ("matrices", "gains", "shifts")))


def _draw_one(augmentation: Augmentation, rng: np.random.Generator) -> Draws:
    """All numbers are always drawn, so that switching one change off leaves the others as they were."""
    angle, log_scale, mirror = rng.uniform(0, 2 * np.pi), rng.uniform(*np.log(SCALES)), rng.random() < 0.5
    gains = np.exp(rng.uniform(-GAIN, GAIN) + rng.uniform(-CHANNEL_GAIN, CHANNEL_GAIN, 3))
    shifts = rng.normal(0, SHIFT) + rng.normal(0, CHANNEL_SHIFT, 3)
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
    )
