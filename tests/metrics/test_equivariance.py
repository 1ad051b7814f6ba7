import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from geseg.metrics.equivariance import SYMMETRIES, Difference, Move, difference
from geseg.model import group

BETWEEN = [Move(22.5), Move(45.0), Move(112.5), Move(-10.0), Move(200.0, mirrored=True), Move(300, mirrored=True)]
SIZES = st.integers(1, 24)


def smooth(height: int, width: int, seed: int = 0) -> np.ndarray:
    """An image in [0, 1] without fine detail, float32[h, w]."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(height, width)), 4, mode="reflect")
    return ((noise - noise.min()) / np.ptp(noise)).astype(np.float32)


def fading(height: int, width: int) -> np.ndarray:
    """What a map is multiplied by to have no vessels at its border, as those of photographs beyond the retina."""
    down, across = (np.sin(np.linspace(0, math.pi, side)) ** 2 for side in (height, width))
    return (down[:, None] * across).astype(np.float32)


def named(move: Move) -> str:
    return move.name


def test_names() -> None:
    names = ["rot 0", "rot 90", "rot 180", "rot 270", "mirror", "mirror rot 90", "mirror rot 180", "mirror rot 270"]
    assert [move.name for move in SYMMETRIES] == names
    assert [move.name for move in BETWEEN[:2]] == ["rot 22.5", "rot 45"]
    assert all(move.exact for move in SYMMETRIES)
    assert not any(move.exact for move in BETWEEN)


@pytest.mark.parametrize("element", group.SYMMETRIES, ids=str)
def test_exact_moves_are_those_of_the_groups(element: group.Element) -> None:
    stack = np.random.default_rng(0).random((2, 5, 7), np.float32)
    np.testing.assert_array_equal(Move(90 * element.turns, element.mirrored).forth(stack), element(stack))


@given(move=st.sampled_from(SYMMETRIES), height=SIZES, width=SIZES, seed=st.integers(0, 2**16))
def test_what_happens_to_pixels_one_by_one_moves_exactly(move: Move, height: int, width: int, seed: int) -> None:
    stack = np.random.default_rng(seed).random((3, height, width), np.float32)
    fov = np.random.default_rng(seed).random((height, width)) < 0.7
    for net in (lambda x: x[0], lambda x: np.tanh(x @ np.eye(x.shape[2], dtype=np.float32)).mean(0) ** 2):
        back = move.back(net(move.forth(stack)), (height, width))
        assert back.dtype == np.float32
        np.testing.assert_array_equal(back, net(stack))
        if fov.any():
            assert difference(back, net(stack), move.covered(fov)) == Difference(0.0, 0.0, 0.0)
    np.testing.assert_array_equal(move.covered(fov), fov)


def test_turns_are_counter_clockwise_as_displayed() -> None:
    """A blob in the east goes north by 90 degrees, and north-east by 45."""
    image = np.zeros((1, 41, 41), np.float32)
    image[0, 20, 35] = 1
    assert np.unravel_index(Move(90.0).forth(image)[0].argmax(), (41, 41)) == (5, 20)
    turned = Move(45.0).forth(image)[0]
    place = np.unravel_index(turned.argmax(), turned.shape) - (np.array(turned.shape) - 1) / 2
    np.testing.assert_allclose(place, [-15 / math.sqrt(2), 15 / math.sqrt(2)], atol=1)


@pytest.mark.parametrize("shape", [(60, 80), (61, 80), (80, 61)])
@pytest.mark.parametrize("move", BETWEEN, ids=named)
def test_a_blob_arrives_where_geometry_puts_it(move: Move, shape: tuple[int, int]) -> None:
    """Against the formula of the blob, evaluated in turned coordinates about the centres of both canvases."""

    def blob(x: np.ndarray, up: np.ndarray) -> np.ndarray:
        return np.exp(-((x - 9) ** 2 + (up - 14) ** 2) / 50)

    def grid(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
        y, x = np.mgrid[:height, :width]
        return x - (width - 1) / 2, (height - 1) / 2 - y

    moved = move.forth(blob(*grid(*shape)).astype(np.float32)[None])[0]
    assert moved.dtype == np.float32
    x, up = grid(*moved.shape)
    angle = math.radians(move.degrees)
    before, before_up = x * math.cos(angle) + up * math.sin(angle), up * math.cos(angle) - x * math.sin(angle)
    np.testing.assert_allclose(moved, blob(-before if move.mirrored else before, before_up), atol=5e-3)


@pytest.mark.parametrize("move", BETWEEN, ids=named)
def test_nothing_is_lost_and_corners_are_0(move: Move) -> None:
    moved = move.forth(np.ones((1, 50, 70), np.float32))[0]
    assert moved.sum() == pytest.approx(50 * 70, rel=2e-3)
    assert abs(moved[[0, 0, -1, -1], [0, -1, 0, -1]]).max() < 1e-2


@pytest.mark.parametrize("move", BETWEEN, ids=named)
def test_a_canvas_that_grows_has_even_sides(move: Move) -> None:
    """Odd sides take twice the tiles, each: see tiling."""
    height, width = move.forth(np.zeros((1, 61, 80), np.float32)).shape[1:]
    assert (height % 2, width % 2) == (0, 0)


@pytest.mark.parametrize("move", [*BETWEEN, Move(30), Move(60)], ids=named)
@pytest.mark.parametrize("shape", [(80, 97), (61, 60)])
def test_a_canvas_around_the_field_of_view_holds_it_and_no_more(move: Move, shape: tuple[int, int]) -> None:
    row, column = np.indices(shape)
    fov = (row - 35) ** 2 + (column - 28) ** 2 < 15**2
    stack = smooth(*shape)[None] * fov
    small, full = move.forth(stack, move.canvas_around(fov, 3)), move.forth(stack)
    assert small.shape < full.shape
    assert all(side % 2 == 0 for side in small.shape[1:])
    cut = [(large - side) // 2 for large, side in zip(full.shape[1:], small.shape[1:], strict=True)]
    inside = full[0, cut[0] : full.shape[1] - cut[0], cut[1] : full.shape[2] - cut[1]]
    np.testing.assert_allclose(small[0], inside, atol=1e-6)
    region, whole = move.region(fov, small.shape[1:]), move.region(fov)
    assert region.sum() == whole.sum() == pytest.approx(fov.sum(), abs=12)
    for axis in (0, 1):
        lit = np.flatnonzero(region.any(axis=1 - axis))
        assert 2 <= min(lit[0], region.shape[axis] - 1 - lit[-1]) <= 5
    small, full = (move.forth(stack * fading(*shape), canvas) for canvas in (small.shape[1:], full.shape[1:]))
    np.testing.assert_allclose(move.back(small[0], shape), move.back(full[0], shape), atol=1e-3)  # splines ring


def test_a_canvas_is_no_larger_than_that_of_the_image() -> None:
    image = smooth(40, 51)
    for fov in (np.ones((40, 51), bool), np.zeros((40, 51), bool)):
        assert Move(30).canvas_around(fov, 5) == Move(30).forth(image[None]).shape[1:]


@pytest.mark.parametrize("move", BETWEEN, ids=named)
def test_a_smooth_map_comes_back(move: Move) -> None:
    image = smooth(57, 64) * fading(57, 64)
    back = move.back(move.forth(image[None])[0], image.shape)
    assert back.min() >= 0
    assert back.max() <= 1
    d = difference(back, image, move.covered(np.ones(image.shape, bool)))
    assert d.mean_abs < 1e-3
    assert d.max_abs < 0.01
    assert d.flipped < 1e-3


@pytest.mark.parametrize("move", BETWEEN, ids=named)
def test_what_is_dim_beside_a_vessel_comes_back_as_dim(move: Move) -> None:
    """Splines through probabilities would make it 0, and lose which pixel is the dimmer one."""

    def logits(height: int, width: int, degrees: float) -> np.ndarray:
        y, x = np.mgrid[:height, :width]
        x, up = x - (width - 1) / 2, (height - 1) / 2 - y
        across = x * math.sin(math.radians(degrees)) - up * math.cos(math.radians(degrees))
        return 9 / (1 + (across / 2) ** 4) - 5  # a vessel through the centre, of .98, on .007

    seen = 1 / (1 + np.exp(-logits(*move.forth(np.zeros((1, 80, 80), np.float32)).shape[1:], move.degrees)))
    back = move.back(seen.astype(np.float32), (80, 80))[20:60, 20:60].astype(np.float64)
    np.testing.assert_allclose(np.log(back / (1 - back)), logits(80, 80, 0)[20:60, 20:60], atol=0.2)


def test_turning_to_and_fro_ends_at_the_start() -> None:
    image = smooth(58, 58)
    there = Move(30.0).forth(image[None])
    again = Move(-30.0).forth(there)[0]
    margin = (again.shape[0] - 58) // 2
    assert again.shape == (58 + 2 * margin, 58 + 2 * margin)
    np.testing.assert_allclose(again[margin:-margin, margin:-margin][5:-5, 5:-5], image[5:-5, 5:-5], atol=5e-3)


@pytest.mark.parametrize("shape", [(30, 40), (31, 40)])
def test_quarter_turns_and_the_rest_are_separate(shape: tuple[int, int]) -> None:
    stack = np.random.default_rng(0).random((2, *shape), np.float32)
    np.testing.assert_array_equal(Move(112.5).forth(stack), Move(22.5).forth(Move(90.0).forth(stack)))
    np.testing.assert_array_equal(Move(-67.5).forth(stack), Move(22.5).forth(Move(270.0).forth(stack)))
    np.testing.assert_array_equal(Move(382.5).forth(stack), Move(22.5).forth(stack))


@pytest.mark.parametrize("move", BETWEEN, ids=named)
def test_the_covered_part_lacks_a_narrow_rim(move: Move) -> None:
    y, x = np.mgrid[:64, :80] - np.array([31.5, 39.5])[:, None, None]
    fov = np.hypot(y, x) < 36  # cut by the image above and below
    covered = move.covered(fov)
    assert covered.shape == fov.shape
    assert not (covered & ~fov).any()
    depth = ndimage.distance_transform_edt(np.pad(fov, 1))[1:-1, 1:-1]
    assert covered[depth > 8].all()
    assert covered.sum() > 0.85 * fov.sum()
    assert not covered[depth <= 1].all()


def test_difference_by_hand() -> None:
    p, q = np.array([[0.25, 0.5, 0.75, 0]], np.float32), np.array([[0.75, 0.25, 0.75, 1]], np.float32)
    region = np.array([[True, True, True, False]])
    assert difference(p, q, region) == Difference(mean_abs=0.25, max_abs=0.5, flipped=2 / 3)
    assert difference(p, q, region, threshold=0.2).flipped == 0
    assert difference(p, q, region) == difference(q, p, region)


def test_nothing_to_compare() -> None:
    p = np.zeros((2, 2), np.float32)
    d = difference(p, p, np.zeros((2, 2), bool))
    assert all(math.isnan(value) for value in (d.mean_abs, d.max_abs, d.flipped))
