"""Three stages side by side: while the caller works on one item, the next is made ready and the last one put away."""

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
) -> Generator[D, None, None]:
    """Yield after(during(before(item))) of each item, in their order.

    `during` runs in the thread of the caller. Another thread runs `before` on the next item meanwhile, and a third one
    `after` on the last, each on one item at a time: at most three are in memory, however slow a stage is. What a stage
    raises is raised here; what has come through `during` before is still put away, what comes later is dropped.

    `stop` is asked before each item is worked on; one that has been made ready by then is dropped.
    """

    def worked_on() -> Generator[C, None, None]:
        with closing(one_ahead(before, items)) as ready:
            for item in ready:
                if stop():
                    return
                yield during(item)

    with closing(worked_on()) as middle, closing(one_ahead(after, middle)) as done:
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


def one_ahead(function: Callable[[A], B], items: Iterable[A]) -> Generator[B, None, None]:
    """Yield function(item) of each item in order; a thread computes it while the caller and `items` go on."""
    with ThreadPoolExecutor(max_workers=1) as thread:
        running: list[Future[B]] = []
        for item in items:
            done = [future.result() for future in running]  # before the next begins: one that failed is the last one
            running = [thread.submit(function, item)]
            yield from done
        yield from (future.result() for future in running)
