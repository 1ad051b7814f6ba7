"""The regular representation of a group, taken apart into irreducible ones (irreps).

A regular field has |G| channels, one per group element. In another orthogonal basis of these channels the group acts on
small blocks of them alone: one-dimensional irreps, and two-dimensional ones that turn k times as fast as the image.
With matrix elements ψ(g)_ij of an irrep ψ of dimension d, the vectors √(d / |G|) ψ(g)_ij over g are that basis
(Peter-Weyl; Serre 1977, Linear Representations of Finite Groups, sections 2.4 and 2.7).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from geseg.model.group import Group


@dataclass(frozen=True, slots=True)
class Irrep:
    """An irrep, and where its copies are.

    Attributes:
        size: its dimension d, 1 or 2.
        copies: how often it is in the representation.
        first: the column of its first copy in the change of basis; its copies lie side by side.
    """

    size: int
    copies: int
    first: int


def of_regular(group: Group) -> tuple[Float64[np.ndarray, "g g"], tuple[Irrep, ...]]:
    """The change of basis Q (columns are the new basis) and the irreps in the order of its columns.

    Elements are in e2cnn's order: all rotations by rising angle, then each of them after a reflection.

    Shapes:
        Q: float64[|G|, |G|], orthogonal; irreps = Qᵀ regular
    """
    n, reflections = group.rotations, group.reflections
    angles = 2 * np.pi * np.arange(n) / n
    signs = (1, -1) if reflections else (1,)
    columns, irreps = list[np.ndarray](), list[Irrep]()
    for frequency in range(n // 2 + 1):
        cos, sin = np.cos(frequency * angles), np.sin(frequency * angles)
        if frequency in (0, n / 2):
            for sign in signs:
                irreps.append(Irrep(1, 1, len(columns)))
                columns.append(_of_elements(cos, sign, reflections))
        else:
            irreps.append(Irrep(2, len(signs), len(columns)))
            for first, second, sign in ((cos, sin, 1), (-sin, cos, -1))[: len(signs)]:
                columns += [_of_elements(first, sign, reflections), _of_elements(second, sign, reflections)]
    basis = np.stack(columns, 1)
    basis[np.abs(basis) < 1e-12] = 0  # cosines of quarter turns
    return basis / np.linalg.norm(basis, axis=0), tuple(irreps)


def _of_elements(rotations: np.ndarray, sign: int, reflections: bool) -> np.ndarray:
    return np.concatenate([rotations, sign * rotations]) if reflections else rotations
