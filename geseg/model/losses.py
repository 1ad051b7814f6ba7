"""Losses on logits, inside the field of view."""

from collections.abc import Callable
from typing import Protocol

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

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


def _overlap(logits: Tensor, label: Tensor, fov: Tensor, total: Total) -> tuple[Tensor, Tensor]:
    probability = torch.sigmoid(logits) * fov
    label = label * fov
    return total(probability * label), total(probability) + total(label)


LOSSES: dict[str, Loss] = {"dice+bce": dice_bce, "dice": soft_dice, "bce": bce, "iou": soft_iou}
