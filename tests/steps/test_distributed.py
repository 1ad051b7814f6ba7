"""Training on two real processes that torchrun starts, on the CPU."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import safetensors.torch
import torch

from geseg.errors import ConfigError
from geseg.model.group import Group
from geseg.model.losses import LOSSES
from geseg.model.unet import build
from geseg.steps.distributed import Ranks, is_first, join
from geseg.steps.learner import Learner

CPU = torch.device("cpu")
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
STEPS = 10
SLURM = Path(__file__).parents[2] / "examples" / "slurm_train.sh"


def steps(ranks: Ranks) -> dict[str, torch.Tensor]:
    """Ten steps in float64 on batches of four, of which a process takes its part; a plain and a steerable net."""
    tensors = {}
    for group, loss in (("d2", "dice+bce"), ("c1", "iou")):
        torch.manual_seed(0)
        net = build(Group.parse(group), (2, 3)).double()
        learner = Learner(net, LOSSES[loss], 1e-2, CPU, "fp32")
        ranks.connect(learner)
        for step in range(STEPS):
            image = torch.randn(4, 3, 16, 16, dtype=torch.double)
            label, fov = (image[:, :1] > 0.5).double(), (image[:, 1:2] > -1).double()
            share = ranks.share(4)
            tensors[f"{group}.loss.{step}"] = torch.tensor(
                learner.step(image[share], label[share], fov[share], done=step / STEPS), dtype=torch.double
            )
        tensors |= {f"{group}.{name}": tensor.clone() for name, tensor in learner.net.state_dict().items()}
        tensors |= {f"{group}.average.{name}": tensor for name, tensor in learner.average.state_dict().items()}
    return tensors


def main(out: str) -> None:
    """What each process runs."""
    with join("cpu") as ranks:
        tensors = steps(ranks)
        (largest,) = ranks.agree(ranks.rank + 0.5)
        assert (is_first(), ranks.size, largest) == (ranks.rank == 0, 2, 1.5)
        if ranks.first:
            safetensors.torch.save_file(tensors, out)
    threads = {(task / "comm").read_text().strip() for task in Path("/proc/self/task").glob("*")}
    assert not {name for name in threads if "gloo" in name}, "one that goes on can abort the process at its end"


def test_two_processes_take_the_steps_of_one(tmp_path: Path) -> None:
    """Norms, losses and gradients are those of the whole batch."""
    subprocess.run([*TORCHRUN, __file__, str(tmp_path / "two")], check=True, timeout=300)
    one, two = steps(Ranks(CPU)), safetensors.torch.load_file(tmp_path / "two")
    assert one.keys() == two.keys()
    for name, tensor in one.items():
        if not name.endswith("num_batches_tracked"):  # which nothing uses
            torch.testing.assert_close(two[name], tensor, atol=1e-6, rtol=0, msg=lambda m, name=name: f"{name}: {m}")
    assert (one["d2.loss.0"] - one["d2.loss.9"]) > 0.05, "they go somewhere"


def test_alone_nothing_changes() -> None:
    ranks = Ranks(CPU)
    assert ranks.first
    assert is_first()
    assert ranks.agree(1.0, 2.5) == [1.0, 2.5]
    assert list(range(8))[ranks.share(8)] == list(range(8))
    with join("cpu") as joined:
        assert joined == ranks


def test_a_batch_is_shared_evenly_or_not_at_all() -> None:
    parts = [list(range(6))[Ranks(CPU, rank, 3).share(6)] for rank in range(3)]
    assert sorted(index for part in parts for index in part) == list(range(6))
    assert {len(part) for part in parts} == {2}
    with pytest.raises(ConfigError, match=r"batch_size \(8\) cannot be shared evenly among 3 processes; choose a mul"):
        Ranks(CPU, 0, 3).share(8)


def torchrun(patches: Path, out: Path, *more: str, before: str = "") -> subprocess.Popen[str]:
    script = out.with_suffix(".py")
    script.write_text(f"{before}\nfrom geseg.cli.app import main\nif __name__ == '__main__': main()")
    words = ["train", str(patches), "-o", str(out), "--group", "c1", "--widths", "2,3"]
    words += ["--batch-size", "4", "--precision", "fp32"]
    command = [*TORCHRUN, str(script), *words, "--device", "cpu", *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def said(stderr: str) -> list[str]:
    """What geseg has printed; torchrun prints more."""
    return [line for line in stderr.splitlines() if line.startswith("geseg: ")]


SLOWLY = """import os, pathlib, time, geseg.steps.learner as l
f = l.Learner.step
pathlib.Path(__file__).with_name('pid' + os.environ['RANK']).write_text(str(os.getpid()))
def slow(*a, **k): time.sleep(0.1); return f(*a, **k)
l.Learner.step = slow"""


def wait_for_state(out: Path, process: subprocess.Popen[str]) -> None:
    while process.poll() is None and not (out / "metrics.csv").exists():
        time.sleep(0.01)


@pytest.mark.slow
def test_torchrun_trains_what_one_process_trains(patch_file: Path, tmp_path: Path) -> None:
    """In float32 the rounding differs, which the default learning rate makes visible; only one writes and prints."""
    shared = ["--epochs", "2", "--learning-rate", "0.005"]
    process = torchrun(patch_file, tmp_path / "two", *shared)
    stdout, stderr = process.communicate(timeout=300)
    assert process.returncode == 0, stderr
    assert len(stdout.splitlines()) == 4
    assert re.search(
        r"two/model.safetensors: c1 of widths 2,3 \(\d+ parameters\) on cpu in fp32, 2 processes\n", stdout
    )
    assert [line for line in stderr.splitlines() if line.startswith("epoch ")][1:], stderr
    assert len([line for line in stderr.splitlines() if line.startswith("epoch ")]) == 2
    words = ["train", str(patch_file), "-o", str(tmp_path / "one"), "--group", "c1", "--widths", "2,3", "-q"]
    words += ["--batch-size", "4", "--precision", "fp32", "--device", "cpu", *shared]
    subprocess.run([sys.executable, "-m", "geseg", *words], check=True)
    one, two = (safetensors.torch.load_file(tmp_path / name / "model.safetensors") for name in ("one", "two"))
    for name, tensor in one.items():
        if not name.endswith("num_batches_tracked"):
            torch.testing.assert_close(two[name], tensor, atol=1e-4, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize("rank", [0, 1])
def test_a_killed_process_ends_all_with_one_line(patch_file: Path, tmp_path: Path, rank: int) -> None:
    out = tmp_path / "run"
    process = torchrun(patch_file, out, "--epochs", "9", before=SLOWLY)
    wait_for_state(out, process)
    os.kill(int((tmp_path / f"pid{rank}").read_text()), signal.SIGKILL)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 1
    expected = "geseg: one of the processes that train together has died; see what it has said, and go on with --resume"
    assert said(stderr) == [expected], stderr
    process = torchrun(patch_file, out, "--epochs", "9", "--resume")
    assert (process.communicate(timeout=300), process.returncode)[1] == 0


@pytest.mark.slow
def test_a_signal_stops_all_with_one_line(patch_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    process = torchrun(patch_file, out, "--epochs", "9", before=SLOWLY)
    wait_for_state(out, process)
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=120)
    (line,) = said(stderr)
    assert re.match(
        r"geseg: SIGTERM: .*run keeps what was learned up to (step \d of )?epoch \d; go on with: torchrun", line
    )


@pytest.mark.slow
def test_a_mistake_is_one_line(tmp_path: Path) -> None:
    process = torchrun(tmp_path / "missing.h5", tmp_path / "run")
    _, stderr = process.communicate(timeout=120)
    (line,) = said(stderr)
    assert line.startswith(f"geseg: {tmp_path}/missing.h5 does not exist")


STUBS = {
    "srun": 'exec "$@"',
    "scontrol": 'if [ "$1" = show ]; then echo localhost; else echo "$@" >> "$CALLS"; fi',
    "torchrun": f'exec {sys.executable} -m torch.distributed.run "$@"',
}


@pytest.mark.slow
def test_the_slurm_job_stops_queues_again_and_goes_on(patch_file: Path, tmp_path: Path) -> None:
    """examples/slurm_train.sh with SLURM's commands played by scripts."""
    with socket.create_server(("localhost", 0)) as server:
        port = server.getsockname()[1]
    for name, text in STUBS.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    out, calls = tmp_path / "run", tmp_path / "calls"
    slurm = {"SLURM_JOB_NODELIST": "localhost", "SLURM_NNODES": "1", "SLURM_GPUS_ON_NODE": "2", "SLURM_JOB_ID": "7"}
    env = os.environ | slurm | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "CALLS": str(calls)}
    env |= {"GESEG_PORT": str(port)}
    words = ["--group", "c1", "--widths", "2,3", "--batch-size", "4", "--device", "cpu", "--patience", "500"]

    def job(epochs: int) -> subprocess.Popen[str]:
        command = ["sh", SLURM, str(patch_file), str(out), *words, "--epochs", str(epochs)]
        return subprocess.Popen(command, env=env, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    process = job(500)
    wait_for_state(out, process)
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 0
    assert "keeps what was learned up to" in stderr
    assert calls.read_text() == "requeue 7\n"
    process = job(500)
    before = (out / "metrics.csv").stat().st_mtime_ns
    while process.poll() is None and (out / "metrics.csv").stat().st_mtime_ns == before:
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=120)
    assert "keeps what was learned up to" in stderr, "it went on: without --resume the run folder is an error"
    assert calls.read_text() == "requeue 7\n" * 2


if __name__ == "__main__":
    main(sys.argv[1])
