"""The field of view: what it keeps, when it is the whole image, and that it turns with the image."""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from geseg.data.fov import close, find_fov, hull_area
from geseg.data.images import read_image, read_mask

Draw = Callable[..., tuple[np.ndarray, np.ndarray, np.ndarray]]


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * np.sum(a & b) / (np.sum(a) + np.sum(b)))


def test_a_drawn_eye_has_its_disc(draw_eye: Draw) -> None:
    image, label, fov = draw_eye(0, 240, 260)
    found = find_fov(image)
    assert dice(found, fov) > 0.99
    assert found[label].mean() > 0.995


def test_vessels_that_cut_the_disc_are_part_of_it(draw_eye: Draw) -> None:
    image, _, fov = draw_eye(0, 240, 260)
    image[118:124] = 4  # black from rim to rim
    assert find_fov(image)[fov].mean() > 0.99


def test_lights_beside_the_disc_are_not(draw_eye: Draw) -> None:
    image, _, _ = draw_eye(0, 240, 260)
    image[2:12, 2:40] = 200
    assert not find_fov(image)[2:12, 2:40].any()


@pytest.mark.parametrize(
    "image",
    [
        np.full((40, 50, 3), 120, np.uint8),
        np.zeros((40, 50, 3), np.uint8),
        np.zeros((1, 1, 3), np.uint8),
    ],
    ids=["all lit", "all black", "one pixel"],
)
def test_images_without_a_border_are_seen_whole(image: np.ndarray) -> None:
    assert find_fov(image).all()


def test_photographs_of_other_things_are_seen_whole() -> None:
    speck, cross = np.zeros((2, 200, 200, 3), np.uint8)
    speck[80:120, 80:120] = 200  # too little
    cross[70:130] = cross[:, 70:130] = 200  # enough, but far from convex
    assert find_fov(speck).all()
    assert find_fov(cross).all()


@given(
    seed=st.integers(0, 2**16),
    height=st.integers(1, 60),
    width=st.integers(1, 60),
    turns=st.integers(0, 3),
    mirror=st.booleans(),
)
def test_it_moves_with_the_image(draw_eye: Draw, seed: int, height: int, width: int, turns: int, mirror: bool) -> None:
    """On specks of light as well as on discs, also where two specks are equally large."""
    rng = np.random.default_rng(seed)
    image = draw_eye(seed, height, width)[0]
    image[rng.random((height, width)) < rng.choice([0.0, 0.3, 0.9])] = 0

    def move(a: np.ndarray) -> np.ndarray:
        return np.rot90(a[:, ::-1] if mirror else a, turns)

    np.testing.assert_array_equal(find_fov(np.ascontiguousarray(move(image))), move(find_fov(image)))


@given(seed=st.integers(0, 2**16), height=st.integers(1, 40), width=st.integers(1, 40), radius=st.integers(1, 9))
def test_closing_is_that_of_the_definition(seed: int, height: int, width: int, radius: int) -> None:
    mask = np.random.default_rng(seed).random((height, width)) < 0.05
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    disc, margin = y**2 + x**2 <= radius**2, 2 * radius
    expected = ndimage.binary_closing(np.pad(mask, margin), disc)[margin:-margin, margin:-margin]
    np.testing.assert_array_equal(close(mask, radius), expected)


def test_area_of_the_hull() -> None:
    y, x = np.mgrid[:200, :200] - 99.5
    assert hull_area(np.hypot(y, x) < 80) == pytest.approx(np.pi * 80**2, rel=0.02)
    corner = np.zeros((6, 5), bool)
    corner[0, 0] = corner[0, 4] = corner[5, 0] = True  # five squares long, six high, a triangle and its unit squares
    assert hull_area(corner) == pytest.approx(5 * 6 - 4 * 5 / 2)


@pytest.mark.parametrize("split", ["training", "test"])
def test_real_fields_of_view(real_data: Path, split: str) -> None:
    for path in sorted((real_data / "DRIVE" / split / "images").iterdir()):
        found = find_fov(read_image(path))
        assert dice(found, read_mask(path.parents[1] / "mask" / f"{path.stem}_mask.gif")) > 0.99, path
        label = path.parents[1] / "1st_manual" / f"{path.stem[:2]}_manual1.gif"
        if label.exists():
            assert found[read_mask(label)].mean() > 0.995, path


def test_it_is_quick(real_data: Path) -> None:
    image = read_image(real_data / "DRIVE" / "training" / "images" / "21_training.tif")
    start = time.perf_counter()
    find_fov(image)
    assert time.perf_counter() - start < 2, "0.04 s on a usual computer"
