"""Losses on logits, inside the field of view."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(logits, label, fov), each float[B, 1, H, W], label and fov in [0, 1] -> a scalar."""

Map = Float[Tensor, "b 1 h w"]


def bce(logits: Map, label: Map, fov: Map) -> Float[Tensor, ""]:
    """Binary cross-entropy, mean over the pixels of the field of view, in nats."""
    per_pixel = F.binary_cross_entropy_with_logits(logits, label, reduction="none")
    return (per_pixel * fov).sum() / fov.sum().clamp_min(1)


def soft_dice(logits: Map, label: Map, fov: Map) -> Float[Tensor, ""]:
    """1 - Dice on probabilities, pooled over the batch (Milletari et al. 2016, arXiv:1606.04797, with plain sums).

    Pooled, because a patch without a vessel has no Dice of its own.
    """
    overlap, total = _overlap(logits, label, fov)
    return 1 - (2 * overlap + 1) / (total + 1)


def soft_iou(logits: Map, label: Map, fov: Map) -> Float[Tensor, ""]:
    """1 - intersection over union on probabilities, pooled over the batch (Rahman & Wang 2016)."""
    overlap, total = _overlap(logits, label, fov)
    return 1 - (overlap + 1) / (total - overlap + 1)


def dice_bce(logits: Map, label: Map, fov: Map) -> Float[Tensor, ""]:
    """The sum of both: cross-entropy for probabilities that mean something, Dice for the rare class."""
    return bce(logits, label, fov) + soft_dice(logits, label, fov)


def _overlap(logits: Tensor, label: Tensor, fov: Tensor) -> tuple[Tensor, Tensor]:
    probability = torch.sigmoid(logits) * fov
    label = label * fov
    return (probability * label).sum(), probability.sum() + label.sum()


LOSSES: dict[str, Loss] = {"dice+bce": dice_bce, "dice": soft_dice, "bce": bce, "iou": soft_iou}
