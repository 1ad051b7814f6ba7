"""Times of several ways to do the same, taken in turn, so that what slows the machine slows all of them alike."""

import gc
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Spread:
    """What repeated measurements say: their median, between their quartiles."""

    median: float
    low: float
    high: float
    count: int

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Of at least one value.

        >>> Spread.of([3.0, 1.0, 2.0])
        Spread(median=2.0, low=1.5, high=2.5, count=3)
        """
        quartiles = statistics.quantiles(values, method="inclusive") if len(values) > 1 else 3 * list(values)
        return cls(statistics.median(values), quartiles[0], quartiles[2], len(values))

    def __mul__(self, factor: float) -> "Spread":
        """In another unit."""
        return Spread(self.median * factor, self.low * factor, self.high * factor, self.count)


def race(sides: Mapping[str, Callable[[], object]], rounds: int, warm_up: int = 1) -> dict[str, list[float]]:
    """Seconds that each side took in each round, without those of the warm-up.

    Every other round runs the sides in reverse order, so that none always follows the same one; nothing is collected
    as garbage meanwhile.
    """
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    gc.collect()
    gc.disable()
    try:
        for number in range(warm_up + rounds):
            for name in list(sides)[:: 1 if number % 2 else -1]:
                start = time.perf_counter()
                sides[name]()
                if number >= warm_up:
                    seconds[name].append(time.perf_counter() - start)
    finally:
        gc.enable()
    return seconds


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """Of the times of two sides of a race, round by round.

    >>> ratio([1.0, 4.0], [2.0, 4.0]).median
    0.75
    """
    return Spread.of([a / b for a, b in zip(ours, theirs, strict=True)])
