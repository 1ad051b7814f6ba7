"""What another camera would have made of a patch: sharper or softer, and noisier.

Stacks of such changes carried nets over to devices that they had not seen (Zhang et al. 2020, IEEE Transactions on
Medical Imaging 39, "deep stacked transformation"). Their strengths are in `data/augment.py`, and what they brought and
cost here in geseg/weights/EXPERIMENTS.md.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from geseg.data.augment import Draws

SOFT, COARSE = (1, 4, 6, 4, 1), (1, 2, 1)
"""Binomials: how fine the details are that `sharpness` is about, and the grain of coarse noise."""
COARSE_GAIN = 2.5
"""Gives coarse noise about the spread that was drawn: the binomial leaves 3/8 of it."""


def change(image: Tensor, draws: Draws) -> Tensor:
    """float32[B, 3, p, p] as other cameras would have it; in the order of the optics and the sensor.

    With s the `sharpness`, b(x) what x is around a pixel in the mean (`SOFT`) and n noise, x becomes
    x + s (x - b(x)) + n. What has drawn nothing is returned as it is.
    """
    if not (draws.sharpness.any() or draws.noise.any()):
        return image
    sharpness = torch.from_numpy(draws.sharpness).to(image.device)
    return image + sharpness[:, None, None, None] * (image - smooth(image, SOFT)) + _grain(draws, image)


def _grain(draws: Draws, image: Tensor) -> Tensor:
    """Noise of each patch, from its own seed; a GPU draws other numbers than a CPU."""
    grain = torch.zeros_like(image)
    for place, (seed, (fine, coarse)) in enumerate(zip(draws.seeds.tolist(), draws.noise.tolist(), strict=True)):
        if fine or coarse:
            generator = torch.Generator(image.device).manual_seed(seed)
            drawn = torch.randn(image.shape[1:], generator=generator, device=image.device)
            grain[place] = fine * drawn if fine else coarse * COARSE_GAIN * smooth(drawn[None], COARSE)[0]
    return grain


def smooth(image: Tensor, taps: tuple[int, ...]) -> Tensor:
    """The mean over a neighbourhood with the weights `taps` in both directions; what lies outside is the border's."""
    reach, weights = len(taps) // 2, [tap / sum(taps) for tap in taps]
    for axis, pad in ((3, (reach, reach, 0, 0)), (2, (0, 0, reach, reach))):
        wide, size = F.pad(image, pad, mode="replicate"), image.shape[axis]
        image = wide.narrow(axis, 0, size) * weights[0]
        for k, weight in enumerate(weights[1:], 1):
            image.add_(wide.narrow(axis, k, size), alpha=weight)  # many times as fast as a convolution on a CPU
    return image
