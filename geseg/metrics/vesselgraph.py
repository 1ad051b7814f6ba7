"""Vessels as a graph: centre lines cut at their branch points, without the spurs that are no vessels."""

import math
from collections import Counter
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from jaxtyping import Bool, Float64, Int64
from scipy import ndimage

from geseg.metrics.thinning import RING, Cells, cells_of, thin

Path: TypeAlias = list[int]
"""Places in the list of cells, from one node to the next; a closed line begins and ends with the same one."""

SPUR = 1.0
"""Pixels that a branch must reach beyond the width of its vessel, or it is a bump of the wall."""
SMOOTHING = 4
"""Cells before and after one over which its place is averaged: two pixels to each side."""
SPECK = 0.01
"""Of the diameter of the field of view: the side of the square below whose area parts and holes do not count."""


@dataclass(frozen=True, slots=True)
class Network:
    """The centre lines of a mask.

    Attributes:
        cells: row and column of each cell in half pixels, row by row.
        radius: from each cell to the nearest edge of the vessel, in pixels.
        segments: the lines between nodes.
        area: pixels of the vessels that the lines are of.
    """

    cells: Cells
    radius: Float64[np.ndarray, " n"]
    segments: tuple[Path, ...]
    area: int

    @property
    def degrees(self) -> Counter[int]:
        """How many segments meet at each node; a closed one counts twice."""
        return Counter(end for path in self.segments for end in (path[0], path[-1]))

    def steps(self, path: Path) -> list[float]:
        """Lengths of the steps of a segment, in pixels; see `smooth_steps`."""
        return smooth_steps(self.cells[path])

    def length(self, path: Path) -> float:
        """Of a segment, in pixels; `math.fsum` rounds once, so that the order of the steps does not matter."""
        return math.fsum(self.steps(path))

    def chord(self, path: Path) -> float:
        """From one end of a segment straight to the other, in pixels."""
        (row, column), (row2, column2) = self.cells[path[0]].tolist(), self.cells[path[-1]].tolist()
        return math.sqrt((row - row2) ** 2 + (column - column2) ** 2) / 2


def trace(mask: Bool[np.ndarray, "h w"], diameter: int) -> Network:
    """Find the centre lines of a mask, without specks and spurs.

    Parts of the mask and holes in it smaller than a square of `SPECK` of `diameter`, in pixels, are left out and
    filled. A spur is a line from a branch point to a free end that reaches, to the edge of the vessel at its end, no
    further than the vessel at the branch point is wide and `SPUR` pixels, straight, and at most twice as far the way
    that it takes. Spurs go until none is left, as the loss of one may make its vessel a longer branch. A round part
    that is all spurs has no line.
    """
    clean = without_specks(mask, (SPECK * diameter) ** 2)
    cells = cells_of(clean)
    cells = cells[thin(cells)]
    radius = distance(cells, edges(clean))
    ring = _neighbours(cells)
    while (spurs := _spurs(cells, radius, ring)).size:
        keep = np.delete(np.arange(len(cells)), spurs)
        keep = keep[thin(cells[keep])]
        cells, radius = cells[keep], radius[keep]
        ring = _neighbours(cells)
    lines = _lines(ring)
    return Network(cells, radius, lines, _area_around(clean, cells[sorted({cell for path in lines for cell in path})]))


def _area_around(mask: Bool[np.ndarray, "h w"], cells: Cells) -> int:
    """Pixels of the parts of a mask that some of its cells are in."""
    parts, count = ndimage.label(mask, np.ones((3, 3)))
    around = np.zeros((count + 1), bool)
    for end in (cells // 2, (cells + 1) // 2):  # a cell between pixels: where two meet at a corner, one is outside
        around[parts[tuple(end.T)]] = True
    around[0] = False
    return int(around[parts].sum())


def without_specks(mask: Bool[np.ndarray, "h w"], area: float) -> Bool[np.ndarray, "h w"]:
    """Fill holes of fewer than `area` pixels (4-connected), and remove parts of so few (8-connected)."""
    holes, _ = ndimage.label(np.pad(~mask, 1, constant_values=True))
    filled = mask | _small(holes, area)[1:-1, 1:-1]
    parts, _ = ndimage.label(filled, np.ones((3, 3)))
    return np.asarray(filled & ~_small(parts, area))


def _small(parts: np.ndarray, area: float) -> Bool[np.ndarray, "h w"]:
    small = np.bincount(parts.ravel()) < area
    small[0] = False
    return np.asarray(small[parts])


def edges(mask: Bool[np.ndarray, "h w"]) -> Cells:
    """The places between a pixel inside and one outside, in half pixels; what lies around the image is outside."""
    padded = np.pad(mask, 1)
    down = np.argwhere(padded[1:] != padded[:-1]) * 2 - (1, 2)
    right = np.argwhere(padded[:, 1:] != padded[:, :-1]) * 2 - (2, 1)
    return np.concatenate([down, right])


def distance(cells: Cells, to: Int64[np.ndarray, "m 2"]) -> Float64[np.ndarray, " n"]:
    """From each cell to the nearest of others, in pixels; inf if there is none."""
    from scipy import spatial  # noqa: PLC0415 - takes long to import, for who does not measure

    if not len(to):
        return np.full(len(cells), np.inf)
    return np.asarray(spatial.KDTree(to).query(cells)[0]) / 2


def _neighbours(cells: Cells) -> Int64[np.ndarray, "n 8"]:
    """The place of each cell's neighbours in the list, the largest first, -1 where there are fewer.

    Two cells that meet at a corner count as neighbours only if no third has a side in common with both: the line goes
    through that one.
    """
    width = int(cells.max(initial=0)) + 2
    keys = cells @ np.array([width, 1])
    ring = np.full((len(cells), 8), -1)
    for k, (down, right) in enumerate(RING):
        wanted = keys + (down * width + right)
        place = np.searchsorted(keys, wanted).clip(max=max(len(keys) - 1, 0))  # cells come row by row
        ring[:, k] = np.where(keys[place] == wanted, place, -1)
    for k in (1, 3, 5, 7):
        ring[(ring[:, k - 1] >= 0) | (ring[:, (k + 1) % 8] >= 0), k] = -1
    return -np.sort(-ring, axis=1)


def _spurs(cells: Cells, radius: Float64[np.ndarray, " n"], ring: Int64[np.ndarray, "n 8"]) -> Int64[np.ndarray, " m"]:
    """The places of the cells of all spurs; all lines are followed from their free ends at once."""
    degree = np.sum(ring >= 0, axis=1)
    most = 2 * radius + SPUR
    tip = np.flatnonzero(degree == 1)
    line = np.arange(len(tip))
    before, cell = tip, ring[tip, 0]
    walked, spurs = [(line, tip)], np.zeros(len(tip), bool)
    for count in range(1, int(4 * most.max(initial=0)) + 1):  # a step is half a pixel or more
        arrived = degree[cell] > 2
        base, end = cell[arrived], tip[line[arrived]]
        reach = np.sqrt(np.sum((cells[base] - cells[end]) ** 2, axis=1)) / 2 + radius[end]
        spurs[line[arrived]] = (reach <= most[base]) & (count <= 4 * most[base])
        through = degree[cell] == 2
        line, before, cell = line[through], before[through], cell[through]
        walked.append((line, cell))
        before, cell = cell, np.where(ring[cell, 0] == before, ring[cell, 1], ring[cell, 0])
    return np.concatenate([cell[spurs[line]] for line, cell in walked])


def _lines(ring: Int64[np.ndarray, "n 8"]) -> tuple[Path, ...]:
    """All lines between nodes, and closed ones without a node."""
    degree = np.sum(ring >= 0, axis=1)
    one, other = ring[:, 0].tolist(), ring[:, 1].tolist()
    through = (degree == 2).tolist()
    left = list(through)  # cells of lines that are yet to be walked
    paths = []
    for node in np.flatnonzero(degree != 2).tolist():
        for first in ring[node, : degree[node]].tolist():
            if left[first] or (not through[first] and node < first):
                paths.append(_walk(node, first, one, other, left))
    for cell in np.flatnonzero(degree == 2).tolist():
        if left[cell]:
            left[cell] = False
            paths.append(_walk(cell, one[cell], one, other, left))
    return tuple(paths)


def _walk(start: int, cell: int, one: list[int], other: list[int], left: list[bool]) -> Path:
    """From a node through cells of two neighbours to the next node, or as far as they are left."""
    path = [start]
    while left[cell]:
        left[cell] = False
        before = path[-1]
        path.append(cell)
        cell = other[cell] if one[cell] == before else one[cell]
    return [*path, cell]


def smooth_steps(points: Cells) -> list[float]:
    """How far it is from each point of a line to the next, in pixels, once the line is smoothed.

    Each point is replaced by the mean of itself and of `SMOOTHING` points to each side, of fewer near the ends, which
    stay where they are. Lines on a grid are made of steps of two lengths; without smoothing a straight one would be up
    to 8 % too long, depending on its direction. All is whole numbers up to the last root: the steps of a line that is
    turned, mirrored or walked the other way are the same to the last bit.
    """
    count = len(points)
    if (points[0] == points[-1]).all():  # closed: goes on at its other end
        reach = np.full(count, min(SMOOTHING, (count - 2) // 2))
        turn = np.arange(-reach[0], count + reach[0]) % (count - 1)
        sums = np.cumsum(np.concatenate([[[0, 0]], points[turn]]), axis=0)
        first = np.arange(count)
    else:
        place = np.arange(count)
        reach = np.minimum(SMOOTHING, np.minimum(place, place[::-1]))
        sums = np.cumsum(np.concatenate([[[0, 0]], points]), axis=0)
        first = place - reach
    sizes = (2 * reach + 1)[:, None]
    windows = sums[first + 2 * reach + 1] - sums[first]
    moves = windows[1:] * sizes[:-1] - windows[:-1] * sizes[1:]
    lengths = np.sqrt((moves**2).sum(axis=1)) / (2 * sizes[1:] * sizes[:-1])[:, 0]
    return list(map(float, lengths))
