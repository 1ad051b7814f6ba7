"""The working scale: what is scaled, to what, and that turning a photograph turns all of it."""

import numpy as np
import pytest

from geseg.data import scale

RNG = np.random.default_rng(5)


def disc(height: int, width: int, wide: float) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return np.hypot(y - (height - 1) / 2, x - (width - 1) / 2) <= (wide - 1) / 2


@pytest.mark.parametrize(("height", "width"), [(121, 121), (91, 121), (121, 91)])
def test_the_diameter_is_that_of_the_disc_even_where_the_photograph_cuts_it(height: int, width: int) -> None:
    assert scale.diameter(disc(height, width, 101)) == 101


def test_a_field_of_view_without_a_rim_has_no_diameter() -> None:
    assert scale.diameter(np.ones((20, 30), bool)) is None
    assert scale.diameter(np.zeros((20, 30), bool)) is None


@pytest.mark.parametrize(
    ("wide", "expected"),
    [(540.0, 1), (1000.0, 1), (700.0, 1), (1099.0, 1), (492.0, 1), (2000.0, 0.5), (3300.0, 10 / 33), (270.0, 2)],
)
def test_only_what_is_beyond_what_was_learned_is_scaled(wide: float, expected: float) -> None:
    assert scale.factor(wide, (100, 100), (540.0, 1000.0)) == pytest.approx(expected)


def test_a_photograph_without_a_rim_is_reduced_but_never_enlarged() -> None:
    assert scale.factor(None, (4000, 3000), (540.0, 1000.0)) == pytest.approx(0.25)
    assert scale.factor(None, (40, 300), (540.0, 1000.0)) == 1


def test_a_net_that_knows_no_diameter_takes_all_as_it_is() -> None:
    assert scale.factor(3000.0, (3000, 3000), None) == 1


def test_scaled_sides_are_even_and_unscaled_ones_stay() -> None:
    assert scale.scaled_shape((584, 565), 1.0) == (584, 565)
    assert scale.scaled_shape((2336, 3504), 1000 / 3300) == (704, 1056)
    assert scale.scaled_shape((3, 1000), 0.1) == (16, 96)


@pytest.mark.parametrize(("shape", "to"), [((45, 77), (32, 48)), ((45, 77), (64, 112)), ((233, 350), (64, 96))])
def test_scaling_commutes_with_quarter_turns_and_mirrors(shape: tuple[int, int], to: tuple[int, int]) -> None:
    planes = RNG.normal(0, 1, (3, *shape)).astype(np.float32)
    probability = RNG.random(shape, dtype=np.float32)
    there, map_there = scale.resize(planes, to), scale.resize_probability(probability, to)
    for turns in range(4):
        for mirrored in (False, True):

            def move(a: np.ndarray, turns: int = turns, mirrored: bool = mirrored) -> np.ndarray:
                turned = np.rot90(a, turns, (-2, -1))
                return np.ascontiguousarray(turned[..., ::-1] if mirrored else turned)

            shape_there = to if turns % 2 == 0 else to[::-1]
            np.testing.assert_allclose(scale.resize(move(planes), shape_there), move(there), atol=5e-6)
            moved = scale.resize_probability(move(probability), shape_there)
            np.testing.assert_allclose(moved, move(map_there), atol=5e-6)


def test_the_middle_of_a_photograph_stays_its_middle() -> None:
    """The grid is aligned at its borders: a ramp that is odd about the centre stays odd."""
    ramp = np.linspace(-1, 1, 301, dtype=np.float32)[None, :].repeat(50, 0)
    small = scale.resize(ramp, (16, 96))
    np.testing.assert_allclose(small, -small[:, ::-1], atol=1e-5)
    np.testing.assert_allclose(small[8, 24:72], (np.arange(24, 72) + 0.5 - 48) * (301 / 96) / 150, atol=1e-4)


def test_a_thin_vessel_fades_but_keeps_its_area() -> None:
    mask = np.zeros((64, 64), bool)
    mask[:, 31] = True
    shares = scale.shares(mask, (16, 16))
    assert shares.max() == pytest.approx(0.25)
    assert shares.sum() * 16 == pytest.approx(mask.sum())
    assert np.array_equal(scale.shares(mask, (64, 64)), mask)


def test_maps_stay_probabilities_and_certain_ones_certain() -> None:
    p = np.zeros((32, 32), np.float32)
    p[:, 16:] = 1
    large = scale.resize_probability(p, (64, 64))
    assert large.min() >= 0
    assert large.max() <= 1
    assert (large[:, :28] < 0.01).all()
    assert (large[:, 36:] > 0.99).all()
    assert scale.resize_probability(p, (32, 32)) is p
