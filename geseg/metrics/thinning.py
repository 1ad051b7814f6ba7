"""Centre lines that turn and mirror with their image, one cell thin, and half a pixel fine.

Thinning on pixels cannot do that: the middle of a vessel that is two pixels wide lies between them, and who takes one
of them favours a side. So the lines live on a finer grid, whose cells are the pixels (both coordinates even), the
places between two neighbours (one coordinate odd) and the corners where four pixels meet (both odd): the cell complex
of digital topology (Kovalevsky 1989, doi:10.1016/0734-189X(89)90165-5). All cells of one of these kinds can be taken
away at once, without an order that would favour a direction, as no two of them share a side; no component falls apart
or vanishes, and no hole opens or closes (Ronse 1988, doi:10.1016/0166-218X(88)90034-0).
"""

from typing import TypeAlias

import numpy as np
from jaxtyping import Bool, Int64, UInt8

Cells: TypeAlias = Int64[np.ndarray, "n 2"]
"""Row and column of cells in half pixels: twice those of a pixel, and odd between pixels."""
RING = ((-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1))
"""The neighbours of a cell, around it; the even ones share a side with it."""


def _is_removable(ring: int) -> bool:
    """Whether a cell with these neighbours (bit k for `RING[k]`) is neither the end of a line nor holds parts together.

    It holds nothing together if its neighbours are one 8-connected part and it touches the background with a side: if
    the crossing number for 8-connected figures is 1 (Yokoi et al. 1975, doi:10.1016/S0146-664X(75)80007-8).
    """
    on = [bool(ring >> k & 1) for k in range(8)]
    parts = sum(not on[k] and (on[k + 1] or on[(k + 2) % 8]) for k in (0, 2, 4, 6))
    return parts == 1 and sum(on) > 1


REMOVABLE = np.array([_is_removable(ring) for ring in range(256)])


def cells_of(mask: Bool[np.ndarray, "h w"]) -> Cells:
    """The cells of a mask: its pixels, the places between two of them, and the corners where two of them meet."""
    height, width = mask.shape
    grid = np.zeros((2 * height - 1, 2 * width - 1), bool)
    grid[::2, ::2] = mask
    grid[1::2, ::2] = mask[:-1] & mask[1:]
    grid[::2, 1::2] = mask[:, :-1] & mask[:, 1:]
    grid[1::2, 1::2] = (mask[:-1, :-1] & mask[1:, 1:]) | (mask[:-1, 1:] & mask[1:, :-1])
    return np.argwhere(grid)


def thin(cells: Cells) -> Bool[np.ndarray, " n"]:
    """Which of some cells are their centre lines, with all the spurs that lead to corners and bumps of the outline.

    Layer after layer, of each layer the corners first, then what lies between two pixels, then the pixels: a cell goes
    unless it is the end of a line or holds parts together. The order prefers lines through the centres of pixels.
    """
    height, width = (cells.max(axis=0, initial=0) + 3).tolist()  # an empty cell around, so that all have neighbours
    places = (cells + 1) @ np.array([width, 1])
    kinds = np.zeros(height * width, np.uint8)  # 0 none or gone, 1 pixel, 2 between two pixels, 3 corner
    kinds[places] = 1 + (cells % 2).sum(axis=1)
    steps = np.array([down * width + right for down, right in RING])
    layer = places[np.logical_or.reduce([kinds[places + step] == 0 for step in steps[::2]])]
    queued = np.zeros(kinds.shape, bool)
    while layer.size:
        kind = kinds[layer]
        gone = np.concatenate([_take_away(kinds, layer[kind == k], steps) for k in (3, 2, 1)])
        layer = _around(kinds, gone, steps, queued)
    return np.asarray(kinds[places] > 0)


def _take_away(
    kinds: UInt8[np.ndarray, " cells"], candidates: Int64[np.ndarray, " n"], steps: Int64[np.ndarray, "8"]
) -> Int64[np.ndarray, " m"]:
    """Set those candidates, all of one kind, to 0 that can go at once, and return them."""
    ring = np.zeros(candidates.shape, np.uint8)
    for k, step in enumerate(steps):
        ring |= (kinds[candidates + step] > 0).view(np.uint8) << np.uint8(k)
    gone = candidates[REMOVABLE[ring]]
    kinds[gone] = 0
    return np.asarray(gone)


def _around(
    kinds: UInt8[np.ndarray, " cells"],
    gone: Int64[np.ndarray, " n"],
    steps: Int64[np.ndarray, "8"],
    queued: Bool[np.ndarray, " cells"],
) -> Int64[np.ndarray, " m"]:
    """The cells beside those that went, each once: only of these can the answer have changed. `queued` stays empty."""
    found = []
    for step in steps:
        beside = gone + step
        beside = beside[(kinds[beside] > 0) & ~queued[beside]]
        queued[beside] = True
        found.append(beside)
    layer = np.concatenate(found)
    queued[layer] = False
    return layer


def to_pixels(cells: Cells, shape: tuple[int, int]) -> Bool[np.ndarray, "h w"]:
    """The pixels through which lines pass, two abreast where a line runs between them.

    A cell between two pixels counts for both, unless the line goes on through one of them; so the pixels of a line of
    several cells hang together, and a line through a corner has those of the cells before and after it.
    """
    line = np.zeros(shape, bool)
    odd = cells % 2
    pixels = cells[odd.sum(axis=1) == 0] // 2
    line[pixels[:, 0], pixels[:, 1]] = True
    between = odd.sum(axis=1) == 1
    one = cells[between] // 2
    other = one + odd[between]
    alone = ~line[one[:, 0], one[:, 1]] & ~line[other[:, 0], other[:, 1]]
    for pixels in (one[alone], other[alone]):
        line[pixels[:, 0], pixels[:, 1]] = True
    return line
