import statistics
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from geseg.data import drawn, quality
from geseg.data.fov import find_fov
from geseg.model.group import SYMMETRIES


def measure(image: np.ndarray) -> quality.Quality:
    return quality.measure(image, find_fov(image))


@pytest.mark.parametrize(("seed", "height", "width"), [(0, 301, 290), (1, 600, 640), (2, 97, 131)])
def test_figures_do_not_change_when_a_photograph_is_moved(seed: int, height: int, width: int) -> None:
    image = drawn.draw(seed, height, width).image
    figures = {
        measure(np.ascontiguousarray(np.moveaxis(move(np.moveaxis(image, -1, 0)), 0, -1))) for move in SYMMETRIES
    }
    assert len(figures) == 1, figures


def test_a_wider_border_changes_nothing() -> None:
    image = drawn.draw(0, 301, 290).image
    assert measure(np.pad(image, [(0, 0), (120, 120), (0, 0)])) == measure(image)


def test_sharpness_falls_with_blur_whatever_the_resolution_and_the_light() -> None:
    coarse, fine = (drawn.draw(3, side, side).image for side in (560, 1120))
    assert abs(measure(coarse).sharpness - measure(fine).sharpness) < 0.5
    last = np.inf
    for sigma in (0, 2, 4, 6):
        blurred = np.stack([ndimage.gaussian_filter(fine[..., k], sigma) for k in range(3)], -1)
        sharpness = measure(blurred).sharpness
        assert sharpness < last
        dark = (blurred * 0.4).astype(np.uint8)
        assert measure(dark).sharpness == pytest.approx(sharpness, abs=0.05)
        last = sharpness


def test_edges_of_a_step_fall_with_the_scale() -> None:
    """A step of height 1 has a largest slope of 1 / (sigma sqrt(2 pi))."""
    plane = np.zeros((41, 41), np.float32)
    plane[:, 20:] = 1
    for sigma in (1.0, 3.0):
        expected = 1 / (sigma * np.sqrt(2 * np.pi))
        assert quality.edges(plane, sigma).max() == pytest.approx(expected, rel=0.1)


@given(seed=st.integers(0, 2**16), height=st.integers(1, 9), width=st.integers(1, 9))
def test_the_median_is_the_lower_one_of_what_is_inside(seed: int, height: int, width: int) -> None:
    rng = np.random.default_rng(seed)
    values, inside = rng.integers(0, 256, (height, width), np.uint8), rng.random((height, width)) < 0.5
    inside[0, 0] = True
    assert quality.median(values, inside) == statistics.median_low(values[inside].tolist())


def test_brightness_redness_and_outline() -> None:
    y, x = np.mgrid[:100, :100] - 49.5
    fov = np.hypot(y, x) < 45
    image = np.zeros((100, 100, 3), np.uint8)
    image[fov] = (120, 60, 30)
    image[fov & (x < 0)] = (40, 80, 20)
    found = quality.measure(image, fov)
    assert found.redness == pytest.approx(0.5, abs=0.01)
    assert found.brightness in (80.0, 100.0, 120.0)
    assert found.fill == pytest.approx(np.pi / 4, abs=0.01)
    assert found.aspect == 1
    assert found.solidity > 0.98


def test_the_smallest_photographs(draw_eye: Callable) -> None:  # type: ignore[type-arg]
    for image in (np.zeros((1, 1, 3), np.uint8), np.full((2, 3, 3), 255, np.uint8), draw_eye(0, 9, 7)[0]):
        assert measure(image).solidity > 0
