"""Losses on logits, inside the field of view."""

from collections.abc import Callable
from typing import Protocol

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

SHRINKINGS = 8
"""By a pixel from each side, after which what is left of a vessel is taken as its centre line."""
CENTRE_LINES = 0.5
"""Weight of the centre lines beside Dice + cross-entropy."""

Total = Callable[[Tensor], Tensor]
"""Adds up a tensor: `torch.sum`, or what also adds the parts of the batch that other processes have."""


class Loss(Protocol):
    """(logits, label, fov), each float[B, 1, H, W], label and fov in [0, 1] -> a scalar."""

    def __call__(self, logits: Tensor, label: Tensor, fov: Tensor, total: Total = torch.sum) -> Tensor: ...


Map = Float[Tensor, "b 1 h w"]


def bce(logits: Map, label: Map, fov: Map, total: Total = torch.sum) -> Float[Tensor, ""]:
    """Binary cross-entropy, mean over the pixels of the field of view, in nats."""
    per_pixel = F.binary_cross_entropy_with_logits(logits, label, reduction="none")
    return total(per_pixel * fov) / total(fov).clamp_min(1)


def soft_dice(logits: Map, label: Map, fov: Map, total: Total = torch.sum) -> Float[Tensor, ""]:
    """1 - Dice on probabilities, pooled over the batch (Milletari et al. 2016, arXiv:1606.04797, with plain sums).

    Pooled, because a patch without a vessel has no Dice of its own.
    """
    overlap, both = _overlap(logits, label, fov, total)
    return 1 - (2 * overlap + 1) / (both + 1)


def soft_iou(logits: Map, label: Map, fov: Map, total: Total = torch.sum) -> Float[Tensor, ""]:
    """1 - intersection over union on probabilities, pooled over the batch (Rahman & Wang 2016)."""
    overlap, both = _overlap(logits, label, fov, total)
    return 1 - (overlap + 1) / (both - overlap + 1)


def dice_bce(logits: Map, label: Map, fov: Map, total: Total = torch.sum) -> Float[Tensor, ""]:
    """The sum of both: cross-entropy for probabilities that mean something, Dice for the rare class."""
    return bce(logits, label, fov, total) + soft_dice(logits, label, fov, total)


def soft_cldice(logits: Map, label: Map, fov: Map, total: Total = torch.sum) -> Float[Tensor, ""]:
    """1 - clDice on probabilities, pooled over the batch (Shit et al. 2021, arXiv:2003.07311, algorithms 1 and 2).

    The share of the mask's centre lines that lie in the label, and of the label's that lie in the mask, as a harmonic
    mean: a thin vessel counts as much as a wide one of its length.
    """
    probability, label = torch.sigmoid(logits) * fov, label * fov
    with torch.no_grad():
        drawn = centre_lines(label)
    found = centre_lines(probability)
    precision = (total(found * label) + 1) / (total(found) + 1)
    sensitivity = (total(drawn * probability) + 1) / (total(drawn) + 1)
    return 1 - 2 * precision * sensitivity / (precision + sensitivity)


def dice_bce_cldice(logits: Map, label: Map, fov: Map, total: Total = torch.sum) -> Float[Tensor, ""]:
    """Dice + cross-entropy, and the centre lines: finds more of the thin vessels."""
    return dice_bce(logits, label, fov, total) + CENTRE_LINES * soft_cldice(logits, label, fov, total)


def centre_lines(shape: Map) -> Map:
    """How far each pixel is on a ridge of a map in [0, 1]: what an opening takes away, at every width of the vessel.

    Commutes with quarter turns and mirrors.
    """
    smaller = _erode(shape)
    lines = F.relu(shape - _dilate(smaller))
    for _ in range(SHRINKINGS):
        shape, smaller = smaller, _erode(smaller)
        ridge = F.relu(shape - _dilate(smaller))
        lines = lines + F.relu(ridge - lines * ridge)
    return lines


def _erode(shape: Tensor) -> Tensor:
    """The least of each pixel and its four neighbours."""
    down = F.max_pool2d(-shape, (3, 1), 1, (1, 0))
    across = F.max_pool2d(-shape, (1, 3), 1, (0, 1))
    return -torch.maximum(down, across)


def _dilate(shape: Tensor) -> Tensor:
    """The largest of each pixel and its eight neighbours."""
    return F.max_pool2d(shape, 3, 1, 1)


def _overlap(logits: Tensor, label: Tensor, fov: Tensor, total: Total) -> tuple[Tensor, Tensor]:
    probability = torch.sigmoid(logits) * fov
    label = label * fov
    return total(probability * label), total(probability) + total(label)


LOSSES: dict[str, Loss] = {
    "dice+bce": dice_bce,
    "dice+bce+cldice": dice_bce_cldice,
    "dice": soft_dice,
    "bce": bce,
    "iou": soft_iou,
}
