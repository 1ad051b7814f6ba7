"""An image of any size through a network that takes only even tiles, without losing the network's symmetry.

If `net` commutes with quarter turns and mirrors on single tiles, `segment` does on whole images, at every size: the
tiles of an image lie symmetrically about its centre, and so do their weights. Two cases need care, with L the length of
a side and T that of a tile, T even:

- A tile can lie centred only if L-T is even. Where L is odd, there is an even number of tiles in mirrored pairs.
- Where L < T and T-L is odd, the pair is the same tile twice, one pixel apart, each weighing a half.

The steps are separate (`plan`, `cut`, `stitch`), so that a caller can run them side by side or leave tiles out.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import TypeAlias

import numpy as np
from jaxtyping import Bool, Float

SIZES = tuple(range(128, 641, 16))
"""Lengths of a tile's sides to choose from, in pixels. A GPU is set up anew for each shape of tile, but photographs of
one camera share one. DRIVE, STARE, CHASE_DB1, HRF and FIVES cost at most 1.22 pixels per pixel, small odd ones more."""
OVERLAP = 64
"""Pixels that neighbours share at least. A pixel of a U-Net with three poolings sees about 50 pixels around it, but
hardly any of the outer ones; in the middle of the overlap it has 32 of its own tile."""
BATCH_PIXELS = 1 << 18
"""Pixels per call of the network, one tile at least. On a CPU larger batches gain nothing (onnxruntime, U-Net of 32 to
128 channels: 1.2 s per megapixel from 8 tiles of 128 to 1 of 624) and cost 1.9 GB per megapixel."""

Net: TypeAlias = Callable[[Float[np.ndarray, "b c th tw"]], Float[np.ndarray, "b th tw"]]
"""Tiles of a normalised image to probabilities in [0, 1]."""
Tile: TypeAlias = tuple[int, int]
"""A tile by its place in the plan: its row and its column."""


@dataclass(frozen=True, slots=True)
class Side:
    """Where tiles lie along one side of an image.

    `positions` has the pixel at which each tile begins, ascending; a tile that is longer than the side begins before
    pixel 0. It is its own mirror image: positions[n-1-i] = length - tile - positions[i].
    """

    length: int
    tile: int
    positions: tuple[int, ...]

    def inside(self, i: int) -> tuple[slice, slice]:
        """The part of tile `i` that lies in the image: in pixels of the image, and in pixels of the tile."""
        begin = self.positions[i]
        first, last = max(0, begin), min(self.length, begin + self.tile)
        return slice(first, last), slice(first - begin, last - begin)


@dataclass(frozen=True, slots=True)
class Plan:
    """All tiles of one image: a grid of its rows and columns."""

    rows: Side
    columns: Side

    @property
    def tiles(self) -> tuple[Tile, ...]:
        return tuple(product(range(len(self.rows.positions)), range(len(self.columns.positions))))

    @property
    def tile_pixels(self) -> int:
        return self.rows.tile * self.columns.tile

    @property
    def overhead(self) -> float:
        """Pixels that the network computes per pixel of the image; 1 if no pixel is computed twice."""
        return len(self.tiles) * self.tile_pixels / (self.rows.length * self.columns.length)

    def batches(self, pixels: int, tiles: Sequence[Tile]) -> Iterator[Sequence[Tile]]:
        """Some of the tiles in groups of at most `pixels` pixels, of one tile at least."""
        size = max(1, pixels // self.tile_pixels)
        return (tiles[i : i + size] for i in range(0, len(tiles), size))

    def near(self, wanted: Bool[np.ndarray, "h w"], reach: int) -> tuple[Tile, ...]:
        """The tiles that hold a wanted pixel, or lie within `reach` pixels of one; those of a moved image are moved."""

        def around(side: Side, i: int) -> slice:
            begin = side.positions[i]
            return slice(max(0, begin - reach), begin + side.tile + reach)

        return tuple((i, j) for i, j in self.tiles if wanted[around(self.rows, i), around(self.columns, j)].any())


def segment(
    image: Float[np.ndarray, "c h w"],
    net: Net,
    divisor: int,
    *,
    wanted: Bool[np.ndarray, "h w"] | None = None,
    reach: int = 0,
    sizes: Sequence[int] = SIZES,
    overlap: int = OVERLAP,
    batch_pixels: int = BATCH_PIXELS,
) -> Float[np.ndarray, "h w"]:
    """Run `net` on tiles of an image and blend what it says.

    Commutes with quarter turns and mirrors of the image, at every size, if `net` does on single tiles. Outside the
    image, a tile holds zeros, the mean colour of a normalised image.

    Args:
        image: normalised photograph, h and w at least 1; float32 or float64, which is also the type of the result.
        net: probabilities of a batch of tiles of one shape.
        divisor: the sides of a tile are multiples of it: 2 to the number of poolings of the network.
        wanted: pixels that somebody will look at; tiles that are not `Plan.near` them are left out. None: all pixels.
        reach: how many pixels around them count, too.
        sizes: sides of tiles to choose from; the one that computes the fewest pixels is taken.
        overlap: pixels that neighbouring tiles share at least.
        batch_pixels: pixels per call of `net` at most, one tile apart.

    Returns:
        Probabilities in [0, 1] up to rounding.
    """
    _, height, width = image.shape
    layout = plan(height, width, divisor, sizes, overlap)
    tiles = layout.tiles if wanted is None else layout.near(wanted, reach)
    return run(image, net, layout, tiles, batch_pixels)


def run(
    image: Float[np.ndarray, "c h w"],
    net: Net,
    layout: Plan,
    tiles: Sequence[Tile],
    batch_pixels: int = BATCH_PIXELS,
) -> Float[np.ndarray, "h w"]:
    """The same with some tiles of a plan only: pixels in none of them are 0, those where others are missing too low."""
    probability = np.zeros(image.shape[1:], image.dtype)
    for batch in layout.batches(batch_pixels, tiles):
        stitch(probability, net(cut(image, layout, batch)), layout, batch)
    return probability


def plan(height: int, width: int, divisor: int, sizes: Sequence[int] = SIZES, overlap: int = OVERLAP) -> Plan:
    """Choose the tile for an image and place it; a turned image gets the turned plan.

    Each side of the tile depends on the same side of the image alone, which is why turning commutes. Of equal costs the
    largest tile wins, as it has the fewest seams. `sizes` are rounded up to even multiples of `divisor`. A side that is
    such a multiple itself and no longer than the largest is its own tile: nothing is added to what the network sees.
    """
    assert height > 0, "an image has rows"
    assert width > 0, "an image has columns"
    assert 0 <= overlap < min(sizes), "tiles that overlap wholly would never reach the end"
    step = math.lcm(2, divisor)
    even = {math.ceil(size / step) * step for size in sizes}

    def best(length: int) -> Side:
        whole = {length} if length % step == 0 and length <= max(even) else set()
        return place(length, min(even | whole, key=lambda t: (count(length, t, overlap) * t, -t)), overlap)

    return Plan(best(height), best(width))


def count(length: int, tile: int, overlap: int) -> int:
    """How many tiles a side needs so that they can lie symmetrically and share `overlap` pixels or more."""
    odd = length % 2  # as `tile` is even, L-T is odd with L: no tile in the middle
    if length <= tile:
        return 1 + odd
    needed = math.ceil((length - overlap) / (tile - overlap))
    return needed + (needed * odd) % 2


def place(length: int, tile: int, overlap: int) -> Side:
    """Spread tiles over a side, as its own mirror image."""
    number, slack = count(length, tile, overlap), length - tile
    if slack <= 0:
        return Side(length, tile, tuple(sorted({slack // 2, -(-slack // 2)})))  # the centre, or half a pixel off it
    # Rounding up widens the outer steps by less than a pixel, to a whole number that is at most tile - overlap.
    first = [math.ceil(i * slack / (number - 1)) for i in range((number + 1) // 2)]
    return Side(length, tile, (*first, *(slack - p for p in reversed(first[: number // 2]))))


@lru_cache(maxsize=32)  # the photographs of a folder mostly have the same few sizes
def weights(side: Side, dtype: np.dtype[np.floating]) -> Float[np.ndarray, "n t"]:
    """Weight of every pixel of every tile along a side; those over one pixel of the image add up to 1.

    Towards a neighbour a weight falls smoothly, as `_ramp` over the shared pixels divided by the sum; it stays 1
    towards the border of the image. Mirroring a side mirrors its weights bit by bit.
    """
    raw = np.zeros((len(side.positions), side.tile))
    total = np.zeros(side.length)
    for i in range(len(raw)):
        image, tile = side.inside(i)
        raw[i, tile] = 1
        if i > 0 and side.positions[i] > 0:
            ramp = _ramp(side.positions[i - 1] + side.tile - side.positions[i])
            raw[i, : len(ramp)] *= ramp
        if i + 1 < len(raw) and side.positions[i + 1] > 0:
            ramp = _ramp(side.positions[i] + side.tile - side.positions[i + 1])
            raw[i, -len(ramp) :] *= ramp[::-1]
        total[image] += raw[i, tile]
    total = (total + total[::-1]) / 2  # three terms added in another order differ in the last bit
    for i in range(len(raw)):
        image, tile = side.inside(i)
        raw[i, tile] /= total[image]
    result = raw.astype(dtype)
    result.setflags(write=False)  # it is shared by all callers
    return result


def _ramp(pixels: int) -> Float[np.ndarray, " p"]:
    """From 0 to 1, mostly in the middle: near its edge a tile misses its surroundings and should not be heard.

    With a U-Net of random weights (two poolings, whole 800x800 image as the truth) and 48 shared pixels, sin² is wrong
    by .100 at most, sin⁴ by .037, sin⁸ by .008; sin² with 64 pixels by .050.
    """
    return np.sin(np.pi / 2 * (np.arange(pixels) + 0.5) / pixels) ** 8


def cut(image: Float[np.ndarray, "c h w"], layout: Plan, batch: Sequence[Tile]) -> Float[np.ndarray, "b c th tw"]:
    """Copy tiles out of an image; they hold zeros where they lie outside."""
    tiles = np.zeros((len(batch), len(image), layout.rows.tile, layout.columns.tile), image.dtype)
    for tile, (i, j) in zip(tiles, batch, strict=True):
        (y, tile_y), (x, tile_x) = layout.rows.inside(i), layout.columns.inside(j)
        tile[:, tile_y, tile_x] = image[:, y, x]
    return tiles


def stitch(
    total: Float[np.ndarray, "h w"], tiles: Float[np.ndarray, "b th tw"], layout: Plan, batch: Sequence[Tile]
) -> None:
    """Add weighted tiles to `total` in place; once all tiles of the plan are added, it is their weighted mean."""
    rows, columns = weights(layout.rows, total.dtype), weights(layout.columns, total.dtype)
    for tile, (i, j) in zip(tiles, batch, strict=True):
        (y, tile_y), (x, tile_x) = layout.rows.inside(i), layout.columns.inside(j)
        # The weights are multiplied with each other first: that product does not depend on which side is which.
        total[y, x] += np.outer(rows[i, tile_y], columns[j, tile_x]) * tile[tile_y, tile_x]
