"""How a step tells that it advances and hears that it should stop, without knowing of terminals and signals."""

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeAlias, TypeVar

T = TypeVar("T")

Stop: TypeAlias = Callable[[], bool]
"""Asked now and then whether somebody wishes the work to stop."""


class Track(Protocol):
    """Yields `items` unchanged while showing `label` and how many of `total` are done."""

    def __call__(self, items: Iterable[T], label: str, total: int | None = None) -> Iterator[T]: ...


def silent(items: Iterable[T], label: str, total: int | None = None) -> Iterator[T]:
    """The default of every step; `cli/console.py` has the one that draws a bar on stderr."""
    yield from items


def never() -> bool:
    """The default of every step that can be stopped: nobody wishes so."""
    return False
