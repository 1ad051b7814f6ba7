"""Figures of the vessels of a mask: how much, how long, how wide, how branched, how winding.

All come from the centre lines of `vesselgraph`, which turn and mirror with the mask: none changes to the last bit when
mask and field of view are turned by quarters or mirrored. Arteries, veins and the vessels of the optic disc count
alike. Where a length is measured in diameters of the field of view, photographs of cameras that differ in their pixels
compare, as far as they show the same angle.
"""

import math
import statistics
from collections import Counter
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int64

from geseg.metrics import thinning, vesselgraph
from geseg.metrics.vesselgraph import Network

RIM = 0.02
"""Of the diameter of the field of view: how near to its rim a vessel counts as cut off by it. In masks of the 20 test
photographs of DRIVE, 500 of 1604 ends are nearer, most by half; further in there are 10 in every quarter of it."""
CROSSING = 1.5
"""Widths of a vessel between two branch points that count as one: so near are those of a thinned crossing, if it is
steeper than some 45 degrees. In masks of the 20 test photographs of DRIVE 27 % of the segments between branch points
are shorter, twice as many for every half width as among longer ones."""
SHORTEST = 10.0
"""Pixels of a segment that has a tortuosity: that of shorter ones depends on half a pixel at their ends."""
BOXES = (4, 8, 16, 32, 64)
"""Into how many boxes the diameter of the field of view is cut for the fractal dimension: in DRIVE their sides have 135
to 8 pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Morphometry:
    """The figures of one mask.

    Attributes:
        fov_diameter: of the field of view, in pixels: the longer side of its bounding box, which no cut at two sides
            changes.
        fov_area: in pixels.
        vessel_area: of the whole mask inside the field of view, in pixels.
        length: `length` of all vessels, in pixels.
        width: their mean width in pixels: area by length, the vessel diameter index of Chu et al. 2016
            (doi:10.1117/1.JBO.21.6.066008), both without specks; nan without a vessel. Twice the distance from the
            centre line to the nearest edge would be 8 % less for a bar at 30 degrees than for the same at 0.
        branch_points: see `branch_points`.
        end_points: see `end_points`.
        tortuosity: see `tortuosity`.
        fractal_dimension: see `fractal_dimension`.
    """

    fov_diameter: int
    fov_area: int
    vessel_area: int
    length: float
    width: float
    branch_points: int
    end_points: int
    tortuosity: float
    fractal_dimension: float

    @property
    def density(self) -> float:
        """Share of the field of view that is vessel, in [0, 1] (Chu et al. 2016: vessel area density)."""
        return self.vessel_area / self.fov_area

    @property
    def relative_length(self) -> float:
        """Diameters of the field of view per square of a diameter: vessel skeleton density (Chu et al. 2016)."""
        return self.per_area(self.length / self.fov_diameter)

    def per_area(self, amount: int | float) -> float:
        """How many there are on a square whose side is the diameter of the field of view.

        For branch points it is the branching index of Zudaire et al. 2011 (doi:10.1371/journal.pone.0027385).
        """
        return amount * self.fov_diameter**2 / self.fov_area


@dataclass(frozen=True, slots=True)
class Measured:
    """The figures of a mask and its centre lines, bool[h, w]; see `thinning.to_pixels`."""

    figures: Morphometry
    skeleton: Bool[np.ndarray, "h w"]


def measure(mask: Bool[np.ndarray, "h w"], fov: Bool[np.ndarray, "h w"]) -> Measured:
    """Measure the vessels of a mask inside a field of view, which has at least one pixel."""
    inside = mask & fov
    diameter = max(high - low + 1 for low, high in _bounds(fov))
    network = vesselgraph.trace(inside, diameter)
    used = sorted({cell for path in network.segments for cell in path})
    skeleton = thinning.to_pixels(network.cells[used], inside.shape)
    total = length(network)
    figures = Morphometry(
        fov_diameter=diameter,
        fov_area=int(fov.sum()),
        vessel_area=int(inside.sum()),
        length=total,
        width=network.area / total if total else math.nan,
        branch_points=branch_points(network),
        end_points=end_points(network, fov, diameter),
        tortuosity=tortuosity(network),
        fractal_dimension=fractal_dimension(skeleton, fov),
    )
    return Measured(figures, skeleton)


def length(network: Network) -> float:
    """Of all segments in pixels, and from each free end to the edge of the vessel as far as it is to its sides.

    So the length of a straight bar is that of its longer side, though its centre line ends half a width before.
    """
    ends = (network.radius[node] for node, degree in network.degrees.items() if degree == 1)
    return math.fsum([*(step for path in network.segments for step in network.steps(path)), *ends])


def branch_points(network: Network) -> int:
    """Number of places where three or more segments meet; a crossing is one place (as Zudaire et al. 2011 count).

    A thinned crossing falls into two places with a short segment between them: places that are joined by a segment of
    at most `CROSSING` times the width of the vessel there are taken for one.
    """
    place = {node: node for node, degree in network.degrees.items() if degree > 2}

    def find(node: int) -> int:
        while place[node] != node:
            node = place[node]
        return node

    leaving = Counter[int]()
    for path in network.segments:
        one, other = path[0], path[-1]
        both = one in place and other in place
        if both and network.length(path) <= 2 * CROSSING * max(network.radius[one], network.radius[other]):
            place[find(one)] = find(other)
        else:
            leaving.update((one, other))
    meeting = Counter[int]()
    for node in place:
        meeting[find(node)] += leaving[node]
    return sum(count > 2 for count in meeting.values())


def end_points(network: Network, fov: Bool[np.ndarray, "h w"], diameter: int) -> int:
    """Number of free ends of vessels, without those that the field of view cuts off.

    Those are the ends from which it is no further to its rim, or that of the image, than to the side of the vessel and
    `RIM` of its `diameter`.
    """
    ends = np.array([node for node, degree in network.degrees.items() if degree == 1], np.int64)
    to_rim = vesselgraph.distance(network.cells[ends], vesselgraph.edges(fov))
    return int(np.sum(to_rim > network.radius[ends] + RIM * diameter))


def tortuosity(network: Network) -> float:
    """Mean over segments of arc length by chord length, weighted with the arc length: 1 if all are straight.

    It is the first of the measures of Hart et al. 1999 (doi:10.1016/S1386-5056(98)00163-4). Closed segments, which
    have no chord, and those shorter than `SHORTEST` are left out; nan if none is left.
    """
    arcs = [(network.length(path), network.chord(path)) for path in network.segments]
    kept = [(arc, chord) for arc, chord in arcs if arc >= SHORTEST and chord > 0]
    return math.fsum(arc * arc / chord for arc, chord in kept) / math.fsum(arc for arc, _ in kept) if kept else math.nan


def fractal_dimension(skeleton: Bool[np.ndarray, "h w"], fov: Bool[np.ndarray, "h w"]) -> float:
    """Box-counting dimension of the centre lines: 1 for a straight line, 2 for what fills the plane.

    The slope of the line of least squares through log N over log n, where N boxes hold a piece of a line if the
    diameter of the field of view is cut into n of `BOXES`; a grid of boxes meets the centre of the field of view, and
    what lies on an edge counts for both sides. nan without a line. How it varies with who or what draws the vessels,
    more than between people, is in Huang et al. 2016 (doi:10.1155/2016/6259047), as is its definition.
    """
    if not skeleton.any():
        return math.nan
    bounds = _bounds(fov)
    diameter = max(high - low + 1 for low, high in bounds)
    places = [2 * side - (low + high) for side, (low, high) in zip(np.nonzero(skeleton), bounds, strict=True)]
    counts = [_count_boxes(places[0] * n, places[1] * n, 2 * diameter) for n in BOXES]
    return statistics.linear_regression([math.log(n) for n in BOXES], [math.log(count) for count in counts]).slope


def _count_boxes(rows: Int64[np.ndarray, " n"], columns: Int64[np.ndarray, " n"], side: int) -> int:
    """How many closed squares of a grid through the origin hold one of the points, in whole numbers to be exact."""
    middle = max(BOXES)
    boxes = np.zeros((2 * middle, 2 * middle), bool)
    for y in (rows // side, -(-rows // side) - 1):
        for x in (columns // side, -(-columns // side) - 1):
            boxes[y + middle, x + middle] = True
    return int(boxes.sum())


def _bounds(fov: Bool[np.ndarray, "h w"]) -> list[tuple[int, int]]:
    """First and last row, first and last column of a field of view."""
    sides = (np.flatnonzero(fov.any(axis=axis)) for axis in (1, 0))
    return [(int(side[0]), int(side[-1])) for side in sides]
