"""The figures on drawn vessels of known geometry."""

import dataclasses
import math
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage, special

from geseg.data.drawn import draw
from geseg.data.images import read_mask
from geseg.metrics import vesselgraph
from geseg.metrics.morphometry import BOXES, RIM, SHORTEST, Morphometry, fractal_dimension, measure
from geseg.metrics.thinning import cells_of, thin
from geseg.metrics.vesselgraph import SPECK, SPUR

SIDE = 240


def strokes(*lines: Iterable[tuple[float, float]], width: float = 3, side: int = SIDE) -> np.ndarray:
    """Bars of a width between points (x, y) from the centre of the image, with ends cut straight."""
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    mask = np.zeros((side, side), bool)
    for line in lines:
        (x0, y0), (x1, y1) = line
        length = math.hypot(x1 - x0, y1 - y0)
        along = ((x - x0) * (x1 - x0) + (y - y0) * (y1 - y0)) / length
        across = ((y - y0) * (x1 - x0) - (x - x0) * (y1 - y0)) / length
        mask |= (along >= 0) & (along <= length) & (abs(across) <= width / 2)
    return mask


def at(degrees: float, radius: float, x: float = 0, y: float = 0) -> tuple[float, float]:
    return x + radius * math.cos(math.radians(degrees)), y - radius * math.sin(math.radians(degrees))


def figures(mask: np.ndarray, fov: np.ndarray | None = None) -> Morphometry:
    return measure(mask, np.ones_like(mask) if fov is None else fov).figures


def turned(image: np.ndarray) -> list[np.ndarray]:
    """All eight turns and mirrors."""
    return [np.rot90(side, turns) for side in (image, image[:, ::-1]) for turns in range(4)]


def counts(mask: np.ndarray, fov: np.ndarray | None = None) -> tuple[int, int]:
    f = figures(mask, fov)
    return f.branch_points, f.end_points


@pytest.mark.parametrize("width", range(1, 10))
@pytest.mark.parametrize("degrees", [0, 30, 45])
def test_a_straight_bar(degrees: int, width: int) -> None:
    length = 150
    middle = (0.013, 0.007)  # off the pixels' centres, among which an edge would be everyone's and no one's
    if not degrees and width % 2:
        middle = (0.5, 0.5)
    mask = strokes((at(degrees, length / 2, *middle), at(degrees + 180, length / 2, *middle)), width=width)
    f = figures(mask)
    assert f.length == pytest.approx(length, rel=0.015)
    assert f.width == pytest.approx(mask.sum() / length, rel=0.015), "of the bar that was drawn"
    assert f.width == pytest.approx(width, abs=0.71 if degrees == 45 else 0.15), (
        "of the bar that was meant, up to the distance between diagonals"
    )
    assert f.tortuosity == pytest.approx(1, abs=0.01)
    assert (f.branch_points, f.end_points) == (0, 2)
    assert f.density == mask.mean()


def test_twice_the_distance_to_the_edge_would_depend_on_the_direction() -> None:
    """Why the width is area by length."""
    for degrees, share in ((0, 1.0), (30, 0.92)):
        mask = strokes((at(degrees, 75, 0.5, 0.5), at(degrees + 180, 75, 0.5, 0.5)), width=5)
        network = vesselgraph.trace(mask, SIDE)
        (path,) = network.segments
        assert 2 * network.radius[path].mean() == pytest.approx(5 * share, rel=0.02)


@pytest.mark.parametrize("width", [2, 3, 6])
@pytest.mark.parametrize("radius", [12, 40, 90])
def test_a_circle(radius: float, width: float) -> None:
    y, x = np.mgrid[:SIDE, :SIDE] - SIDE / 2 + 0.2
    f = figures(abs(np.hypot(x, y) - radius) < width / 2)
    assert f.length == pytest.approx(2 * math.pi * radius, rel=0.015)
    assert f.width == pytest.approx(width, rel=0.05)
    assert (f.branch_points, f.end_points) == (0, 0)
    assert math.isnan(f.tortuosity), "it has no chord"


def test_a_closed_line_has_no_beginning() -> None:
    """Its length is that of the turned one to the last bit, wherever the walk around it begins."""
    y, x = np.mgrid[:80, :90]
    ring = abs(np.hypot((y - 35.3) / 0.7, (x - 48.6 + y / 5) / 1.1) - 30) < 2
    assert len({figures(moved).length for moved in turned(ring)}) == 1
    assert counts(ring) == (0, 0)


@pytest.mark.parametrize("height", [5, 12, 20])
def test_a_sine(height: float) -> None:
    """Three periods of 60 pixels, whose arc by chord is an elliptic integral: 1.07 to 1.73."""
    slope = 2 * math.pi * height / 60
    ratio = 2 / math.pi * math.sqrt(1 + slope**2) * special.ellipe(slope**2 / (1 + slope**2))
    t = np.linspace(-90, 90, 10**4)
    line = np.zeros((SIDE, SIDE), bool)
    line[np.rint(height * np.sin(math.pi * t / 30) + SIDE / 2).astype(int), np.rint(t + SIDE / 2).astype(int)] = True
    f = figures(np.asarray(ndimage.binary_dilation(line, ndimage.generate_binary_structure(2, 1))))
    assert f.tortuosity == pytest.approx(ratio, rel=0.02)
    assert f.length == pytest.approx(180 * ratio, rel=0.02)
    assert (f.branch_points, f.end_points) == (0, 2)


def test_tortuosity_is_weighted_with_the_length() -> None:
    """A straight bar of 180 pixels and a right angle of two arms of 60, which has an arc by chord of √2."""
    angle = strokes(((-60.0, -60.0), (0.0, -60.0)), ((-60.0, -60.0), (-60.0, 0.0)))
    both = angle | strokes(((-90.0, 80.0), (90.0, 80.0)))
    assert figures(angle).tortuosity == pytest.approx(math.sqrt(2), rel=0.02)
    assert figures(both).tortuosity == pytest.approx((180 + 120 * math.sqrt(2)) / 300, rel=0.01)


def test_short_segments_have_no_tortuosity() -> None:
    long, short = (strokes(((-n / 2, 0.0), (n / 2, 0.0)), width=3) for n in (SHORTEST + 5, SHORTEST - 1))
    assert figures(long).tortuosity == 1
    assert math.isnan(figures(short).tortuosity)


@pytest.mark.parametrize("width", [1.5, 3, 5, 8])
@pytest.mark.parametrize("first", [90, 75, 20])
def test_a_fork(first: int, width: float) -> None:
    mask = strokes(*(((0.0, 0.0), at(first + arm, 80)) for arm in (0, 120, 240)), width=width)
    assert counts(mask) == (1, 3)


@pytest.mark.parametrize("width", [2, 3, 5, 8])
@pytest.mark.parametrize(("one", "other"), [(0, 90), (45, 135), (10, 80), (20, 75)])
def test_a_crossing_is_one_branch_point(one: int, other: int, width: int) -> None:
    mask = strokes(*((at(angle, 90), at(angle + 180, 90)) for angle in (one, other)), width=width)
    assert counts(mask) == (1, 4)


def test_a_flat_crossing_is_two() -> None:
    """As two vessels run along each other there; and this keeps the test above honest."""
    mask = strokes(*((at(angle, 90), at(angle + 180, 90)) for angle in (20, 50)), width=5)
    assert counts(mask) == (2, 4)


@pytest.mark.parametrize("width", [1, 3, 4, 7])
def test_a_grid(width: int) -> None:
    """Three bars across four have twelve crossings, and 14 ends where they stick out."""
    down = [((x, -80.0), (x, 80.0)) for x in (-75.0, -25.0, 25.0, 75.0)]
    across = [((-100.0, y), (100.0, y)) for y in (-50.0, 0.0, 50.0)]
    f = figures(strokes(*down, *across, width=width))
    assert (f.branch_points, f.end_points) == (12, 14)
    assert f.length == pytest.approx(4 * 160 + 3 * 200, rel=0.01)


@pytest.mark.parametrize(("sticks_out", "ends"), [(1, 2), (3, 2), (7, 3), (12, 3)])
def test_what_sticks_out_less_than_half_a_width_and_a_pixel_is_no_branch(sticks_out: int, ends: int) -> None:
    """From the middle of a bar of 7, a branch of 3 pixels width reaches 3.5 + what sticks out; the limit is 7 + 1."""
    mask = np.zeros((60, 120), bool)
    mask[30:37, 10:110] = True
    mask[30 - sticks_out : 30, 60:63] = True
    assert 3.5 + sticks_out <= 7 + SPUR or ends == 3
    assert counts(mask) == (ends - 2, ends)


def test_a_ragged_vessel_has_no_branches() -> None:
    rng = np.random.default_rng(3)
    mask = np.zeros((40, 220), bool)
    for column in range(10, 210):
        mask[16 - rng.integers(2) : 23 + rng.integers(2), column] = True
    f = figures(mask)
    assert (f.branch_points, f.end_points) == (0, 2)
    assert f.length == pytest.approx(200, rel=0.02)
    cells = cells_of(mask)
    lines = np.zeros((79, 439), int)
    lines[tuple(cells[thin(cells)].T)] = 1
    ends = lines & (ndimage.convolve(lines, np.ones((3, 3), int)) == 2)
    assert ends.sum() > 50, "before they are pruned"


def test_a_hairpin_that_comes_back_to_its_branch_point_is_no_spur() -> None:
    """Its free end is near the branch point, but the way there is long."""
    mask = strokes(((-100.0, 0.0), (100.0, 0.0)), width=13)
    mask |= strokes(((0.0, 0.0), (0.0, -60.0)), ((0.0, -60.0), (8.0, -60.0)), ((8.0, -60.0), (8.0, -9.5)), width=2)
    assert counts(mask) == (1, 3)
    wide = strokes(((-100.0, 70.0), (100.0, 70.0)), width=80)
    assert counts(mask | wide) == (1, 5), "whatever else there is"


def test_specks_and_pinholes_do_not_count() -> None:
    bar = strokes(((-100.0, 0.0), (100.0, 0.0)), width=9, side=500)
    small = math.ceil((SPECK * 500) ** 2) - 1
    spotted = bar.copy()
    spotted[100:104, 100:106] = True
    spotted[249:251, 250] = False
    assert small >= 24
    expected, found = figures(bar), figures(spotted)
    assert dataclasses.replace(found, vessel_area=expected.vessel_area) == expected
    assert found.vessel_area == expected.vessel_area + 24 - 2, "the density is of the mask as it is"
    spotted[100:104, 106] = True
    assert figures(spotted).end_points == 4, "28 pixels are a vessel, if a short one"


def test_a_round_blob_has_no_length() -> None:
    y, x = np.mgrid[:100, :100] - 49.5
    f = figures(np.hypot(x, y) < 10)
    assert (f.length, f.branch_points, f.end_points) == (0, 0, 0)
    assert f.vessel_area > 300
    assert math.isnan(f.width)


def test_a_round_blob_beside_a_vessel_widens_no_mean() -> None:
    bar = strokes([(-80, 0), (80, 0)], width=5)
    y, x = np.mgrid[: len(bar), : len(bar)]
    blob = np.hypot(x - 60, y - 50) < 20
    assert not (bar & blob).any()
    alone, beside = figures(bar), figures(bar | blob)
    assert beside.vessel_area > alone.vessel_area + 1000
    assert (beside.length, beside.width) == (alone.length, alone.width)


def test_what_the_rim_cuts_off_does_not_end() -> None:
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    fov = np.hypot(x, y) < 110
    through = strokes(((-120.0, 0.0), (120.0, 0.0)), width=4)
    assert counts(through, fov) == (0, 0)
    ending = strokes(((0.0, -120.0), (0.0, 20.0)), width=4)
    assert counts(ending, fov) == (0, 1)
    near, far = 110 - RIM * 220 + 1, 110 - RIM * 220 - 5
    assert counts(strokes(((0.0, 0.0), (near, 0.0)), width=3), fov) == (0, 1)
    assert counts(strokes(((0.0, 0.0), (far, 0.0)), width=3), fov) == (0, 2)
    assert counts(strokes(((0.0, 0.0), (118.0, 0.0)), width=3)) == (0, 1), "the image's own rim"


def test_what_lies_outside_of_the_field_of_view_does_not_count() -> None:
    y, x = np.mgrid[:SIDE, :SIDE] - (SIDE - 1) / 2
    fov = np.hypot(x, y) < 60
    mask = strokes(((-50.0, 0.0), (30.0, 0.0)))
    elsewhere = mask | (~fov & (np.random.default_rng(0).random(fov.shape) < 0.5))
    assert measure(elsewhere, fov).figures == measure(mask, fov).figures
    assert not (measure(elsewhere, fov).skeleton & ~fov).any()


def test_no_vessel() -> None:
    f = figures(np.zeros((50, 60), bool))
    assert (f.fov_diameter, f.fov_area, f.density, f.length, f.branch_points, f.end_points) == (60, 3000, 0, 0, 0, 0)
    assert all(math.isnan(value) for value in (f.width, f.tortuosity, f.fractal_dimension))


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (7, 1), (30, 30)])
def test_nothing_but_vessel(shape: tuple[int, int]) -> None:
    assert figures(np.ones(shape, bool)).density == 1


def test_relative_figures_by_hand() -> None:
    f = dataclasses.replace(
        figures(np.ones((4, 4), bool)), fov_diameter=100, fov_area=8000, vessel_area=800, length=400.0, branch_points=4
    )
    assert f.density == 0.1
    assert f.relative_length == 5, "4 diameters on 0.8 squares of one"
    assert f.per_area(f.branch_points) == 5


def test_a_camera_of_twice_the_pixels() -> None:
    """Relative to the field of view, and in counts, the same mask has the same figures."""
    eye = draw(1, 240, 240)
    small = figures(eye.label, eye.fov)
    large = figures(*(np.kron(mask, np.ones((2, 2), bool)) for mask in (eye.label, eye.fov)))
    assert large.density == small.density
    assert large.relative_length == pytest.approx(small.relative_length, rel=0.02)
    assert large.width / large.fov_diameter == pytest.approx(small.width / small.fov_diameter, rel=0.02)
    assert large.branch_points == pytest.approx(small.branch_points, rel=0.1)
    assert large.end_points == pytest.approx(small.end_points, rel=0.1)
    assert large.tortuosity == pytest.approx(small.tortuosity, abs=0.03)
    assert large.fractal_dimension == pytest.approx(small.fractal_dimension, abs=0.01)


@settings(max_examples=8)
@given(seed=st.integers(0, 2**16), height=st.integers(20, 70), width=st.integers(20, 70))
def test_every_figure_is_that_of_the_turned_mask(
    draw_eye: Callable[..., tuple[np.ndarray, np.ndarray, np.ndarray]], seed: int, height: int, width: int
) -> None:
    """To the last bit, and the skeleton turns with it."""
    _, label, fov = draw_eye(seed, height, width)
    mask = label ^ (np.random.default_rng(seed).random(label.shape) < 0.02)
    expected = measure(mask, fov)
    for moved, view, skeleton in zip(turned(mask), turned(fov), turned(expected.skeleton), strict=True):
        found = measure(moved, view)
        np.testing.assert_array_equal(found.skeleton, skeleton)
        np.testing.assert_equal(dataclasses.astuple(found.figures), dataclasses.astuple(expected.figures))


SQUARE = np.ones((256, 256), bool)


def test_the_plane_has_two_dimensions_and_a_line_one() -> None:
    assert fractal_dimension(SQUARE, SQUARE) == pytest.approx(2, abs=1e-12)
    across = np.zeros_like(SQUARE)
    across[100] = True
    assert fractal_dimension(across, SQUARE) == pytest.approx(1, abs=1e-12)
    assert fractal_dimension(np.eye(256, dtype=bool), SQUARE) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("degrees", [10, 30, 60])
def test_a_sloping_line_has_one_dimension(degrees: int) -> None:
    line = strokes((at(degrees, 127), at(degrees + 180, 127)), width=1.4, side=256)
    assert fractal_dimension(line, SQUARE) == pytest.approx(1, abs=0.08)


def test_the_triangle_of_sierpinski_has_its_dimension() -> None:
    """log 3 / log 2: Pascal's triangle modulo 2 is self-similar in powers of two, as are the boxes."""
    y, x = np.mgrid[:256, :256]
    assert fractal_dimension((y & x) == 0, SQUARE) == pytest.approx(math.log2(3), abs=1e-12)
    assert all(n & (n - 1) == 0 for n in BOXES)


def test_boxes_follow_the_field_of_view_and_not_the_image() -> None:
    triangle = np.zeros((400, 500), bool)
    y, x = np.mgrid[:256, :256]
    triangle[50:306, 70:326] = (y & x) == 0
    fov = np.zeros_like(triangle)
    fov[50:306, 70:326] = True
    assert fractal_dimension(triangle, fov) == pytest.approx(math.log2(3), abs=1e-12)


def test_real_vessels_are_plausible(real_data: Path) -> None:
    """Figures of this kind, from the drawings of DRIVE, are in the literature: about 12 % vessel, dimension 1.4-1.7."""
    drive = real_data / "DRIVE" / "training"
    for number in (21, 30):
        mask = read_mask(drive / "1st_manual" / f"{number}_manual1.gif")
        fov = read_mask(drive / "mask" / f"{number}_training_mask.gif")
        f = figures(mask, fov)
        assert f.fov_diameter == pytest.approx(540, abs=6)
        assert 0.07 < f.density < 0.2
        assert 5000 < f.length < 12000
        assert 2.5 < f.width < 4.5
        assert 40 < f.branch_points < 160
        assert 20 < f.end_points < 160
        assert 1.02 < f.tortuosity < 1.15
        assert 1.4 < f.fractal_dimension < 1.7
