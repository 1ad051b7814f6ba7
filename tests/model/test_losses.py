import math
from collections.abc import Callable

import pytest
import torch

from geseg.model.losses import LOSSES, Loss, bce, centre_lines, soft_cldice, soft_dice, soft_iou


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


def test_centre_lines_of_a_bar() -> None:
    """Seven pixels wide, it comes down to its middle row; its probability is that of the bar."""
    bar = torch.zeros(1, 1, 15, 41)
    bar[:, :, 4:11] = 0.75
    lines = centre_lines(bar)[0, 0]
    assert torch.equal(lines[:, 12:29], torch.where(torch.arange(15) == 7, 0.75, 0.0)[:, None].expand(-1, 17))


def test_a_lost_thin_vessel_costs_as_much_as_a_lost_wide_one() -> None:
    label = torch.zeros(1, 1, 32, 64)
    label[:, :, 4:5] = 1
    label[:, :, 16:25] = 1
    thin, wide = label.clone(), label.clone()
    thin[:, :, :10], wide[:, :, 10:] = 0, 0
    losses = [soft_cldice(200 * mask - 100, label, torch.ones_like(label)).item() for mask in (thin, wide)]
    assert losses[0] == pytest.approx(losses[1], abs=0.03)
    dice = [soft_dice(200 * mask - 100, label, torch.ones_like(label)).item() for mask in (thin, wide)]
    assert dice[0] < 0.1 < 0.7 < dice[1]


@pytest.mark.parametrize("turn", [lambda x: x.rot90(1, (2, 3)), lambda x: x.flip(3), lambda x: x.transpose(2, 3)])
def test_centre_lines_turn_with_the_map(turn: Callable[[torch.Tensor], torch.Tensor]) -> None:
    shape = torch.rand(1, 1, 24, 30, generator=torch.manual_seed(0))
    assert torch.equal(centre_lines(turn(shape)), turn(centre_lines(shape)))
