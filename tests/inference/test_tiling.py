from collections.abc import Callable
from itertools import pairwise, product
from typing import Any, TypedDict, Unpack

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geseg.inference import tiling
from geseg.inference.tiling import OVERLAP, SIZES, Side, place, plan, run, segment, weights


class Config(TypedDict, total=False):
    sizes: tuple[int, ...]
    overlap: int
    batch_pixels: int


SMALL: Config = {"sizes": (8, 12, 20), "overlap": 4, "batch_pixels": 500}  # so that small images have many tiles
ODD_SHAPES = [(1, 1), (1, 500), (2, 3), (127, 128), (129, 300), (200, 201), (565, 584), (320, 320)]
sides = st.integers(1, 70)
Array = np.ndarray[Any, Any]
Move = Callable[[Array], Array]


def first_channel(tiles: Array) -> Array:
    return tiles[:, 0]


def blur(tiles: Array) -> Array:
    """Mean over 3x3 pixels with zeros outside, as a padded convolution."""
    _, h, w = tiles.shape
    padded = np.pad(tiles, ((0, 0), (1, 1), (1, 1)))
    return sum(padded[:, y : y + h, x : x + w] for y, x in product(range(3), range(3))) / 9


def symmetric_net(tiles: Array) -> Array:
    """Equivariant on tiles as a U-Net is: neighbours, zero padding, 2x2 pooling, and it matters where in the tile."""
    *_, h, w = tiles.shape
    y, x = np.arange(h) - (h - 1) / 2, np.arange(w) - (w - 1) / 2
    distance = np.hypot(y[:, None], x)
    pooled = blur(tiles.sum(1)).reshape(len(tiles), h // 2, 2, w // 2, 2).max((2, 4))
    fine = blur(np.sin(tiles.prod(1)) + 1)
    return 1 / (1 + np.exp(-fine - np.kron(blur(pooled), np.ones((2, 2))) * np.cos(distance / 5)))


def lopsided_net(tiles: Array) -> Array:
    """Looks at the pixel on the left."""
    return np.roll(tiles[:, 0], 1, axis=-1)


def moves() -> dict[str, Move]:
    """The eight elements of D4, acting on the last two axes."""

    def move(turns: int, flip: bool) -> Move:
        return lambda a: np.rot90(a[..., ::-1] if flip else a, turns, (-2, -1))

    return {f"{turns} turns, flip {flip}": move(turns, flip) for turns in range(4) for flip in (False, True)}


def worst_difference(image: Array, net: Callable[[Array], Array], **config: Unpack[Config]) -> float:
    expected = segment(image, net, 2, **config)
    pairs = ((segment(move(image).copy(), net, 2, **config), move(expected)) for move in moves().values())
    return max(float(np.abs(moved - original).max()) for moved, original in pairs)


@given(h=sides, w=sides, dtype=st.sampled_from([np.float32, np.float64]))
def test_tiles_put_every_pixel_back(h: int, w: int, dtype: type) -> None:
    image = np.arange(h * w, dtype=dtype).reshape(1, h, w)
    result = segment(image, first_channel, 2, **SMALL)
    assert result.dtype == dtype
    np.testing.assert_allclose(result, image[0], rtol=1e-6 if dtype is np.float32 else 1e-12)


@settings(max_examples=60)
@given(h=sides, w=sides, seed=st.integers(0, 2**16))
def test_segmentation_moves_with_the_image(h: int, w: int, seed: int) -> None:
    image = np.random.default_rng(seed).normal(size=(3, h, w))
    assert worst_difference(image, symmetric_net, **SMALL) < 1e-9


@pytest.mark.parametrize("shape", ODD_SHAPES)
def test_segmentation_moves_with_the_image_with_real_tiles(shape: tuple[int, int]) -> None:
    image = np.random.default_rng(0).normal(size=(1, *shape))
    assert worst_difference(image, symmetric_net) < 1e-9


@given(h=st.integers(1, 30), w=st.integers(3, 30))
def test_a_net_without_symmetry_is_found_out(h: int, w: int) -> None:
    """Keeps the tests above honest."""
    image = np.random.default_rng(0).normal(size=(1, h, w))
    assert worst_difference(image, lopsided_net, **SMALL) > 1e-3


def test_a_tile_off_the_centre_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Padding on one side, as most programs do it, must not pass."""
    image = np.random.default_rng(0).normal(size=(1, 7, 6))
    monkeypatch.setattr(tiling, "place", lambda length, tile, overlap: Side(length, tile, (0,)))
    assert worst_difference(image, symmetric_net, **SMALL) > 1e-3


def test_a_pixel_outside_is_zero() -> None:
    seen: list[Array] = []

    def net(tiles: Array) -> Array:
        seen.append(tiles.copy())
        return tiles[:, 0]

    segment(np.ones((1, 6, 5)), net, 4, sizes=(8,), overlap=4)
    tiles = np.concatenate(seen)
    assert tiles.shape == (2, 1, 8, 8)
    np.testing.assert_array_equal(tiles[0, 0].sum(0), [0, 0, 6, 6, 6, 6, 6, 0])
    np.testing.assert_array_equal(tiles[1, 0].sum(0), [0, 6, 6, 6, 6, 6, 0, 0])


@given(length=st.integers(1, 5000), tile=st.sampled_from(SIZES))
def test_tiles_of_a_side(length: int, tile: int) -> None:
    side = place(length, tile, OVERLAP)
    p = side.positions
    assert all(p[-1 - i] == length - tile - p[i] for i in range(len(p))), "its own mirror image"
    assert all(-tile < begin < length for begin in p), "none lies outside"
    assert p[0] <= 0
    assert p[-1] + tile >= length
    assert all(0 < after - before <= tile - OVERLAP for before, after in pairwise(p))


@given(length=st.integers(1, 3000), tile=st.sampled_from(SIZES))
def test_weights_of_a_side(length: int, tile: int) -> None:
    side = place(length, tile, OVERLAP)
    w = weights(side, np.dtype(np.float64))
    total = np.zeros(length)
    for i in range(len(w)):
        image, part = side.inside(i)
        total[image] += w[i, part]
        for edge, at_border in ((w[i, 0], i == 0), (w[i, -1], i == len(w) - 1)):
            assert edge < 1e-9 or at_border or length < tile, "no seam in the image"
    np.testing.assert_allclose(total, 1, rtol=0, atol=1e-14)
    np.testing.assert_array_equal(w, w[::-1, ::-1])
    if length >= tile:
        assert w[0, 0] == w[-1, -1] == 1, "full weight at the border of the image"


@given(h=st.integers(1, 5000), w=st.integers(1, 5000), divisor=st.sampled_from([1, 2, 3, 4, 8, 16, 32]))
def test_plan_is_symmetric_and_fits_the_network(h: int, w: int, divisor: int) -> None:
    layout, turned = plan(h, w, divisor), plan(w, h, divisor)
    assert (layout.rows, layout.columns) == (turned.columns, turned.rows)
    for tile in (layout.rows.tile, layout.columns.tile):
        assert tile % divisor == 0
        assert tile % 2 == 0


@pytest.mark.parametrize(("h", "w"), [(size, size) for size in SIZES] + [(584, 560), (72, 68), (4, 640)])
def test_an_image_that_fits_one_tile_is_computed_as_it_is(h: int, w: int) -> None:
    image = np.random.default_rng(0).random((1, h, w))
    np.testing.assert_array_equal(segment(image, symmetric_net, 4), symmetric_net(image[None])[0])


@pytest.mark.parametrize(
    ("name", "h", "w", "overhead"),
    [
        ("DRIVE", 584, 565, 1.16),
        ("STARE", 605, 700, 1.23),
        ("CHASE_DB1", 960, 999, 1.17),
        ("HRF", 2336, 3504, 1.21),
        ("HRF as the weights inside geseg see it", 1152, 1712, 1.16),
        ("FIVES", 2048, 2048, 1.20),
        ("LES-AV", 1444, 1620, 1.21),
        ("IOSTAR", 1024, 1024, 1.13),
    ],
)
def test_little_is_computed_twice(name: str, h: int, w: int, overhead: float) -> None:
    assert 1 <= plan(h, w, 4).overhead <= overhead, name


@given(h=sides, w=sides, pixels=st.integers(1, 4000))
def test_batches_have_every_tile_once_and_are_bounded(h: int, w: int, pixels: int) -> None:
    layout = plan(h, w, 2, sizes=(8, 12), overlap=4)
    batches = list(layout.batches(pixels, layout.tiles))
    assert [tile for batch in batches for tile in batch] == list(layout.tiles)
    assert all(len(batch) == 1 or len(batch) * layout.tile_pixels <= pixels for batch in batches)


@settings(max_examples=60)
@given(h=sides, w=sides, y=st.integers(0, 69), x=st.integers(0, 69), reach=st.integers(0, 3), seed=st.integers(0, 99))
def test_tiles_that_are_left_out_change_nothing_that_is_wanted(
    h: int, w: int, y: int, x: int, reach: int, seed: int
) -> None:
    """Whatever is wanted, here a spot, gets the same bytes as from all tiles; what lies in no tile of these is 0."""
    image, layout = np.random.default_rng(seed).normal(size=(3, h, w)), plan(h, w, 2, sizes=(8, 12), overlap=4)
    wanted = np.zeros((h, w), bool)
    wanted[y % h, x % w] = True
    tiles = layout.near(wanted, reach)
    whole, part = (run(image, symmetric_net, layout, some) for some in (layout.tiles, tiles))
    around = np.zeros_like(wanted)
    around[max(0, y % h - reach) : y % h + reach + 1, max(0, x % w - reach) : x % w + reach + 1] = True
    np.testing.assert_array_equal(part[around], whole[around])
    for move in moves().values():
        moved = plan(*move(wanted).shape, 2, sizes=(8, 12), overlap=4)
        assert len(moved.near(move(wanted), reach)) == len(tiles)


def test_a_photograph_with_wide_borders_leaves_tiles_out() -> None:
    layout, wanted = plan(700, 3000, 4), np.zeros((700, 3000), bool)
    wanted[:, 1100:1900] = True
    tiles = layout.near(wanted, 8)
    columns = {j for _, j in tiles}
    assert 0 < len(tiles) < len(layout.tiles)
    assert columns == {len(layout.columns.positions) - 1 - j for j in columns}, "as symmetric as what is wanted"
    assert layout.near(np.zeros_like(wanted), 8) == ()
