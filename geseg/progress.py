"""How a step tells that it advances, without knowing whether there is a terminal."""

from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

T = TypeVar("T")


class Track(Protocol):
    """Yields `items` unchanged while showing `label` and how many of `total` are done."""

    def __call__(self, items: Iterable[T], label: str, total: int | None = None) -> Iterator[T]: ...


def silent(items: Iterable[T], label: str, total: int | None = None) -> Iterator[T]:
    """The default of every step; `cli/console.py` has the one that draws a bar on stderr."""
    yield from items
