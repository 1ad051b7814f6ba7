"""From the coefficients of basis kernels to the weights as the kernel reads them, and back for their gradients.

Both are linear, and each weight is a sum of few coefficients, mostly of one. So they are written down entry by entry,
and no matrices are multiplied: numpy's BLAS does that with threads, which go on taking a core for tens of milliseconds
in case there is more to do. A training step of d8 took a fifth longer with them.
"""

import functools

import numpy as np
from jaxtyping import Float, Float64, Int

from geseg.native.library import MOST_OUTS
from geseg.native.plan import SMALL, Plan


class Packing:
    """What weights a layer of so many fields consists of.

    Attributes:
        size: how many there are.
    """

    def __init__(self, plan: Plan, out_fields: int, in_fields: int) -> None:
        self._shape = out_fields, in_fields, plan.mixing.shape[1]
        places, scales = _order(plan, out_fields, in_fields)
        self.size = len(places)
        pair, row = np.divmod(places, len(plan.mixing))
        terms = np.count_nonzero(np.abs(plan.mixing) > SMALL, axis=1)
        columns = np.argsort(-np.abs(plan.mixing), axis=1)
        entries = list[tuple[np.ndarray, np.ndarray, np.ndarray]]()
        for number in range(terms.max()):
            weight = np.flatnonzero(terms[row] > number)
            column = columns[row[weight], number]
            factor = plan.mixing[row[weight], column] * scales[weight]
            entries.append((weight, pair[weight] * self._shape[2] + column, factor))
        self._entries = tuple(entries)

    def pack(self, coefficients: Float[np.ndarray, "o i b"]) -> Float64[np.ndarray, " w"]:
        """The weights, in the order of the kernel."""
        flat, ((_, first, first_factor), *others) = coefficients.reshape(-1), self._entries  # all have a first one
        weights: np.ndarray = flat[first] * first_factor
        for weight, coefficient, factor in others:  # none comes twice in one of them
            weights[weight] += flat[coefficient] * factor
        return weights

    def unpack(self, slopes: Float[np.ndarray, " w"]) -> Float64[np.ndarray, "o i b"]:
        """The gradient of the coefficients, from that of the weights."""
        (weights, coefficients, factors), size = self._at_once, np.prod(self._shape, dtype=int)
        return np.bincount(coefficients, slopes[weights] * factors, size).reshape(self._shape)

    @functools.cached_property
    def _at_once(self) -> list[np.ndarray]:
        """All entries together, which only training needs."""
        return list(map(np.concatenate, zip(*self._entries, strict=True)))


def _order(plan: Plan, out_fields: int, in_fields: int) -> tuple[Int[np.ndarray, " w"], Float64[np.ndarray, " w"]]:
    """For each weight as the kernel reads it (see kernel.h) its place among those of all irreps, and its factor."""
    places, scales = list[np.ndarray](), list[np.ndarray]()
    numbers = np.arange(out_fields * in_fields * len(plan.mixing)).reshape(out_fields, in_fields, -1)
    for component in plan.components:
        copies, many = len(component.rows), len(component.planes)
        own = numbers[:, :, component.weights : component.weights + copies * many]
        own = own.reshape(out_fields, in_fields, copies, many).transpose(2, 0, 1, 3).reshape(copies * out_fields, -1)
        blocks = np.array_split(own, -(-len(own) // MOST_OUTS))
        places += [block.T.ravel() for block in blocks]
        scales += [np.repeat(np.tile(component.scales, in_fields), len(block)) for block in blocks]
    return np.concatenate(places), np.concatenate(scales)
