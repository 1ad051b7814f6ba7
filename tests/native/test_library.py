import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from geseg.native import build_hook, library

pytestmark = pytest.mark.usefixtures("needs_kernel")


@pytest.mark.parametrize(
    ("height", "count", "spans"),
    [
        (1, 4, [(0, 1)]),
        (33, 4, [(0, 16), (16, 33)]),
        (100, 3, [(0, 32), (32, 66), (66, 100)]),
        (576, 4, [(0, 144), (144, 288), (288, 432), (432, 576)]),
    ],
)
def test_spans_are_all_rows_and_begin_with_even_ones(height: int, count: int, spans: list[tuple[int, int]]) -> None:
    assert library._spans(height, count) == spans


def test_an_error_waits_for_those_that_still_write() -> None:
    """Its caller frees the memory that they write to."""
    ended, begun = list[int](), threading.Barrier(2)

    def work(number: int) -> None:
        begun.wait(5)
        if number == 0:
            raise MemoryError
        time.sleep(0.2)
        ended.append(number)

    with pytest.raises(MemoryError):
        library._share(work, [(0,), (1,)], threads=2)
    assert ended == [1]


def test_so_does_an_interrupt_however_many_follow() -> None:
    """A Ctrl-C of Jupyter ends the call, not the process."""
    ended, signals, begun = list[int](), list[int](), threading.Barrier(2)

    def work(number: int) -> None:
        begun.wait(5)
        if threading.current_thread() is not threading.main_thread():
            time.sleep(0.5)
            ended.append(number)

    def interrupt(number: int, _: object) -> None:
        signals.append(number)
        if len(signals) == 3:
            signal.setitimer(signal.ITIMER_REAL, 0)
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1, 0.1)
        with pytest.raises(KeyboardInterrupt):
            library._share(work, [(0,), (1,)], threads=2)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert (len(ended), len(signals)) == (1, 3)


def test_so_does_a_thread_that_cannot_be_started(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where a container limits them."""
    begun, ended = threading.Event(), list[int]()

    def work(number: int) -> None:
        begun.set()
        time.sleep(0.2)
        ended.append(number)

    def start(thread: threading.Thread, start: Callable[[threading.Thread], None] = threading.Thread.start) -> None:
        if begun.is_set():
            raise RuntimeError("can't start new thread")
        start(thread)
        begun.wait(5)

    monkeypatch.setattr(threading.Thread, "start", start)
    with ThreadPoolExecutor(3) as pool:
        monkeypatch.setattr(library, "_pool", lambda threads: pool)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            library._share(work, [(number,) for number in range(9)], threads=3)
        assert ended == [0]
        time.sleep(0.5)
    assert ended == [0], "nobody takes what was left"


@pytest.mark.parametrize(("change", "loads"), [("", True), ("// another\n", False)])
def test_a_library_of_other_sources_is_none(tmp_path: Path, change: str, loads: bool) -> None:
    """After `git pull`, without `pip install`: its structures may be others."""
    folder = tmp_path / "native"
    shutil.copytree(Path(library.__file__).parent, folder)
    with (folder / "kernel.h").open("a") as file:
        file.write(change)
    code = f"import library; assert (library.load() is not None) == {loads}; assert bool(library.best_set()) == {loads}"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=folder)


def test_a_file_that_is_open_in_emacs(tmp_path: Path) -> None:
    folder = tmp_path / "native"
    shutil.copytree(Path(library.__file__).parent, folder)
    expected = build_hook.digest(folder)
    (folder / ".#kernel.c").symlink_to("somebody@somewhere.1:2")
    assert build_hook.digest(folder) == expected
    subprocess.run([sys.executable, "-c", "import library; assert library.load()"], check=True, cwd=folder)


def test_a_file_that_is_no_library(tmp_path: Path) -> None:
    shutil.copy(library.__file__, tmp_path)
    (tmp_path / library.NAME).write_bytes(b"nothing")
    subprocess.run([sys.executable, "-c", "import library; assert library.load() is None"], check=True, cwd=tmp_path)
