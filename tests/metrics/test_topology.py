import math
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage
from skimage.morphology import skeletonize

from geseg.data.images import read_mask
from geseg.metrics.topology import Centrelines, centrelines, cl_dice

Draw = Callable[..., tuple[np.ndarray, np.ndarray, np.ndarray]]


def a_line(width: int, length: int = 30) -> np.ndarray:
    mask = np.zeros((21, 40), bool)
    mask[10 - width // 2 : 11 + width // 2, 5 : 5 + length] = True
    return mask


def test_half_a_line_by_hand() -> None:
    """A line one pixel wide is its own centre line."""
    whole, half = a_line(1), a_line(1, 15)
    c = centrelines(half, whole, np.ones_like(whole))
    assert c == Centrelines(hit_mask=15, length_mask=15, hit_label=15, length_label=30)
    assert cl_dice(c) == pytest.approx(2 / 3)


def test_width_hardly_matters() -> None:
    thin, wide = a_line(1), a_line(5)
    assert cl_dice(centrelines(wide, thin, np.ones_like(thin))) > 0.95, "the Dice is 1/3"


@given(seed=st.integers(0, 2**16), shift=st.integers(0, 3))
def test_it_is_the_formula_of_the_paper(draw_eye: Draw, seed: int, shift: int) -> None:
    """Pixel by pixel from the two skeletons, as fractions."""
    _, label, fov = draw_eye(seed, 40, 36)
    mask = np.roll(label, shift, 0) & (np.random.default_rng(seed).random(label.shape) < 0.95)
    c = centrelines(mask, label, fov)
    inside = [(y, x) for y in range(40) for x in range(36) if fov[y, x]]
    line_mask, line_label = skeletonize(mask & fov), skeletonize(label & fov)
    assert c.length_mask == sum(bool(line_mask[at]) for at in inside)
    assert c.hit_label == sum(bool(line_label[at] and mask[at]) for at in inside)
    if c.hit_mask and c.hit_label:
        precision, sensitivity = Fraction(c.hit_mask, c.length_mask), Fraction(c.hit_label, c.length_label)
        assert cl_dice(c) == pytest.approx(float(2 * precision * sensitivity / (precision + sensitivity)))


def test_images_add_up() -> None:
    one, other = Centrelines(1, 2, 3, 4), Centrelines(10, 20, 30, 40)
    assert one + other == Centrelines(11, 22, 33, 44)
    assert cl_dice(one + other) == pytest.approx(2 * (11 / 22) * (33 / 44) / (11 / 22 + 33 / 44))


def test_outside_of_the_field_of_view_nothing_counts() -> None:
    fov = np.zeros((21, 40), bool)
    fov[:, :20] = True
    mask, label = a_line(3, 30), a_line(3, 20)
    elsewhere = mask.copy()
    elsewhere[:, 20:] = np.random.default_rng(0).random((21, 20)) < 0.5
    assert centrelines(elsewhere, label, fov) == centrelines(mask, label, fov) == centrelines(label, label, fov)


@pytest.mark.parametrize(("vessels", "expected"), [((False, False), math.nan), ((True, False), 0), ((False, True), 0)])
def test_without_vessels(vessels: tuple[bool, bool], expected: float) -> None:
    mask, label = (a_line(3) & present for present in vessels)
    assert cl_dice(centrelines(mask, label, np.ones_like(mask))) == pytest.approx(expected, nan_ok=True)


def test_apart_from_each_other_they_score_0() -> None:
    assert cl_dice(Centrelines(0, 5, 0, 7)) == 0


@given(seed=st.integers(0, 2**16))
def test_every_vessel_has_a_centre_line(seed: int) -> None:
    """So that an empty one means that there is no vessel."""
    rng = np.random.default_rng(seed)
    mask = rng.random(tuple(rng.integers(1, 9, 2))) < rng.random()
    assert (centrelines(mask, mask, np.ones_like(mask)).length_mask > 0) == mask.any()


def test_how_much_a_turn_changes(real_data: Path) -> None:
    """The thinning is not symmetric; the docstring says by how much."""
    folder = real_data / "DRIVE" / "training"
    label = read_mask(folder / "1st_manual" / "21_manual1.gif")
    fov = read_mask(folder / "mask" / "21_training_mask.gif")
    scores = []
    for mirror in (1, -1):
        for turns in range(4):
            mask, *rest = (np.rot90(a[:, ::mirror], turns) for a in (ndimage.binary_erosion(label), label, fov))
            scores.append(cl_dice(centrelines(mask, *rest)))
    assert 0 < np.ptp(scores) < 0.004
