import os
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from geseg.errors import OutputError
from geseg.files import HOST, atomic_path, check_writable, printable, remove_partials


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.txt"
    with suppress(RuntimeError), atomic_path(path) as partial:
        partial.write_text("half")
        raise RuntimeError
    assert not list(path.parent.iterdir())
    with atomic_path(path) as partial:
        partial.write_text("whole")
        assert not path.exists()
        assert partial.name == f".a.txt.{os.getpid()}@{HOST}.partial"
    assert [file.name for file in path.parent.iterdir()] == ["a.txt"]


def test_the_longest_name_that_a_file_system_takes(tmp_path: Path) -> None:
    path = tmp_path / ("ä" * 125 + ".png")
    with atomic_path(path) as partial:
        partial.write_text("whole")
    assert path.read_text() == "whole"


def test_what_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match=r"^cannot write .*a\.png: a file is where its folder should be; choose"):
        atomic_path(tmp_path / "file" / "a.png").__enter__()


@pytest.mark.parametrize("links", [True, False])
def test_a_fresh_file_takes_no_place_that_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    if not links:  # as on a memory card
        monkeypatch.setattr(Path, "hardlink_to", lambda *_: os.link(tmp_path / "none", tmp_path / "no"))
    path = tmp_path / "a.txt"
    with atomic_path(path, fresh=True) as partial:
        partial.write_text("first")
    with pytest.raises(OutputError, match=r"a\.txt (has come to be meanwhile|exists already).* with --csv"):  # noqa: SIM117
        with atomic_path(path, "--csv", fresh=True) as partial:
            partial.write_text("second")
    assert path.read_text() == "first"
    with atomic_path(path) as partial:
        partial.write_text("third")
    assert path.read_text() == "third"
    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]


def test_what_can_be_written_is_known_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    check_writable(tmp_path / "file", "--csv")
    check_writable(tmp_path / "new" / "b.csv", "--csv")
    for path in (tmp_path / "file" / "a.csv", Path("/proc/a.csv")):
        with pytest.raises(OutputError, match=r"^cannot write .*a\.csv: .*; choose another place with --csv$"):
            check_writable(path, "--csv")
    assert (tmp_path / "file").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "new"]


def a_dead_process() -> int:
    done = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True)
    return int(done.stdout)


def test_leftovers_of_killed_processes_go_and_nothing_else(tmp_path: Path) -> None:
    long, living = "x" * 240 + ".png", os.getppid()
    with atomic_path(tmp_path / long) as partial:
        leftover = partial.name
        partial.touch()
    gone = [f".a.png.{a_dead_process()}.partial", f".a.png.{os.getpid()}.partial", leftover]
    gone += [f".a.png.{a_dead_process()}@{HOST}.partial", f".a.png.{os.getpid()}@{HOST}.partial"]
    kept = [
        f".a.png.{living}.partial",
        f".a.png.{living}@{HOST}.partial",
        f".b.png.{a_dead_process()}.partial",
        "a.png",
        ".a.png.partial",
        ".a.png.1x.partial",
    ]
    for name in (*gone, *kept):
        (tmp_path / name).write_text("")
    remove_partials(tmp_path, {"a.png", long})
    assert {path.name for path in tmp_path.iterdir()} == {*kept, long}
    remove_partials(tmp_path / "nowhere", {"a.png"})


def test_what_another_host_is_writing_stays_for_a_day(tmp_path: Path) -> None:
    """In two containers both may be process 1, and both may have a folder that they share."""
    new, old = (tmp_path / f".a.png.{number}@another-{HOST}.partial" for number in (os.getpid(), a_dead_process()))
    for path in (new, old):
        path.write_text("half")
    day_before = time.time() - 25 * 3600
    os.utime(old, (day_before, day_before))
    remove_partials(tmp_path, {"a.png"})
    assert [*tmp_path.iterdir()] == [new]
    assert len(HOST) < 64


def test_names_in_messages_cannot_command_a_terminal() -> None:
    name = os.fsdecode(b"\xff\x1b[2Jeye\n\xc3\xa4.png")
    assert printable(name) == r"\udcff\x1b[2Jeye\nä.png"
