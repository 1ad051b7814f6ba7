"""Centre lines keep the parts and holes of a mask, and turn and mirror with it."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from geseg.metrics.thinning import REMOVABLE, RING, cells_of, thin, to_pixels

EIGHT = np.ones((3, 3))


def parts_and_holes(figure: np.ndarray) -> tuple[int, int]:
    """8-connected parts, and 4-connected parts of what lies around and inside."""
    return ndimage.label(figure, EIGHT)[1], ndimage.label(np.pad(~figure, 1, constant_values=True))[1]


def grid(mask: np.ndarray) -> np.ndarray:
    """The centre lines as an image of cells."""
    height, width = mask.shape
    cells = cells_of(mask)
    image = np.zeros((2 * height - 1, 2 * width - 1), bool)
    image[tuple(cells[thin(cells)].T)] = True
    return image


def turned(image: np.ndarray) -> list[np.ndarray]:
    """All eight turns and mirrors."""
    return [np.rot90(side, turns) for side in (image, image[:, ::-1]) for turns in range(4)]


def blobs(seed: int, height: int, width: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    mask = rng.random((height, width)) < rng.uniform(0.2, 0.95)
    return np.asarray(ndimage.binary_dilation(mask) if seed % 2 else mask)


masks = st.builds(blobs, st.integers(0, 2**32), st.integers(1, 16), st.integers(1, 16))


@settings(max_examples=30)
@given(mask=masks)
def test_lines_turn_and_mirror_with_the_mask(mask: np.ndarray) -> None:
    for lines, moved in zip(turned(grid(mask)), turned(mask), strict=True):
        np.testing.assert_array_equal(grid(moved), lines)


@settings(max_examples=30)
@given(mask=masks)
def test_parts_and_holes_stay(mask: np.ndarray) -> None:
    lines = grid(mask)
    assert parts_and_holes(lines) == parts_and_holes(mask)
    assert not (lines[::2, ::2] & ~mask).any()


def test_parts_and_holes_stay_in_every_small_mask() -> None:
    """All of 3 x 4 pixels, laid out in one image."""
    image = np.zeros((64 * 4, 64 * 5), bool)
    for bits, (y, x) in enumerate(product(range(0, 256, 4), range(0, 320, 5))):
        image[y : y + 3, x : x + 4] = np.array([bits >> k & 1 for k in range(12)], bool).reshape(3, 4)
    lines = grid(image)
    for y, x in product(range(0, 256, 4), range(0, 320, 5)):
        mask = image[y : y + 3, x : x + 4]
        assert parts_and_holes(lines[2 * y : 2 * y + 5, 2 * x : 2 * x + 7]) == parts_and_holes(mask), mask


@settings(max_examples=30)
@given(mask=masks)
def test_lines_are_one_cell_wide(mask: np.ndarray) -> None:
    """No cell can go any more."""
    lines = np.pad(grid(mask), 1)
    for y, x in np.argwhere(lines):
        ring = sum(int(lines[y + dy, x + dx]) << k for k, (dy, dx) in enumerate(RING))
        assert not REMOVABLE[ring]


def test_a_cell_may_go_if_what_is_around_it_stays_as_it_is() -> None:
    """The table against counting the parts and holes of all 256 neighbourhoods, with the cell and without it."""
    for bits, may_go in enumerate(REMOVABLE):
        around = np.zeros((3, 3), bool)
        for k, (down, right) in enumerate(RING):
            around[1 + down, 1 + right] = bits >> k & 1
        with_it = around.copy()
        with_it[1, 1] = True
        same = parts_and_holes(around) == parts_and_holes(with_it)
        assert may_go == (same and around.sum() > 1), around


@pytest.mark.parametrize("width", range(1, 10))
def test_a_bar_has_its_line_exactly_in_the_middle(width: int) -> None:
    mask = np.zeros((21, 60), bool)
    mask[4 : 4 + width, 5:55] = True
    rows, columns = np.nonzero(grid(mask))
    middle = (columns > 2 * (5 + width)) & (columns < 2 * (55 - width))
    assert set(rows[middle].tolist()) == {2 * 4 + width - 1}, "in half pixels"


@pytest.mark.parametrize(("width", "abreast"), [(1, 1), (2, 2), (3, 1), (4, 2)])
def test_in_pixels_a_line_between_two_rows_takes_both(width: int, abreast: int) -> None:
    mask = np.zeros((12, 60), bool)
    mask[4 : 4 + width, 5:55] = True
    cells = cells_of(mask)
    line = to_pixels(cells[thin(cells)], mask.shape)
    assert (line[:, 20:40].sum(axis=0) == abreast).all()
    assert not (line & ~mask).any()


@settings(max_examples=30)
@given(mask=masks)
def test_in_pixels_lines_turn_and_hang_together(mask: np.ndarray) -> None:
    def skeleton(mask: np.ndarray) -> np.ndarray:
        cells = cells_of(mask)
        return to_pixels(cells[thin(cells)], mask.shape)

    line = skeleton(mask)
    for moved, expected in zip(turned(mask), turned(line), strict=True):
        np.testing.assert_array_equal(skeleton(moved), expected)
    parts, _ = ndimage.label(mask, EIGHT)
    for part in range(1, parts.max() + 1):
        assert ndimage.label(line & (parts == part), EIGHT)[1] <= 1
    assert not (line & ~mask).any()
