"""Batches that do not fit into memory are halved instead of ending a long run."""

import re

import numpy as np
from jaxtyping import Float

from geseg.inference.tiling import Net


class Halving:
    """A net that runs in smaller batches from then on when memory runs out; its results are those of the net.

    Attributes:
        largest: tiles per batch that still fit; None while nothing was too large.
    """

    def __init__(self, net: Net) -> None:
        self._net = net
        self.largest: int | None = None

    def __call__(self, tiles: Float[np.ndarray, "b c th tw"]) -> Float[np.ndarray, "b th tw"]:
        parts, begin = [], 0
        while begin < len(tiles):
            batch = tiles[begin : begin + (self.largest or len(tiles))]
            try:
                parts.append(self._net(batch))
            except Exception as error:
                if len(batch) == 1 or not is_out_of_memory(error):
                    raise
                self.largest = len(batch) // 2
            else:
                begin += len(batch)
        return parts[0] if len(parts) == 1 else np.concatenate(parts)


def is_out_of_memory(error: Exception) -> bool:
    """Whether Python, torch or onnxruntime says that memory ran out; only Python has one type for it."""
    said = r"out of memory|not enough memory|can't allocate memory|failed to allocate|bad.?alloc|ALLOC_FAILED"
    return isinstance(error, MemoryError) or re.search(said, str(error), re.IGNORECASE) is not None
