"""Three stages side by side: the order stays, they overlap, and whatever ends one ends all, with nothing lost."""

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from geseg.native import library
from geseg.steps.pipeline import made_ahead, overlap

never: Callable[[], bool] = lambda: False  # noqa: E731


def same(item: int) -> int:
    return item


def threads() -> list[str]:
    """Those beside this one; the kernel's, which other tests have begun, stay."""
    names = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
    return [name for name in names if not name.startswith(library.THREADS)]


def test_results_come_in_order_and_each_stage_has_a_thread_of_its_own() -> None:
    threads: dict[str, set[int]] = {"before": set(), "during": set(), "after": set()}

    def stage(name: str, delays: tuple[float, ...]) -> Callable[[int], int]:
        def work(item: int) -> int:
            threads[name].add(threading.get_ident())
            time.sleep(delays[item % len(delays)])
            return item + 1

        return work

    stages = stage("before", (0.004, 0)), stage("during", (0, 0.003)), stage("after", (0.002, 0, 0.005))
    assert list(overlap(range(12), *stages, never)) == [item + 3 for item in range(12)]
    assert threads["during"] == {threading.get_ident()}
    assert [len(found) for found in threads.values()] == [1, 1, 1], "one photograph at a time per stage"
    assert len(set.union(*threads.values())) == 3


def test_the_next_is_made_ready_and_the_last_put_away_meanwhile() -> None:
    """Each stage of item 1 waits until the neighbours of it have come where they should be at that time."""
    began = [threading.Event() for _ in range(3)]
    stored = threading.Event()

    def before(item: int) -> int:
        began[item].set()
        return item

    def during(item: int) -> int:
        if item == 1:
            assert began[2].wait(10), "the next one is made ready while the net runs"
            stored.set()
        return item

    def after(item: int) -> int:
        if item == 0:
            assert stored.wait(10), "the last one is put away while the net runs"
        return item

    assert list(overlap(range(3), before, during, after, never)) == [0, 1, 2]


def test_several_are_made_ready_and_put_away_at_once_and_stay_in_order() -> None:
    """Each of three waits for the other two, in both stages; a fourth could not come."""
    together = [threading.Barrier(3), threading.Barrier(3)]

    def wait_in(stage: int) -> Callable[[int], int]:
        def work(item: int) -> int:
            together[stage].wait(10)
            time.sleep(0.002 * (2 - item % 3))  # the first one is the last to be done
            return item

        return work

    assert list(overlap(range(9), wait_in(0), same, wait_in(1), never, threads=3)) == list(range(9))


@pytest.mark.parametrize(("helpers", "expected"), [(1, 3), (2, 5), (4, 9)])
def test_so_many_are_under_way_and_no_more(helpers: int, expected: int) -> None:
    begun, done, most, counting, full = 0, 0, 0, threading.Lock(), threading.Event()

    def before(item: int) -> int:
        nonlocal begun, most
        with counting:
            begun += 1
            most = max(most, begun - done)
        if most >= expected:
            full.set()
        return item

    def after(item: int) -> int:
        nonlocal done
        assert full.wait(10), "as many begin as may, while nothing is put away"
        time.sleep(0.003)
        with counting:
            done += 1
        return item

    list(overlap(range(30), before, same, after, never, helpers))
    assert most == expected, "a slow disk must not fill the memory"


@pytest.mark.parametrize("helpers", [1, 2])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_what_a_stage_raises_is_raised_and_ends_the_others(place: int, helpers: int) -> None:
    seen: list[list[int]] = [[], [], []]

    def stage(number: int) -> Callable[[int], int]:
        def work(item: int) -> int:
            seen[number].append(item)
            if number == place and item == 3:
                raise OSError(f"stage {number}")
            return item

        return work

    results = overlap(range(9), stage(0), stage(1), stage(2), never, helpers)
    with pytest.raises(OSError, match=f"stage {place}"):
        list(results)
    begun = [0, 1, 2, 3] if place == 2 else [0, 1, 2]
    if helpers == 1:
        assert seen[2] == begun, "what was worked on before is put away, in order, and nothing after it"
    beside = [4] if 4 in seen[2] and place == 2 else []  # a second thread may have begun the next one
    assert sorted(seen[2]) == begun + beside
    assert max(seen[1]) <= 3 + helpers
    assert max(seen[0]) <= 3 + 2 * helpers
    assert threads() == []


def test_when_it_is_to_stop_no_other_is_worked_on_and_the_last_is_put_away() -> None:
    worked_on: list[int] = []
    put_away: list[int] = []
    results = overlap(range(9), same, lambda i: worked_on.append(i) or i, put_away.append, lambda: len(worked_on) == 3)
    assert len(list(results)) == 3
    assert worked_on == put_away == [0, 1, 2]


def test_a_caller_who_leaves_ends_the_threads() -> None:
    put_away: list[int] = []
    results = overlap(iter(range(9)), same, same, put_away.append, never)
    next(results)
    results.close()
    assert threads() == []
    assert put_away == [0, 1]


def test_nothing_to_do() -> None:
    def none() -> Iterator[int]:
        yield from ()

    assert list(overlap(none(), same, same, same, never)) == []


def test_items_are_made_one_ahead_by_a_thread_and_an_error_comes_in_its_place() -> None:
    made, by = [threading.Event() for _ in range(3)], set[int]()

    def items() -> Iterator[int]:
        for number, event in enumerate(made):
            by.add(threading.get_ident())
            event.set()
            yield number
        raise KeyError("the fourth")

    taken = list[int]()
    with pytest.raises(KeyError, match="the fourth"):  # noqa: PT012 - it is raised by the loop
        for item in made_ahead(items()):
            assert item == 2 or made[item + 1].wait(10), "the next one is made meanwhile"
            taken.append(item)
    assert taken == [0, 1, 2]
    assert len(by) == 1
    assert threading.get_ident() not in by


def test_what_is_made_ahead_ends_with_its_caller() -> None:
    made = made_ahead(iter(range(5)))
    assert next(made) == 0
    made.close()
    assert not threads()
    assert list(made_ahead(iter(()))) == []
