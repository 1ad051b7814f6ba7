"""How wide vessels are, and the scale that follows from it."""

import numpy as np
import pytest

from geseg.data import calibre

CAMERAS = (540.0, 1600.0)


@pytest.mark.parametrize("width", [2, 3, 5, 8, 13])
def test_the_width_of_bars(width: int) -> None:
    mask = np.zeros((500, 60), bool)
    mask[:, 10 : 10 + width] = True
    assert calibre.mean_width(mask) == pytest.approx(width, abs=0.34)


def test_the_width_of_a_slanted_bar() -> None:
    y, x = np.mgrid[:300, :300]
    assert calibre.mean_width(np.abs(x - 0.6 * y - 40) * np.cos(np.arctan(0.6)) <= 4) == pytest.approx(8, abs=0.6)


def test_wide_vessels_count_by_their_area() -> None:
    mask = np.zeros((600, 60), bool)
    mask[:, 5:7] = mask[:, 20:30] = True
    assert calibre.mean_width(mask) == pytest.approx((2 * 2 + 10 * 10) / 12, abs=0.3)


def test_a_turned_mask_is_as_wide() -> None:
    mask = np.random.default_rng(0).random((90, 120)) < 0.7
    for moved in (np.rot90(mask), mask[::-1], mask.T):
        assert calibre.mean_width(moved) == pytest.approx(calibre.mean_width(mask), rel=1e-12)


def test_a_few_specks_have_no_width() -> None:
    assert calibre.mean_width(np.eye(calibre.LEAST - 1, dtype=bool)) is None
    assert calibre.mean_width(np.zeros((9, 9), bool)) is None


@pytest.mark.parametrize(
    ("wide", "learned", "known", "expected"),
    [
        (3200.0, CAMERAS, None, (0.5, 0.5)),  # a model that does not know the calibre
        (3200.0, None, 11.0, (1, 1)),
        (540.0, CAMERAS, 11.0, (1, 1)),  # cannot be too wide, whatever the camera
        (270.0, CAMERAS, 11.0, (2, 2)),
        (800.0, CAMERAS, 11.0, (1, 1)),
        (1350.0, CAMERAS, 11.0, (0.4, 1)),
        (3200.0, CAMERAS, 11.0, (540 / 3200, 0.5)),
        (3200.0, (540.0, 540.0), 4.76, (540 / 3200, 700 / 3200)),  # a camera of 60 degrees may be taken finer
    ],
)
def test_when_the_width_of_vessels_matters(
    wide: float, learned: tuple[float, float] | None, known: float | None, expected: tuple[float, float]
) -> None:
    shape = (int(wide) + 10, int(wide) + 10)
    assert calibre.span(wide, shape, learned, known) == pytest.approx(expected)


def test_without_a_rim_any_width_is_possible() -> None:
    """It may be any part of a photograph, magnified as far as one likes."""
    assert calibre.span(None, (600, 800), CAMERAS, 11.0) == pytest.approx((540 / 800, 1))
    assert calibre.span(None, (400, 500), CAMERAS, 11.0) == (1, 1)


@pytest.mark.parametrize(
    ("width", "expected"),
    [
        (None, 0.4),
        (5.0, 1),
        (11.0, 1),
        (12.0, 1),  # by less than the tolerance
        (13.0, 2 ** (-2 / 8)),
        (22.0, 0.5),
        (26.0, 0.4),  # the coarsest is near enough
        (99.0, 0.4),
    ],
)
def test_vessels_become_no_wider_than_learned(width: float | None, expected: float) -> None:
    by = calibre.choose(0.4, 1.0, width, calibre=11.0)
    assert by == pytest.approx(expected)
    assert width is None or by == 0.4 or width * by <= 11.0 * 1.1


def test_rounding_hardly_ever_counts() -> None:
    """Engines differ by 1e-4 in a probability, and by less in a mean width."""
    widths = np.random.default_rng(1).uniform(8, 30, 2000)
    other = [
        calibre.choose(0.4, 1.0, width, 11.0) != calibre.choose(0.4, 1.0, width * 1.0001, 11.0) for width in widths
    ]
    assert np.mean(other) < 0.005
