"""Three stages side by side: while the caller works on one item, the next are made ready and the last put away."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import TypeVar, cast

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
D = TypeVar("D")


def overlap(
    items: Iterable[A],
    before: Callable[[A], B],
    during: Callable[[B], C],
    after: Callable[[C], D],
    stop: Callable[[], bool],
    threads: int = 1,
) -> Generator[D, None, None]:
    """Yield after(during(before(item))) of each item, in their order.

    `during` runs in the thread of the caller. So many other threads run `before` on the next items meanwhile, and as
    many `after` on the last ones: with one of each at most three items are in memory, however slow a stage is, and two
    more with each further one. What a stage raises is raised here; what has come through `during` before is still put
    away, what comes later is dropped.

    `stop` is asked before each item is worked on; those that have been made ready by then are dropped.
    """

    def worked_on() -> Generator[C, None, None]:
        with closing(ahead(before, items, threads)) as ready:
            for item in ready:
                if stop():
                    return
                yield during(item)

    with closing(worked_on()) as middle, closing(ahead(after, middle, threads)) as done:
        yield from done


def made_ahead(items: Iterator[A]) -> Generator[A, None, None]:
    """Yield each item; a thread makes the next one while the caller works on it."""
    last = object()
    with ThreadPoolExecutor(max_workers=1) as thread:
        item = thread.submit(next, items, last).result()
        while item is not last:
            coming = thread.submit(next, items, last)
            yield cast("A", item)
            item = coming.result()


def ahead(function: Callable[[A], B], items: Iterable[A], threads: int = 1) -> Generator[B, None, None]:
    """Yield function(item) of each item in order; threads compute the next ones while the caller and `items` go on."""
    with ThreadPoolExecutor(threads) as pool:
        running: deque[Future[B]] = deque()
        for item in items:  # of those under way the first is awaited before the next begins: no more begin if it failed
            done = [running.popleft().result()] if len(running) == threads else []
            running.append(pool.submit(function, item))
            yield from done
        yield from (future.result() for future in running)
