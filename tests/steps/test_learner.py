import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from geseg.errors import ConfigError, OutputError
from geseg.model.group import Group
from geseg.model.losses import LOSSES
from geseg.model.unet import build
from geseg.native import library
from geseg.steps.learner import WARMUP, Learner, choose_precision, schedule

CPU = torch.device("cpu")


def learner(precision: str = "fp32", group: str = "d2") -> Learner:
    torch.manual_seed(0)
    return Learner(build(Group.parse(group), (2, 3)), LOSSES["dice+bce"], 1e-2, CPU, precision)


def batch(seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    image = torch.randn(4, 3, 16, 16, generator=generator)
    return image, (image[:, :1] > 0.5).float(), torch.ones(4, 1, 16, 16)


def test_schedule_rises_and_falls() -> None:
    values = [schedule(step / 1000) for step in range(1001)]
    peak = round(1000 * WARMUP)
    assert 0 < values[0] < 0.05
    assert values[peak] == pytest.approx(1)
    assert values[:peak] == sorted(values[:peak])
    assert values[peak:] == sorted(values[peak:], reverse=True)
    assert values[-1] == pytest.approx(0)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("group", ["c1", "d2"])
def test_it_learns(precision: str, group: str) -> None:
    subject = learner(precision, group)
    losses = [subject.step(*batch(step % 2), done=0.1) for step in range(120)]
    assert losses[-1] < 0.7 * losses[0]
    assert all(parameter.dtype == torch.float32 for parameter in subject.net.parameters())


def test_resuming_gives_the_same_weights_bit_for_bit(tmp_path: Path) -> None:
    straight, first = learner(), learner()
    for step in range(6):
        straight.step(*batch(step), done=step / 6)
    for step in range(3):
        first.step(*batch(step), done=step / 6)
    first.progress.losses, first.progress.spent = [0.5, 0.3], 2.0
    first.progress.advance(0.7, batch_size=4)
    first.progress.losses, first.progress.spent = [0.25], 0.5
    first.save(tmp_path / "state", '{"run": 1}')
    second = learner()
    second.load(tmp_path / "state", '{"run": 1}')
    assert second.progress == first.progress
    for step in range(3, 6):
        second.step(*batch(step), done=step / 6)
    for a, b in ((straight.net, second.net), (straight.average, second.average)):
        for name, tensor in a.state_dict().items():
            assert torch.equal(tensor, b.state_dict()[name]), name


def test_the_average_follows_the_weights() -> None:
    subject = learner()
    for step in range(30):
        subject.step(*batch(step), done=0.1)
    new, mean = subject.net.down[0].convs[0].coefficients, subject.average.down[0].convs[0].coefficients
    assert 0 < (new - mean).abs().max() < 0.2
    assert not mean.requires_grad
    assert not subject.average.training


def test_a_state_of_another_run_is_refused(tmp_path: Path) -> None:
    learner().save(tmp_path / "state", '{"seed": 1}')
    with pytest.raises(ConfigError, match="is of a run with seed 1 instead of 2; resume with the same"):
        learner().load(tmp_path / "state", '{"seed": 2}')


def test_a_damaged_state_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state").write_bytes(b"nothing")
    with pytest.raises(OutputError, match="is no state to resume from"):
        learner().load(tmp_path / "state", "{}")


def test_a_state_of_which_a_bit_has_changed_is_refused(tmp_path: Path) -> None:
    state = tmp_path / "state"
    learner().save(state, "{}")
    whole = state.read_bytes()
    for place in (len(whole) - 1, len(whole) // 2, whole.index(b"progress") + 20):
        state.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(OutputError, match=r"is no state to resume from .*(checksum|header)"):
            learner().load(state, "{}")
    state.write_bytes(whole)
    learner().load(state, "{}")


def test_precisions() -> None:
    assert choose_precision("fp32", CPU) == "fp32"
    assert choose_precision("auto", CPU) in ("fp32", "bf16")
    with pytest.raises(ConfigError, match="precision 'fp8' is not known; choose auto, fp32 or bf16"):
        choose_precision("fp8", CPU)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="memory is as the C library has it")
@pytest.mark.parametrize(("change", "keeps"), [("keep_memory()", True), ("", False)])
def test_memory_of_maps_is_kept_from_step_to_step(change: str, keeps: bool) -> None:
    """Else the system fills the maps of each step with zeros, page by page; the first steps make room for them."""
    code = f"""
import resource, torch
from geseg.steps.learner import keep_memory
{change}
def step():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    maps = [torch.ones(millions * 1_000_000) for millions in (10, 3, 9, 10)]
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(min(step() for _ in range(8)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (int(done.stdout) < 1000) == keeps


def test_a_step_on_the_kernel_has_all_threads_and_torch_one(
    needs_kernel: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    of, before, seen = learner(), torch.get_num_threads(), set[tuple[int, int]]()
    if not of.kernel:
        pytest.skip("it is not faster here")
    learn = library.learn

    def noted(
        layer: library.Layer, images: int, weights: int, dtype: type, threads: int, instructions: int
    ) -> np.ndarray:
        seen.add((threads, torch.get_num_threads()))
        return learn(layer, images, weights, dtype, threads, instructions)

    monkeypatch.setattr(library, "learn", noted)
    try:
        torch.set_num_threads(3)
        of.step(*batch(0), done=0.5)
        assert seen == {(3, 1)}
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_the_kernel_learns_in_float32_alone(needs_kernel: None) -> None:
    of = learner()
    assert of.kernel == (library.best_set() >= library.AVX2)
    assert not learner("bf16").kernel
    assert not Learner(build(Group.parse("c1"), (2, 3)), LOSSES["dice+bce"], 1e-2, CPU, "fp32").kernel
    assert all((conv.kernelised is not None) == of.kernel for conv in of.average.down[0].convs)
