"""Collects the rows of the benchmarks, and what they share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from geseg.data import drawn
from tests.benchmarks import child, results
from tests.benchmarks.photographs import DRIVE, write_folder
from tests.benchmarks.results import Row

ROWS = pytest.StashKey[list[Row]]()
MACHINE = pytest.StashKey[dict[str, Any]]()


@pytest.fixture(scope="session")
def record(request: pytest.FixtureRequest) -> Callable[[Row], None]:
    """Takes a row of the table that is printed at the end."""
    stash = request.config.stash
    stash[MACHINE], stash[ROWS] = results.machine(), []
    return stash[ROWS].append


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the table, and write it where `--bench-json` says; goals that are missed fail nothing."""
    rows = config.stash.get(ROWS, [])
    if rows:
        terminalreporter.section("benchmarks")
        terminalreporter.write(results.to_markdown(config.stash[MACHINE], rows))
        path = config.getoption("--bench-json")
        if path is not None:
            path.write_text(results.to_json(config.stash[MACHINE], rows))


@pytest.fixture(scope="session")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("benchmarks")


@pytest.fixture(scope="session")
def drive_like(work: Path) -> Path:
    """40 photographs in the size of DRIVE's."""
    return write_folder(work / "drive-like", 40, *DRIVE)


@pytest.fixture(scope="session")
def drive(work: Path, request: pytest.FixtureRequest) -> tuple[str, Path]:
    """DRIVE, or where it is absent, as many drawn photographs of its size; in words, and where."""
    try:
        return "DRIVE", request.getfixturevalue("real_data") / "DRIVE"
    except pytest.skip.Exception:
        drawn.write_dataset(work / "DRIVE", "drive", train=20, test=20, seed=0, height=DRIVE[0], width=DRIVE[1])
        return "drawn photographs laid out like DRIVE", work / "DRIVE"


@pytest.fixture(scope="session")
def patches(work: Path, drive: tuple[str, Path]) -> Path:
    """2,000 patches, as `geseg prepare` makes them by default."""
    child.geseg("prepare", drive[1], "-o", work / "patches.h5", "--quiet")
    return work / "patches.h5"
