"""How a steerable convolution is computed in irreps: which filters, which sums, and where each weight goes.

In irreps of its input and output (see `irreps`) the kernel of a steerable convolution between fields falls into blocks
(Schur's lemma; Weiler & Cesa 2019, arXiv:1911.08251, section 2.4). With S fixed filters of k x k pixels, which span all
that basis kernels look like, an output of irrep ψ is

    y[c, d] = sum over fields i and solutions b of W[c, i, b] * f[i, b, d]
    f[i, b, d] = sum over channels p and filters s of PHI[b, d, p, s] * (filter s of channel p of field i)

with d over the dimensions of ψ and c over its copies in all output fields. All weights are in W, and all copies of an
irrep share one f: that is where multiplications go away. PHI is fixed, and most (d4) or half (d8) of
its rows have one entry.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int

from geseg.model.group import Group
from geseg.native import irreps
from geseg.native.irreps import Irrep

SMALL = 1e-9
"""Numbers below it are rounding errors of bases that are known to 1e-12."""


@dataclass(frozen=True, slots=True)
class Component:
    """One component of one irrep of the output.

    Attributes:
        rows: per copy of the irrep, its channel in a field of the output, in irreps.
        planes: per solution b, the plane of an input field that it is, times `scales`.
        weights: where W begins for this irrep, among all weights of two fields.
    """

    rows: tuple[int, ...]
    planes: Int[np.ndarray, " b"]
    scales: Float64[np.ndarray, " b"]
    weights: int


@dataclass(frozen=True, slots=True)
class Plan:
    """What is fixed in a convolution from fields to regular fields; the planes of a field are filters and sums of them.

    Attributes:
        reflections: whether the group has any.
        to_irreps: float64[|ρ_in|, |ρ_in|], of the channels of an input field.
        filters: float64[S, k, k]; the first is a one in the centre.
        extras: sums of what the filters give: rows over channels and filters (channel first).
        components: what is computed from the planes.
        from_irreps: float64[|ρ_out|, |ρ_out|].
        mixing: from the coefficients of basis kernels to W of all irreps, one after the other (copy, then solution).
    """

    reflections: bool
    to_irreps: Float64[np.ndarray, "q q"]
    filters: Float64[np.ndarray, "s k k"]
    extras: Float64[np.ndarray, "e qs"]
    components: tuple[Component, ...]
    from_irreps: Float64[np.ndarray, "p p"]
    mixing: Float64[np.ndarray, "b b"]

    @property
    def in_size(self) -> int:
        """Channels of a field of the input."""
        return len(self.to_irreps)

    @property
    def out_size(self) -> int:
        """Channels of a field of the output."""
        return len(self.from_irreps)

    @property
    def planes(self) -> int:
        """Of a field of the input."""
        return len(self.to_irreps) * len(self.filters) + len(self.extras)


def factorise(group: Group, basis: Float64[np.ndarray, "b p q k k"]) -> Plan:
    """Take the basis kernels from one field to one regular field apart.

    Args:
        group: of the fields.
        basis: as `kernels.basis` gives it.

    Raises:
        ValueError: these are not the steerable kernels of this group.
    """
    count, out_size, in_size, size, _ = basis.shape
    back, parts = irreps.of_regular(group)
    to = back.T if in_size == group.order else np.ones((1, 1))
    hat = np.einsum("pa,bpqij,cq->bacij", back, basis, to)
    filters = _filters(hat.reshape(-1, size, size))
    flat = filters.reshape(len(filters), -1)
    of_filters = np.linalg.lstsq(flat.T, hat.reshape(-1, size * size).T, rcond=None)[0].T
    responses = of_filters.reshape(count, out_size, in_size * len(filters))
    extras, components, mixing = list[np.ndarray](), list[Component](), list[np.ndarray]()
    for irrep in parts:
        solutions, weights = _solve(responses, irrep)
        components += _components(irrep, solutions, extras, sum(len(w) for w in mixing))
        mixing.append(weights)
    sums = np.array(extras).reshape(-1, in_size * len(filters))
    plan = Plan(group.reflections, to, filters, sums, tuple(components), back, np.concatenate(mixing))
    if plan.mixing.shape != (count, count) or np.linalg.cond(plan.mixing) > 1e6:
        raise ValueError(f"the basis of {group.name} has {count} kernels, its irreps {len(plan.mixing)} solutions")
    return plan


def _filters(patterns: Float64[np.ndarray, "n k k"]) -> Float64[np.ndarray, "s k k"]:
    """Few filters with many zeros that span `patterns`: sorted by how they look when mirrored and transposed."""
    found = list[np.ndarray]()
    for across, along in ((1, 1), (-1, 1), (1, -1), (-1, -1)):
        even = patterns + across * patterns[:, :, ::-1]
        even = (even + along * even[:, ::-1]) / 4
        kinds = [(even + sign * even.transpose(0, 2, 1)) / 2 for sign in (1, -1)] if across == along else [even]
        found += [reduced(kind.reshape(len(kind), -1)) for kind in kinds]
    filters = np.concatenate(found)
    centre = np.argmax(np.eye(filters.shape[1])[filters.shape[1] // 2] @ filters.T)
    order = np.argsort(np.arange(len(filters)) != centre, kind="stable")
    return filters[order].reshape(-1, *patterns.shape[1:])


def _solve(
    responses: Float64[np.ndarray, "b p qs"], irrep: Irrep
) -> tuple[Float64[np.ndarray, "n d qs"], Float64[np.ndarray, "m b"]]:
    """PHI of an irrep, and its rows of `Plan.mixing`."""
    count = len(responses)
    copies = [
        responses[:, irrep.first + m * irrep.size :][:, : irrep.size].reshape(count, -1) for m in range(irrep.copies)
    ]
    solutions = reduced(copies[0])
    weights = []
    for copy in copies:
        solved = np.linalg.lstsq(solutions.T, copy.T, rcond=None)[0]
        if np.abs(solutions.T @ solved - copy.T).max() > 1e-6:
            raise ValueError("copies of an irrep differ: these kernels are not steerable")
        weights.append(solved)
    return solutions.reshape(len(solutions), irrep.size, responses.shape[-1]), np.concatenate(weights)


def _components(
    irrep: Irrep, solutions: Float64[np.ndarray, "n d qs"], extras: list[np.ndarray], start: int
) -> list[Component]:
    """The components of an irrep; sums that a solution needs are added to `extras`."""
    found = []
    for d in range(irrep.size):
        planes, scales = [], []
        for row in solutions[:, d]:
            terms = np.flatnonzero(row)
            scales.append(row[terms[0]])
            planes.append(terms[0] if len(terms) == 1 else len(row) + _place(row / row[terms[0]], extras))
        rows = tuple(irrep.first + m * irrep.size + d for m in range(irrep.copies))
        found.append(Component(rows, np.array(planes, int), np.array(scales), start))
    return found


def _place(row: Float64[np.ndarray, " qs"], rows: list[np.ndarray]) -> int:
    """Which of some rows it is; it becomes the last one if it is new."""
    for place, other in enumerate(rows):
        if np.abs(row - other).max() < SMALL:
            return place
    rows.append(row)
    return len(rows) - 1


def reduced(rows: Float64[np.ndarray, "n m"]) -> Float64[np.ndarray, "r m"]:
    """The reduced row echelon form: a basis of what the rows span, with many zeros. Pivots are the largest numbers."""
    left, found, scale = rows.copy(), list[np.ndarray](), np.abs(rows).max()
    while np.abs(left).max(initial=0) > SMALL * max(scale, 1):
        largest = np.abs(left) > np.abs(left).max() * (1 - SMALL)
        i, j = np.unravel_index(np.argmax(largest), left.shape)  # of those that are equal the first, on every machine
        pivot = left[i] / left[i, j]
        left = left - np.outer(left[:, j], pivot)
        found = [*(row - row[j] * pivot for row in found), pivot]
    basis = np.array(found).reshape(-1, rows.shape[1])
    basis[np.abs(basis) < SMALL] = 0
    return basis
