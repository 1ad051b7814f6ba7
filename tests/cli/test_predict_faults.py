"""Predict as a real process that is killed, interrupted, and runs out of disk."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from geseg.data import drawn
from geseg.data.pngtext import read_text

PHOTOGRAPHS = 12
SLOWLY = """import time, geseg.steps.stages as p
f = p.segment
def slow(*a): time.sleep(0.3); return f(*a)
p.segment = slow"""
"""Run first, this leaves time for a signal between two photographs."""
ONE_CORE = "import geseg.steps.predict as p; p.count_cores = lambda: 1"
"""Run first, this lets no second photograph be written beside another."""


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("faults") / "photos"
    folder.mkdir()
    for number in range(PHOTOGRAPHS):
        image = drawn.draw(number, 160 + number, 180).image
        Image.fromarray(image).save(folder / f"{number:02}.png")
    return folder


def start(photos: Path, out: Path, model: Path, before: str = "", *more: str) -> "subprocess.Popen[str]":
    arguments = ["predict", str(photos), "-o", str(out), "--model", str(model), "--device", "cpu", "-q", *more]
    code = f"{before}\nfrom geseg.cli.app import main; main()"
    # a test in the background of a shell inherits that Ctrl-C is ignored, which geseg would respect
    code = f"import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n{code}"
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    stdout, stderr = process.communicate(timeout=120)
    return process.returncode, stdout, stderr


def wait_for(folder: Path, number: int, process: "subprocess.Popen[str]") -> None:
    """Until there are that many masks, or the process has ended."""
    while process.poll() is None and len(list(folder.glob("*.png"))) < number:
        time.sleep(0.002)


def kept(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    return {p.name: (p.stat().st_ino, p.stat().st_mtime_ns, p.read_bytes()) for p in folder.glob("*.png")}


def kill_and_go_on(photos: Path, folder: Path, model: Path, kills: int, seed: int) -> None:
    reference, out = folder / "reference", folder / "killed"
    assert finish(start(photos, reference, model))[0] == 0
    whole = {name: data for name, (*_, data) in kept(reference).items()}
    moments = random.Random(seed)
    done: dict[str, tuple[int, int, bytes]] = {}
    for _ in range(kills):
        process = start(photos, out, model)
        wait_for(out, len(done) + moments.randrange(4), process)
        time.sleep(moments.uniform(0, 0.05))
        process.kill()
        finish(process)
        now = kept(out)
        assert now.items() >= done.items(), "no finished mask was computed again"
        assert {name: data for name, (*_, data) in now.items()}.items() <= whole.items(), "none is half-written"
        done = now
    code, stdout, _ = finish(start(photos, out, model))
    assert code == 0
    assert kept(out).items() >= done.items()
    assert {name: data for name, (*_, data) in kept(out).items()} == whole
    assert sorted(path.name for path in out.iterdir()) == [*sorted(whole), "report.json"], "no leftovers"
    assert f"{len(whole) - len(done)} masks" in stdout
    assert not done or f"{len(done)} were done already" in stdout


def test_kill_9_at_random_moments(photos: Path, tmp_path: Path, run_folder: Path) -> None:
    kill_and_go_on(photos, tmp_path, run_folder, kills=5, seed=0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 21))
def test_kill_9_at_many_more_moments(photos: Path, tmp_path: Path, run_folder: Path, seed: int) -> None:
    kill_and_go_on(photos, tmp_path, run_folder, kills=8, seed=seed)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_finishes_the_photograph_and_says_how_to_go_on(
    photos: Path, tmp_path: Path, run_folder: Path, number: signal.Signals, code: int
) -> None:
    out = tmp_path / "masks"
    process = start(photos, out, run_folder, SLOWLY)
    wait_for(out, 2, process)
    process.send_signal(number)
    left, _, stderr = finish(process)
    report = json.loads((out / "report.json").read_text())
    assert left == code, stderr
    assert [row["status"] == "done" for row in report["images"]] == [
        (out / f"{i:02}.png").is_file() for i in range(PHOTOGRAPHS)
    ]
    assert (report["done"], report["waiting"]) == (len(kept(out)), PHOTOGRAPHS - len(kept(out)))
    assert 2 <= report["done"] < PHOTOGRAPHS
    assert stderr.splitlines()[-1] == (
        f"geseg: {number.name} with {report['waiting']} images left; the same command goes on with them"
    )
    done = kept(out)
    assert finish(start(photos, out, run_folder))[0] == 0
    assert kept(out).items() >= done.items()
    assert len(kept(out)) == PHOTOGRAPHS


@pytest.mark.parametrize(("stage", "number"), [("segment", signal.SIGTERM), ("write", signal.SIGINT)])
def test_a_second_signal_ends_it_at_once(
    photos: Path, tmp_path: Path, run_folder: Path, stage: str, number: signal.Signals
) -> None:
    """Whatever the main thread is at, and other threads."""
    begun = tmp_path / "begun"
    for_ever = f"import pathlib, time, geseg.steps.stages as p\nbegun = pathlib.Path({str(begun)!r})\n"
    for_ever += f"def work(*_): begun.touch(); time.sleep(100)\np.{stage} = work"
    process = start(photos, tmp_path / "masks", run_folder, for_ever)
    while process.poll() is None and not begun.exists():
        time.sleep(0.01)
    process.send_signal(number)
    time.sleep(0.5)
    assert process.poll() is None, "the first one waits for the photograph"
    process.send_signal(number)
    asked = time.monotonic()
    assert finish(process)[0] == -number
    assert time.monotonic() - asked < 10


TOGETHER = """import geseg.steps.stages as p, pathlib, time
here, write = pathlib.Path({!r}), p.write
def together(*given):
    me = here / f"{{time.monotonic_ns()}}"
    me.touch()
    while len(list(here.iterdir())) < 2: time.sleep(0.001)
    write(*given)
p.write = together"""
"""Run first by two, this lets both look for what is there, and only then write, about at once."""


@pytest.mark.parametrize("other", ["0.3", "0.4"])
def test_two_commands_at_once_keep_the_masks_of_each_other(
    photos: Path, tmp_path: Path, run_folder: Path, other: str
) -> None:
    """The same command twice makes the same bytes, and both do well."""
    (tmp_path / "here").mkdir()
    out, skeletons, before = tmp_path / "masks", tmp_path / "skeletons", TOGETHER.format(str(tmp_path / "here"))
    more = "--skeleton", str(skeletons), "--threshold"
    both = [start(photos / "00.png", out, run_folder, before, *more, threshold) for threshold in ("0.3", other)]
    codes, _, said = zip(*map(finish, both), strict=True)
    assert sorted(codes) == ([0, 0] if other == "0.3" else [0, 1]), said
    if other != "0.3":
        assert f"geseg: {out / '00.png'} has come to be meanwhile: another command writes there" in "".join(said)
    winner = f'"threshold": {("0.3", other)[codes.index(0)]},'
    assert all(winner in (read_text(folder / "00.png") or "") for folder in (out, skeletons))
    assert not list(tmp_path.rglob("*.partial"))


def test_a_full_disk_is_one_line(photos: Path, tmp_path: Path, run_folder: Path) -> None:
    """No file may grow beyond 20 kB here: masks fit, overlays do not."""
    limit = f"{ONE_CORE}; import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))"
    out, overlay = tmp_path / "masks", tmp_path / "overlay"
    code, stdout, stderr = finish(start(photos, out, run_folder, limit, "--overlay", str(overlay)))
    assert (code, stdout) == (1, "")
    assert stderr == f"geseg: cannot write {overlay / '00.png'}: File too large; choose another place with -o\n"
    assert sorted(path.name for path in out.iterdir()) == ["00.png", "report.json"]
    assert not list(overlay.iterdir()), "whole or not at all"
    assert json.loads((out / "report.json").read_text())["waiting"] == PHOTOGRAPHS
    code, stdout, _ = finish(start(photos, out, run_folder, "", "--overlay", str(overlay)))
    assert (code, len(kept(out)), len(kept(overlay))) == (0, PHOTOGRAPHS, PHOTOGRAPHS)


def test_a_place_that_cannot_be_written_is_one_line(photos: Path, tmp_path: Path, run_folder: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    places = [tmp_path / "file" / "masks"]
    if os.geteuid():  # nothing is read-only to root
        (tmp_path / "locked").mkdir(mode=0o555)
        places.append(tmp_path / "locked" / "masks")
    for out in places:
        code, stdout, stderr = finish(start(photos, out, run_folder))
        assert (code, stdout) == (1, "")
        assert stderr.startswith(f"geseg: cannot write {out}") or stderr.startswith(f"geseg: {out}"), stderr
        assert len(stderr.splitlines()) == 1


def test_names_cannot_command_the_terminal(photos: Path, tmp_path: Path, run_folder: Path) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / os.fsdecode(b"\xff\x1b[2J\n.png")).write_text("no image")
    code, _, stderr = finish(start(folder, tmp_path / "masks", run_folder))
    assert code == 1
    assert stderr.splitlines() == [
        f"geseg: {folder}/\\udcff\\x1b[2J\\n.png cannot be read as an image: it has no known format; "
        "replace or remove it",
        "geseg: 1 images could not be segmented, as listed above",
    ]


def test_what_is_unforeseen_in_one_photograph_does_not_stop_the_others(
    photos: Path, tmp_path: Path, run_folder: Path
) -> None:
    broken = "import geseg.steps.stages as p; f = p.judge\ndef judge(seen, fov, *a):\n"
    broken += (
        "    if len(fov) == 163: raise ZeroDivisionError('of all things')\n    return f(seen, fov, *a)\np.judge = judge"
    )
    code, stdout, stderr = finish(start(photos, tmp_path / "masks", run_folder, broken))
    assert code == 1
    assert f"{PHOTOGRAPHS - 1} masks" in stdout
    assert stderr.startswith(f"geseg: {photos / '03.png'} cannot be segmented: ZeroDivisionError('of all things')\n")


def test_memory_that_runs_out_is_told_and_survived(
    draw_eye: Callable,  # type: ignore[type-arg]
    tmp_path: Path,
    run_folder: Path,
) -> None:
    """A net that takes one tile at once, and a photograph with odd sides, which has four."""
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.fromarray(draw_eye(0, 73, 69)[0]).save(folder / "a.png")
    short = "from geseg.inference.memory import Halving as h; begin = h.__init__\ndef init(self, net):\n"
    short += "    def call(tiles):\n        if len(tiles) > 1: raise MemoryError\n        return net(tiles)\n"
    short += "    begin(self, call)\nh.__init__ = init"
    code, _, stderr = finish(start(folder, tmp_path / "masks", run_folder, short))
    said = "memory ran out; from then on the net ran in batches of at most 1 tiles"
    assert (code, stderr) == (0, f"geseg: {said}\n")
    assert json.loads((tmp_path / "masks" / "report.json").read_text())["notes"] == [said]
    assert finish(start(folder, tmp_path / "all", run_folder))[::2] == (0, "")
    masks = [np.asarray(Image.open(tmp_path / name / "a.png")) for name in ("masks", "all")]
    assert (masks[0] != masks[1]).mean() < 1e-3
