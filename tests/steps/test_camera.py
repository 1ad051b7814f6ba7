import pytest
import torch

from geseg.data.augment import Augmentation, Draws, draw
from geseg.steps import camera

STILL = Augmentation(colour=False, scale=False, mirror=False, rotation=False)
SIDE = 64


def changed(image: torch.Tensor, **fields: object) -> torch.Tensor:
    """One image after the changes that are named."""
    draws = draw(STILL, 0, 0, [0])
    for name, value in fields.items():
        getattr(draws, name)[0] = value
    return camera.change(image[None], draws)[0]


@pytest.fixture
def image() -> torch.Tensor:
    return torch.randn((3, SIDE, SIDE), generator=torch.Generator().manual_seed(0))


def test_nothing_drawn_changes_nothing(image: torch.Tensor) -> None:
    assert torch.equal(changed(image), image)


def test_sharpness_takes_details_away_or_adds_them(image: torch.Tensor) -> None:
    details = [(changed(image, sharpness=s).diff(dim=2)).std().item() for s in (-1, -0.5, 0, 0.5, 1)]
    assert details == sorted(details)
    assert details[0] < 0.25 * details[2] < 0.2 * details[4]
    flat = torch.full_like(image, 0.7)
    torch.testing.assert_close(changed(flat, sharpness=-1), flat)
    torch.testing.assert_close(changed(flat, sharpness=1), flat)


def test_softening_is_the_mean_with_binomial_weights() -> None:
    point = torch.zeros(3, 9, 9)
    point[:, 4, 4] = 1
    row = torch.tensor([0, 0, 1, 4, 6, 4, 1, 0, 0]) / 16
    torch.testing.assert_close(changed(point, sharpness=-1)[1], torch.outer(row, row))


@pytest.mark.parametrize("noise", [(0.2, 0), (0, 0.2)])
def test_noise_has_the_spread_that_was_drawn(noise: tuple[float, float], image: torch.Tensor) -> None:
    added = changed(image, noise=noise, seeds=5) - image
    assert added.std().item() == pytest.approx(0.2, rel=0.1)
    assert added.mean().abs() < 0.02
    assert torch.equal(changed(image, noise=noise, seeds=5) - image, added)
    assert not torch.equal(changed(image, noise=noise, seeds=6) - image, added)


def test_coarse_noise_has_a_coarser_grain(image: torch.Tensor) -> None:
    fine, coarse = (changed(image, noise=noise) - image for noise in ((0.2, 0), (0, 0.2)))
    alike = [torch.corrcoef(torch.stack([x[:, :, 1:].flatten(), x[:, :, :-1].flatten()]))[0, 1] for x in (fine, coarse)]
    assert abs(alike[0]) < 0.05 < 0.5 < alike[1]


def test_a_patch_is_changed_alike_in_any_batch() -> None:
    together: Draws = draw(Augmentation(camera=True), 0, 0, range(6))
    images = torch.randn(6, 3, SIDE, SIDE)
    whole = camera.change(images, together)
    for place in range(6):
        alone = camera.change(images[place : place + 1], draw(Augmentation(camera=True), 0, 0, [place]))
        torch.testing.assert_close(whole[place : place + 1], alone)
