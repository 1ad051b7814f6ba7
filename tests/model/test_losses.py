import math

import pytest
import torch

from geseg.model.losses import LOSSES, Loss, bce, soft_dice, soft_iou


def maps(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32).reshape(1, 1, 1, -1)


def test_values_by_hand() -> None:
    logits, label, fov = maps(0.0, 100.0, -100.0, 50.0), maps(1, 1, 0, 0), maps(1, 1, 1, 0)
    assert bce(logits, label, fov).item() == pytest.approx(math.log(2) / 3)
    assert soft_dice(logits, label, fov).item() == pytest.approx(1 - (2 * 1.5 + 1) / (1.5 + 2 + 1))
    assert soft_iou(logits, label, fov).item() == pytest.approx(1 - (1.5 + 1) / (1.5 + 2 - 1.5 + 1))


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_what_lies_outside_the_field_of_view_does_not_matter(loss: Loss) -> None:
    torch.manual_seed(0)
    logits, label, fov = torch.randn(2, 1, 8, 8), (torch.rand(2, 1, 8, 8) > 0.8).float(), torch.ones(2, 1, 8, 8)
    fov[:, :, :, 4:] = 0
    spoilt = torch.where(fov > 0, logits, torch.full_like(logits, 20.0)).requires_grad_()
    value = loss(spoilt, label, fov)
    assert value.item() == pytest.approx(loss(logits, torch.where(fov > 0, label, 1 - label), fov).item())
    (gradient,) = torch.autograd.grad(value, spoilt)
    assert gradient[fov == 0].abs().max() == 0
    assert gradient[fov > 0].abs().max() > 0


@pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)
def test_a_perfect_answer_costs_nothing_and_an_empty_batch_is_no_nan(loss: Loss) -> None:
    label = (torch.rand(2, 1, 8, 8) > 0.8).float()
    assert loss(200 * label - 100, label, torch.ones_like(label)).item() < 1e-6
    assert math.isfinite(loss(200 * label - 100, label, torch.zeros_like(label)).item())
