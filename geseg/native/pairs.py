"""What planes.h computes of 3x3 kernels: filters of single channels, and sums that two channels make together.

An irrep of two dimensions is two channels p and q, side by side. What a solution needs of them is a filter of one, or
harmonics of both: of the first ones dx(p) ± dy(q) and dy(p) ± dx(q), of the second ones, whose corners count `even`,
cos2(p) ± even sin2(q) and even sin2(p) ± cos2(q). Where one sign is needed the other one is, too: the two sums take the
places of the two filters, which need not be written to memory to be read again.
"""

import dataclasses

import numpy as np
from jaxtyping import Float64, Int32

from geseg.native.plan import SMALL, Plan

FILTERS = 6
RING, COS2, DX, DY, SIN2 = range(1, FILTERS)
"""Filters of a 3x3 kernel beside the centre, as a plan sorts them."""
ALONE, FIRST, BOTH, SECOND = range(4)
"""What kernel.h calls the pairing of a channel."""


@dataclasses.dataclass(frozen=True, slots=True)
class Known:
    """The filters of 3x3 kernels in two numbers, and which channels are pairs.

    Attributes:
        even: of a corner in the ring, and in sums of second harmonics.
        odd: of a corner in the first harmonics.
        pairing: of each channel of an input field.
    """

    even: float
    odd: float
    pairing: Int32[np.ndarray, " q"]


def find(plan: Plan) -> tuple[Plan, Known | None]:
    """The same convolution from planes that planes.h knows, if it does; else the plan as it is, and None."""
    corners = _corners(plan.filters)
    if corners is None:
        return plan, None
    pairing = _pairing(plan)
    found = _from_planes(plan, _planes(pairing, corners[0]))
    return (plan, None) if found is None else (found, Known(*corners, pairing))


def _corners(filters: Float64[np.ndarray, "s k k"]) -> tuple[float, float] | None:
    if filters.shape != (FILTERS, 3, 3):
        return None
    even, odd = float(filters[RING][0, 0]), float(filters[DX][0, 0])
    side = np.array([1.0, 0, -1])
    ramp = np.outer([odd, 1, odd], side)
    ring = np.array([[even, 1, even], [1, 0, 1], [even, 1, even]])
    waves = np.array([[0, 1, 0], [-1, 0, -1], [0, 1, 0]]), np.outer(side, side)
    known = [np.outer([0, 1, 0], [0, 1, 0]), ring, waves[0], ramp, ramp.T, waves[1]]
    return (even, odd) if np.allclose(filters, known, atol=1e-12) else None


def _pairing(plan: Plan) -> Int32[np.ndarray, " q"]:
    pairing = np.full(plan.in_size, ALONE, np.int32)
    for row in plan.extras:
        terms = np.flatnonzero(row)
        p, harmonic = divmod(terms[0], FILTERS)
        pairing[p] = max(pairing[p], BOTH if harmonic in (COS2, SIN2) else FIRST)
        pairing[terms[-1] // FILTERS] = SECOND
    return pairing


def _planes(pairing: Int32[np.ndarray, " q"], even: float) -> Float64[np.ndarray, "qs qs"]:
    """What is computed, as sums of channels and filters (channel first)."""
    planes = np.eye(FILTERS * len(pairing))
    weights = np.ones(FILTERS)
    weights[SIN2] = even
    for p in np.flatnonzero((pairing == FIRST) | (pairing == BOTH)):
        for one, other in ((DX, DY), (DY, DX), (COS2, SIN2), (SIN2, COS2))[: 2 * pairing[p]]:
            rows = [FILTERS * p + one, FILTERS * (p + 1) + other]
            first, second = weights[[one, other], None] * planes[rows]
            planes[rows] = first + second, first - second
    return planes


def _from_planes(plan: Plan, planes: Float64[np.ndarray, "qs qs"]) -> Plan | None:
    """The plan with these planes in place of filters and sums, if it needs nothing but multiples of them."""
    wanted = np.concatenate([np.eye(len(planes)), plan.extras])
    norms = np.linalg.norm(planes, axis=1)
    alike = wanted @ planes.T / norms
    place = np.abs(alike).argmax(1)
    scale = alike[np.arange(len(wanted)), place] / norms[place]
    needed = np.concatenate([component.planes for component in plan.components])
    if np.abs(scale[:, None] * planes[place] - wanted)[needed].max() > SMALL:
        return None
    components = tuple(
        dataclasses.replace(own, planes=place[own.planes], scales=own.scales * scale[own.planes])
        for own in plan.components
    )
    return dataclasses.replace(plan, extras=plan.extras[:0], components=components)
