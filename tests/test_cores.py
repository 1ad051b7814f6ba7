"""Cores: those that this process may use, not those that the machine has."""

import os

import pytest

from geseg.cores import count_cores


def test_the_cores_of_this_process_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {1, 5, 6}, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    assert count_cores() == 3


@pytest.mark.parametrize(("machine", "expected"), [(8, 8), (None, 1)])
def test_those_of_the_machine_where_nothing_else_tells(
    machine: int | None, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: machine)
    assert count_cores() == expected
