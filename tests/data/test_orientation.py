import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from geseg.data.orientation import DIRECTIONS, RHO, SIGMA, Dominance, dominant


def a_line(degrees: float, size: int = 96, width: float = 3) -> np.ndarray:
    """A line through the centre, at an angle counter-clockwise from the horizontal as displayed."""
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    angle = math.radians(degrees)
    return np.abs(x * math.sin(angle) + y * math.cos(angle)) < width / 2  # y counts downwards


def some_lines(seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    label = np.zeros(tuple(rng.integers(8, 48, 2)), bool)
    y, x = np.indices(label.shape)
    for angle, offset in zip(rng.uniform(0, np.pi, 3), rng.uniform(0, 30, 3), strict=True):
        label |= np.abs(x * np.sin(angle) + y * np.cos(angle) - offset) < 1.3
    return label


def by_eigenvectors(label: np.ndarray) -> np.ndarray:
    """Counts of the four bins from the eigenvectors of the tensor of each vessel pixel, and a histogram of angles."""
    image = label.astype(float)
    down = ndimage.gaussian_filter(image, SIGMA, (1, 0), mode="nearest")
    right = ndimage.gaussian_filter(image, SIGMA, (0, 1), mode="nearest")
    dd, rr, dr = (ndimage.gaussian_filter(a, RHO, mode="nearest") for a in (down**2, right**2, down * right))
    counts = np.zeros(4, int)
    for y, x in zip(*np.nonzero(label), strict=True):
        _, vectors = np.linalg.eigh([[dd[y, x], dr[y, x]], [dr[y, x], rr[y, x]]])
        along_down, along_right = vectors[:, 0]  # of the smaller eigenvalue
        degrees = math.degrees(math.atan2(-along_down, along_right)) % 180
        counts[round(degrees / 45) % 4] += 1
    return counts


@pytest.mark.parametrize(
    ("degrees", "expected"),
    [
        *(
            (0, 0),
            (10, 0),
            (20, 0),
            (25, 1),
            (45, 1),
            (65, 1),
            (70, 2),
            (90, 2),
            (110, 2),
            (115, 3),
            (135, 3),
            (155, 3),
        ),
        *((160, 0), (170, 0)),
    ],
)
def test_lines_at_known_angles(degrees: float, expected: int) -> None:
    found = dominant(a_line(degrees))
    assert found.bin == expected
    assert found.share > 0.85


@given(seed=st.integers(0, 2**16))
def test_it_is_the_eigenvector_of_the_smaller_eigenvalue(seed: int) -> None:
    label = some_lines(seed)
    if label.any() and not label.all():
        counts, found = by_eigenvectors(label), dominant(label)
        assert found.share == pytest.approx(counts.max() / label.sum(), abs=0.5 / label.sum())
        assert found.bin == counts.argmax() or np.sum(counts == counts.max()) > 1


@given(seed=st.integers(0, 2**16))
def test_it_moves_exactly_with_the_label(seed: int) -> None:
    label = some_lines(seed)
    found = dominant(label)
    for moved, expected in (
        (np.rot90(label), lambda b: (b + 2) % 4),
        (np.rot90(label, 2), lambda b: b),
        (label[:, ::-1], lambda b: -b % 4),
        (label[::-1], lambda b: -b % 4),
        (label.T, lambda b: (2 - b) % 4),
    ):
        other = dominant(moved)
        assert other.bin == (None if found.bin is None else expected(found.bin))
        assert other.share == pytest.approx(found.share, abs=0, nan_ok=True)


@pytest.mark.parametrize("seed", range(40))
def test_a_symmetric_label_has_no_leader(seed: int) -> None:
    """Directions tie exactly, the pixel in the middle has none: filters that prefer an axis would decide by noise."""
    corner = np.random.default_rng(seed).random((12, 12)) < 0.2
    corner |= corner.T
    half = np.hstack([corner, corner[:, -2::-1]])
    label = np.vstack([half, half[-2::-1]])
    label[11, 11] = True
    assert dominant(label).bin is None


def test_mirrors_swap_the_diagonals() -> None:
    assert DIRECTIONS == (0, 45, 90, 135)
    rising = a_line(45)
    assert dominant(rising).bin == 1
    assert dominant(rising[:, ::-1]).bin == 3
    assert dominant(np.rot90(rising)).bin == 3


def test_the_share_is_that_of_the_vessel_pixels() -> None:
    """Two lines far apart, the one across with a third of the pixels."""
    label = np.zeros((200, 200), bool)
    label[20:24, 20:180] = True
    label[100:180, 98:102] = True
    found = dominant(label)
    assert found.bin == 0
    assert found.share == pytest.approx(2 / 3, abs=0.03)


def test_without_a_vessel_or_a_leader() -> None:
    nothing = dominant(np.zeros((5, 6), bool))
    assert nothing.bin is None
    assert math.isnan(nothing.share)
    assert dominant(np.ones((5, 6), bool)) == Dominance(None, 0.0)
    cross = a_line(0) | np.rot90(a_line(0))
    assert dominant(cross).bin is None
    assert 0.4 < dominant(cross).share <= 0.5
