"""Train and prepare as real processes that are killed, interrupted, and run out of disk."""

import json
import multiprocessing
import os
import random
import re
import select
import shlex
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
import safetensors.torch
import torch

from geseg.data import drawn
from geseg.steps.runfolder import BOARD, FILES

TINY = shlex.split("--group c1 --widths 2,3 --epochs 3 --batch-size 4 --device cpu --precision fp32 -q")
SLOWLY = """import time, geseg.steps.learner as l
f = l.Learner.step
def slow(*a, **k): time.sleep(0.1); return f(*a, **k)
l.Learner.step = slow"""
"""Run first, this leaves time for a signal between two steps."""
SLOW_PHOTOGRAPHS = """import time, geseg.steps.prepare as p
f = p.pack
def slow(*a): time.sleep(0.3); return f(*a)
p.pack = slow"""
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["geseg.steps.train", "geseg.steps.prepare", "torch._dynamo"])  # they take seconds
COMMAND = """import os, signal, sys
for number, path in enumerate({outputs!r}, 1):
    os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT, 0o600), number)
signal.signal(signal.SIGINT, signal.default_int_handler)  # a test in the background of a shell is deaf to it
sys.argv = ["geseg", *{arguments!r}]
{before}
from geseg.cli.app import main
main()"""


@dataclass(frozen=True)
class Process:
    """A process like that of `geseg ARGUMENTS`, forked off from one that has imported all it needs."""

    process: BaseProcess
    outputs: tuple[Path, Path]

    def runs(self) -> bool:
        return self.process.is_alive()

    def send_signal(self, number: int) -> None:
        assert self.process.pid is not None
        os.kill(self.process.pid, number)


def start(arguments: list[str], before: str = "", stderr: Path | None = None) -> Process:
    folder = Path(os.environ["PYTEST_TMP"])
    outputs = tuple(folder / f"{time.monotonic_ns()}.{name}" for name in ("out", "err"))
    for path in outputs:
        path.touch()
    outputs = outputs if stderr is None else (outputs[0], stderr)
    code = COMMAND.format(outputs=[str(path) for path in outputs], arguments=arguments, before=before)
    process = SERVER.Process(target=exec, args=(code, {}))
    process.start()
    return Process(process, (outputs[0], outputs[1]))


@pytest.fixture(autouse=True, scope="module")
def a_place_for_what_they_say(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTEST_TMP", str(tmp_path_factory.mktemp("said")))
        yield


def finish(process: Process) -> tuple[int | None, str, str]:
    process.process.join(300)
    stdout, stderr = (path.read_text() for path in process.outputs)
    return process.process.exitcode, stdout, stderr


def wait_for(done: Callable[[], bool], process: Process) -> None:
    while process.runs() and not done():
        time.sleep(0.002)


def steps_of(out: Path) -> int:
    """How many steps the state in a run folder knows of; -1 without one."""
    if not (out / "state.safetensors").is_file():
        return -1
    with safetensors.safe_open(out / "state.safetensors", framework="pt") as file:
        return int(json.loads(file.metadata()["geseg"])["steps"])


def train(patches: Path, out: Path, *more: str) -> list[str]:
    return ["train", str(patches), "-o", str(out), *TINY, *more]


def assert_same_weights(one: Path, other: Path) -> None:
    """Those of the model and all that is kept to go on with."""
    for name in ("model.safetensors", "state.safetensors"):
        a, b = safetensors.torch.load_file(one / name), safetensors.torch.load_file(other / name)
        assert a.keys() == b.keys()
        assert all(torch.equal(a[key], b[key]) for key in a), name


@pytest.fixture(scope="module")
def undisturbed(patch_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run folder of a training that nobody has stopped."""
    out = tmp_path_factory.mktemp("undisturbed") / "run"
    code, _, stderr = finish(start(train(patch_file, out)))
    assert code == 0, stderr
    return out


def kill_and_go_on(patches: Path, out: Path, undisturbed: Path, moments: list[tuple[str, float]]) -> None:
    """Kill so many seconds after a file has appeared or changed, and finish the work in the end."""
    for name, seconds in moments:
        resumed = (out / "state.safetensors").is_file()
        process = start(train(patches, out, *(["--resume"] if resumed else [])))
        before = stamp(out / name)
        wait_for(lambda: stamp(out / name) != before, process)  # noqa: B023 - it is called here
        time.sleep(seconds)
        process.send_signal(signal.SIGKILL)
        finish(process)
    resumed = (out / "state.safetensors").is_file()
    code, _, stderr = finish(start(train(patches, out, *(["--resume"] if resumed else []))))
    assert code == 0, stderr
    assert_same_weights(out, undisturbed)
    assert {path.name for path in out.iterdir()} - {BOARD} == set(FILES) - {"model.onnx"}, "no leftovers"


def stamp(path: Path) -> int:
    return path.stat().st_mtime_ns if path.exists() else 0


def test_a_killed_training_goes_on_to_the_same_weights(patch_file: Path, tmp_path: Path, undisturbed: Path) -> None:
    kill_and_go_on(patch_file, tmp_path / "run", undisturbed, [("model.safetensors", 0.002)])


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_a_training_that_is_killed_again_and_again(
    patch_file: Path, tmp_path: Path, undisturbed: Path, seed: int
) -> None:
    """15 moments: in the middle of steps, of validation, of writing, before there is anything."""
    rng = random.Random(seed)
    names = rng.choices(["state.safetensors", "config.json", "model.safetensors", "metrics.csv"], k=3)
    kill_and_go_on(patch_file, tmp_path / "run", undisturbed, [(name, rng.uniform(0, 0.08)) for name in names])


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_training_says_how_to_go_on_and_loses_no_step(
    patch_file: Path, tmp_path: Path, undisturbed: Path, number: signal.Signals, code: int
) -> None:
    out = tmp_path / "with spaces" / "run"
    process = start(train(patch_file, out), SLOWLY)
    wait_for(lambda: steps_of(out) >= 8, process)
    time.sleep(0.25)
    process.send_signal(number)
    left, stdout, stderr = finish(process)
    assert (left, stdout) == (code, "")
    said = rf"geseg: {number.name}: (.+) keeps what was learned up to step (\d) of epoch 2; go on with: geseg (.+)\n"
    found = re.fullmatch(said, stderr)
    assert found, stderr
    assert found[1] == str(out)
    assert steps_of(out) == 8 + int(found[2]) > 8
    assert shlex.split(found[3]) == train(patch_file, out, "--resume")
    assert finish(start(shlex.split(found[3])))[0] == 0
    assert_same_weights(out, undisturbed)


def test_a_training_can_be_stopped_while_it_validates(patch_file: Path, tmp_path: Path, undisturbed: Path) -> None:
    """Which takes as long as an epoch where photographs are large."""
    begun = tmp_path / "begun"
    for_long = f"import pathlib, time, geseg.steps.validation as v\nbegun = pathlib.Path({str(begun)!r})\n"
    for_long += "f = v.TorchEngine\ndef slow(*a): begun.touch(); time.sleep(1); return f(*a)\nv.TorchEngine = slow"
    process = start(train(patch_file, tmp_path / "run"), for_long)
    wait_for(begun.exists, process)
    process.send_signal(signal.SIGTERM)
    code, _, stderr = finish(process)
    assert code == 143
    assert "keeps what was learned up to step 8 of epoch 1; go on with: geseg train" in stderr
    assert not (tmp_path / "run" / "model.safetensors").exists()
    assert finish(start(train(patch_file, tmp_path / "run", "--resume")))[0] == 0
    assert_same_weights(tmp_path / "run", undisturbed)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals")
def test_on_a_terminal_there_is_a_live_view_which_goes(patch_file: Path, tmp_path: Path) -> None:
    terminal, inside = os.openpty()
    loud = [word for word in train(patch_file, tmp_path / "run") if word != "-q"]
    process = start(loud, f"{SLOWLY}\nos.environ |= {{'TERM': 'xterm', 'COLUMNS': '80'}}", Path(os.ttyname(inside)))
    seen = b""
    while process.runs():
        if select.select([terminal], [], [], 0.1)[0]:
            seen += os.read(terminal, 65536)
    process.process.join()
    assert process.process.exitcode == 0, seen.decode()
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", seen.decode())
    for words in ("epoch 1/3", "epoch 3/3", "c1 of widths 2,3", "patches/s", "val Dice 0.", "s left", "best 0."):
        assert words in text, text
    assert seen.endswith(b"\x1b[2K"), "its lines are erased"
    os.close(terminal)
    os.close(inside)


def test_a_full_disk_is_one_line(patch_file: Path, tmp_path: Path, undisturbed: Path) -> None:
    """No file may grow beyond 8 kB here: the model fits, the state does not."""
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (8000, 8000))"
    out = tmp_path / "run"
    code, stdout, stderr = finish(start(train(patch_file, out), limit))
    assert (code, stdout) == (1, "")
    assert stderr == f"geseg: cannot write {out / 'state.safetensors'}: File too large; choose another place with -o\n"
    assert not list(out.iterdir()), "whole or not at all"
    assert finish(start(train(patch_file, out)))[0] == 0
    assert_same_weights(out, undisturbed)


@pytest.fixture(scope="module")
def eyes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "eyes"
    drawn.write_dataset(folder, "generic", train=6, test=1, seed=0, height=96, width=90)
    return folder


def prepare(eyes: Path, out: Path) -> list[str]:
    return ["prepare", str(eyes), "-o", str(out), "--patch-size", "32", "--patches-per-image", "20", "-q"]


def partials(folder: Path) -> list[Path]:
    return [*folder.glob(".*.partial")]


def kill_prepare(eyes: Path, folder: Path, seed: int, kills: int) -> None:
    rng = random.Random(seed)
    whole, out = folder / "whole.h5", folder / "out" / "p.h5"
    assert finish(start(prepare(eyes, whole)))[0] == 0
    for _ in range(kills):
        process = start(prepare(eyes, out), SLOW_PHOTOGRAPHS)
        wait_for(lambda: bool(partials(out.parent)), process)
        time.sleep(rng.uniform(0, 2.0))
        process.send_signal(signal.SIGKILL)
        finish(process)
        assert not out.exists() or out.read_bytes() == whole.read_bytes()
    if not out.exists():
        assert partials(out.parent), "it was killed while it wrote"
        assert finish(start(prepare(eyes, out)))[0] == 0
    assert out.read_bytes() == whole.read_bytes()
    assert [path.name for path in out.parent.iterdir()] == ["p.h5"], "no leftovers"


def test_a_killed_prepare_starts_again(eyes: Path, tmp_path: Path) -> None:
    kill_prepare(eyes, tmp_path, seed=0, kills=1)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 6))
def test_a_prepare_that_is_killed_again_and_again(eyes: Path, tmp_path: Path, seed: int) -> None:
    kill_prepare(eyes, tmp_path, seed, kills=3)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_prepare_leaves_nothing(eyes: Path, tmp_path: Path, number: signal.Signals, code: int) -> None:
    out = tmp_path / "out" / "p.h5"
    process = start(prepare(eyes, out), SLOW_PHOTOGRAPHS)
    wait_for(lambda: bool(partials(out.parent)), process)
    process.send_signal(number)
    left, stdout, stderr = finish(process)
    again = shlex.join(["geseg", *prepare(eyes, out)])
    assert (left, stdout) == (code, "")
    assert stderr == f"geseg: {number.name}: nothing is written to {out}; go on with: {again}\n"
    assert not list(out.parent.iterdir())


def test_a_full_disk_while_preparing_is_one_line(eyes: Path, tmp_path: Path) -> None:
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (50000, 50000))"
    out = tmp_path / "out" / "p.h5"
    code, stdout, stderr = finish(start(prepare(eyes, out), limit))
    assert (code, stdout) == (1, "")
    assert stderr.startswith(f"geseg: cannot write {out}: "), stderr
    assert len(stderr.splitlines()) == 1
    assert not list(out.parent.iterdir())
