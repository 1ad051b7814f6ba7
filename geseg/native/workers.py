"""How many threads the kernel has while a net learns, where torch computes beside it."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

_given: list[int] = []
"""To the kernel, while torch has one."""


def count() -> int:
    """As many as torch has, or would have."""
    return _given[-1] if _given else torch.get_num_threads()


@contextmanager
def alone() -> Iterator[None]:
    """Within the block torch has one thread, the one that it is called from.

    Those that it has beside it wait for more to do in a loop, which takes cores from the kernel's. What torch still
    has to do in a step is little.
    """
    before = torch.get_num_threads()
    _given.append(count())
    torch.set_num_threads(1)
    try:
        yield
    finally:
        _given.pop()
        torch.set_num_threads(before)
