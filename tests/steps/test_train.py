import csv
import dataclasses
import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from geseg.data import patchfile
from geseg.data.patchfile import PatchFile
from geseg.errors import (
    ConfigError,
    DataError,
    DeviceError,
    DivergedError,
    GesegError,
    OutputError,
    PatchFileError,
    StoppedError,
)
from geseg.files import sha256
from geseg.model import modelfile
from geseg.model.modelheader import read_header
from geseg.model.restrict import restrict
from geseg.model.unet import count_parameters
from geseg.steps import runfolder, train
from geseg.steps.learner import Learner
from geseg.steps.prepare import PrepareConfig
from geseg.steps.prepare import run as prepare
from geseg.steps.train import choose_patches, run
from geseg.steps.trainconfig import Moment, TrainConfig
from geseg.steps.validation import Score, Validation


@pytest.fixture
def config(patch_file: Path, tmp_path: Path) -> TrainConfig:
    return TrainConfig(
        patches=patch_file, out=tmp_path / "run", widths=(1, 2), epochs=3, batch_size=4, device="cpu", precision="fp32"
    )


def test_a_run_folder_holds_model_configuration_and_curve(config: TrainConfig) -> None:
    result = run(config)
    assert config.out is not None
    assert {path.name for path in config.out.iterdir()} - {"tensorboard"} == {
        "model.safetensors",
        "state.safetensors",
        "config.json",
        "metrics.csv",
        "curves.png",
    }
    net, header = modelfile.load(result.model)
    assert (header.group, header.widths, net.widths) == ("d4", (1, 2), (1, 2))
    assert header.metrics["val_dice_at_0.5"] == result.dice
    assert header.threshold == result.threshold
    assert len(header.training["samples"]["train"]) == 4
    assert len(header.training["samples"]["val"]) == 1
    assert all(len(digest) == 64 for digest in header.training["samples"]["train"].values())
    rows = list(csv.DictReader((config.out / "metrics.csv").read_text().splitlines()))
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert max(float(row["val_dice"]) for row in rows) == pytest.approx(result.dice, abs=1e-5)
    assert json.loads((config.out / "config.json").read_text())["widths"] == [1, 2]


def test_every_step_tells_how_the_run_does(config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    counted: list[object] = []
    monkeypatch.setattr(train, "count_parameters", lambda net: counted.append(net) or count_parameters(net))
    moments: list[Moment] = []
    result = run(config, watch=moments.append)
    assert len(moments) == config.epochs * (moments[0].steps + 1), "and after each epoch"
    assert {moment.description for moment in moments} == {result.description}
    assert len(counted) == 2, "once for config.json and once for the words, not in every step"


class KilledError(Exception):
    pass


@pytest.mark.parametrize("epoch", [1, 2])
def test_a_run_that_was_stopped_ends_with_the_same_weights(config: TrainConfig, tmp_path: Path, epoch: int) -> None:
    whole = run(config)

    def stop(items, label: str, total: int | None = None):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
        for number, item in enumerate(items):
            if f"epoch {epoch + 1}/" in label and number == 3:
                raise KilledError
            yield item

    stopped = dataclasses.replace(config, out=tmp_path / "stopped")
    with pytest.raises(KilledError):
        run(stopped, track=stop)
    again = run(dataclasses.replace(stopped, resume=True))
    assert again.dice == whole.dice
    for name in ("model.safetensors", "state.safetensors"):
        expected = safetensors.torch.load_file(tmp_path / "run" / name)
        found = safetensors.torch.load_file(tmp_path / "stopped" / name)
        assert expected.keys() == found.keys()
        assert all(torch.equal(expected[key], found[key]) for key in expected)


@pytest.fixture
def steps_until_stopped(monkeypatch: pytest.MonkeyPatch) -> Callable[[TrainConfig, float], int]:
    """Trains until the first validation from a share of the training on, which is stopped; how many steps that took."""

    def train_until(config: TrainConfig, share: float) -> int:
        shares: list[float] = []
        step = Learner.step

        def noting(of: Learner, *batch: torch.Tensor, done: float) -> float:
            shares.append(done)
            return step(of, *batch, done=done)

        def stopping(of: Validation, *arguments: object) -> Score:
            if shares[-1] >= share:
                raise StoppedError("it was stopped")
            return score(of, *arguments)  # type: ignore[arg-type]

        score = Validation.score
        with monkeypatch.context() as patched:
            patched.setattr(Learner, "step", noting)
            patched.setattr(Validation, "score", stopping)
            with pytest.raises(StoppedError):
                run(config)
        return len(shares)

    return train_until


def rows_of(config: TrainConfig) -> list[dict[str, str]]:
    assert config.out is not None
    return list(csv.DictReader((config.out / "metrics.csv").read_text().splitlines()))


def test_a_run_that_was_stopped_in_a_validation_has_the_same_curve(
    config: TrainConfig, tmp_path: Path, steps_until_stopped: Callable[[TrainConfig, float], int]
) -> None:
    run(config)
    stopped = dataclasses.replace(config, out=tmp_path / "stopped")
    assert steps_until_stopped(stopped, 0.5) == 16
    run(dataclasses.replace(stopped, resume=True))
    names = ("epoch", "loss", "val_dice", "learning_rate")
    curves = [[[row[name] for name in names] for row in rows_of(of)] for of in (config, stopped)]
    assert curves[0] == curves[1]


def test_a_run_that_was_stopped_in_the_validation_at_the_end_of_its_minutes_takes_no_other_step(
    config: TrainConfig,
    steps_until_stopped: Callable[[TrainConfig, float], int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = dataclasses.replace(config, epochs=10_000, patience=10_000, minutes=0.04)
    steps_until_stopped(config, 1.0)
    monkeypatch.setattr(Learner, "step", None)
    run(dataclasses.replace(config, resume=True))
    assert float(rows_of(config)[-1]["learning_rate"]) < 1e-4


def test_a_run_is_not_overwritten_unless_asked(config: TrainConfig) -> None:
    run(config)
    with pytest.raises(OutputError, match=r"holds a run already; go on with .* --resume, replace it with --overwrite"):
        run(config)
    run(dataclasses.replace(config, overwrite=True, epochs=1))


def test_only_what_was_started_can_be_resumed(config: TrainConfig) -> None:
    with pytest.raises(OutputError, match="holds no run to resume"):
        run(dataclasses.replace(config, resume=True))
    run(config)
    with pytest.raises(ConfigError, match="is of a run with seed 0 instead of 1"):
        run(dataclasses.replace(config, resume=True, seed=1))


def test_minutes_end_a_run_with_the_schedule_finished(config: TrainConfig) -> None:
    assert config.out is not None
    run(dataclasses.replace(config, epochs=10_000, patience=10_000, minutes=0.06))  # a busy machine may pause for .1 s
    last = list(csv.DictReader((config.out / "metrics.csv").read_text().splitlines()))[-1]
    assert float(last["learning_rate"]) < 1e-4
    assert float(last["seconds"]) < 20


def test_minutes_count_all_that_validation_takes(config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also what is computed only of weights that are kept."""
    calls: list[float | None] = []

    def calibre(of: Validation, *arguments: object) -> float | None:
        time.sleep(0.5)
        calls.append(measured(of, *arguments))  # type: ignore[arg-type]
        return calls[-1]

    measured = Validation.calibre
    monkeypatch.setattr(Validation, "calibre", calibre)
    run(config)
    assert config.out is not None
    last = list(csv.DictReader((config.out / "metrics.csv").read_text().splitlines()))[-1]
    assert calls
    assert float(last["seconds"]) > 0.5 * len(calls)


def test_patience_ends_a_run(config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("geseg.metrics.overlap.mean_dice", lambda *_: 0.5)
    result = run(dataclasses.replace(config, epochs=50, patience=2))
    assert result.best_epoch == 1
    assert config.out is not None
    assert len((config.out / "metrics.csv").read_text().splitlines()) == 1 + 3


def test_memory_that_runs_out_is_one_line(config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    def step(*_: object, **__: object) -> float:
        raise MemoryError

    monkeypatch.setattr(train.Learner, "step", step)
    with pytest.raises(
        DeviceError, match="4 patches per step need more memory than cpu has; train with a smaller --ba"
    ):
        run(dataclasses.replace(config, group="c1"))


@pytest.mark.parametrize("group", ["c1", "d4"])
def test_patches_that_poolings_do_not_halve_are_one_line(config: TrainConfig, group: str) -> None:
    with pytest.raises(ConfigError, match=r"patches of 32 pixels, .* 6 poolings .* multiple of 64: .* --patch-size 64"):
        run(dataclasses.replace(config, group=group, widths=(1,) * 7))
    assert config.out is not None
    assert not config.out.exists()


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_training_that_diverges_ends_and_keeps_what_was_good(
    config: TrainConfig, loss: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    def step(learner: Learner, *batch: torch.Tensor, done: float) -> float:
        return loss if learner.progress.epoch else whole_step(learner, *batch, done=done)

    whole_step = Learner.step
    monkeypatch.setattr(train.Learner, "step", step)
    words = rf"loss of step 1 of epoch 2 is {loss}: .* diverged; start anew with a smaller --learning-rate than 0.02"
    with pytest.raises(DivergedError, match=words):
        run(config)
    assert config.out is not None
    assert len(modelfile.load(config.out / "model.safetensors")[1].training["samples"]["train"]) == 4


@pytest.mark.parametrize("name", ["model.safetensors", "model.onnx", "config.json", "metrics.csv", "curves.png"])
def test_a_part_of_a_run_is_not_overwritten_unless_asked(config: TrainConfig, name: str) -> None:
    assert config.out is not None
    config.out.mkdir()
    (config.out / name).write_bytes(b"weights of months")
    with pytest.raises(OutputError, match=rf"{name} exists already"):
        run(config)
    assert (config.out / name).read_bytes() == b"weights of months"


def test_two_runs_that_start_at_once_in_one_folder(config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both have found it free; the second one gives way."""
    run(config)
    assert config.out is not None
    digest = sha256(config.out / "state.safetensors")
    monkeypatch.setattr(runfolder, "check_free", lambda *_: None)
    with pytest.raises(OutputError, match=r"state\.safetensors has come to be meanwhile: another command writes there"):
        run(dataclasses.replace(config, seed=1))
    assert sha256(config.out / "state.safetensors") == digest


def test_what_decides_the_parameters_of_a_start(config: TrainConfig) -> None:
    run(config)
    start = dataclasses.replace(config, out=None, widths=None, start=config.out, params=5_000)
    with pytest.raises(ConfigError, match="decides how many parameters there are; leave out --params"):
        run(start)


def test_a_run_does_not_remove_what_it_starts_from(config: TrainConfig) -> None:
    run(config)
    assert config.out is not None
    digest = sha256(config.out / "model.safetensors")
    for start in (config.out, config.out / "model.safetensors"):
        with pytest.raises(ConfigError, match="holds the model to start from, which --overwrite removes"):
            run(dataclasses.replace(config, widths=None, start=start, overwrite=True))
    assert sha256(config.out / "model.safetensors") == digest


def test_a_group_has_one_name(config: TrainConfig) -> None:
    first = run(dataclasses.replace(config, group=" D4", epochs=1))
    assert read_header(first.model).group == "d4"


@pytest.mark.parametrize("unit", ["images", "patches"])
def test_fractions_are_nested(config: TrainConfig, unit: str) -> None:
    sample_of = np.repeat(np.arange(3, 19), 5)
    chosen = {
        share: set(
            choose_patches(sample_of, dataclasses.replace(config, fraction=share, fraction_of=unit))  # type: ignore[arg-type]
        )
        for share in (0.01, 0.25, 0.5, 1.0)
    }
    assert chosen[0.01] < chosen[0.25] < chosen[0.5] < chosen[1.0]
    assert len(chosen[0.25]) == 20
    images = {int(sample_of[index]) for index in chosen[0.25]}
    assert (len(images) == 4) == (unit == "images")
    other = choose_patches(sample_of, dataclasses.replace(config, fraction=0.25, seed=1))
    assert chosen[0.25] != set(other)


def test_a_fraction_learns_from_fewer_images_for_as_many_steps(config: TrainConfig) -> None:
    result = run(dataclasses.replace(config, fraction=0.25))
    header = read_header(result.model)
    assert len(header.training["samples"]["train"]) == 1
    assert config.out is not None
    state = safetensors.safe_open(config.out / "state.safetensors", framework="pt").metadata()
    assert json.loads(state["geseg"])["steps"] == 3 * 32 // 4


def test_the_name_of_a_run(patch_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = TrainConfig(patches=patch_file, widths=(1, 1), epochs=1, batch_size=4, fraction=0.5, group="c1")
    assert run(config).model == Path("runs/drive-c1-0.5/model.safetensors")


@pytest.fixture
def alone(make_generic: Callable[..., Path], tmp_path: Path) -> TrainConfig:
    """One labelled photograph: nothing validates."""
    folder = make_generic(stems=("one",))
    patches = prepare(PrepareConfig(sources=(folder,), out=tmp_path / "p.h5", patch_size=32, patches_per_image=8)).out
    return TrainConfig(
        patches=patches, out=tmp_path / "alone", widths=(1, 2), epochs=3, batch_size=4, device="cpu", precision="fp32"
    )


def test_without_validation_images_the_last_epoch_counts(alone: TrainConfig) -> None:
    result = run(alone)
    assert np.isnan(result.dice)
    assert (result.best_epoch, result.threshold) == (3, 0.5)
    assert alone.out is not None
    averages = safetensors.torch.load_file(alone.out / "state.safetensors")
    for name, tensor in safetensors.torch.load_file(result.model).items():
        torch.testing.assert_close(tensor, averages[f"average.{name}"], rtol=0, atol=0)


def test_training_goes_on_from_a_model(config: TrainConfig, alone: TrainConfig) -> None:
    """The first step changes little of the model, and all that it has seen is remembered."""
    first = run(config)
    tuned = dataclasses.replace(alone, start=config.out, widths=None, epochs=1, learning_rate=1e-6)
    result = run(tuned)
    before, after = (safetensors.torch.load_file(path) for path in (first.model, result.model))
    for name, tensor in before.items():
        if "coefficients" in name or "weight" in name:
            torch.testing.assert_close(tensor, after[name], rtol=0, atol=1e-4)
    old, new = read_header(first.model), read_header(result.model)
    assert new.widths == old.widths
    assert new.threshold == old.threshold
    assert new.training["start_sha256"] == sha256(first.model)
    assert new.training["samples"]["train"].keys() == old.training["samples"]["train"].keys() | {"photos/one"}
    assert new.training["samples"]["val"] == old.training["samples"]["val"]
    assert new.diameters is not None
    assert old.diameters is not None
    assert new.diameters[0] <= old.diameters[0] <= old.diameters[1] <= new.diameters[1]
    assert new.calibre == old.calibre, "it has no validation image of its own"


def test_the_learning_rate_of_tuning_is_lower(config: TrainConfig) -> None:
    assert (config.peak, dataclasses.replace(config, start=Path("run")).peak) == (0.02, 0.002)
    assert dataclasses.replace(config, start=Path("run"), learning_rate=0.1).peak == 0.1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"group": "c4"}, r"model.safetensors is of group d4, not c4; add --group d4"),
        ({"widths": (1, 3)}, r"model.safetensors has the widths \(1, 2, 2\), not \(1, 3\); leave out --widths"),
    ],
)
def test_a_model_of_another_net(alone: TrainConfig, run_folder: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        run(dataclasses.replace(alone, **({"start": run_folder, "widths": None} | changes)))
    assert alone.out is not None
    assert not alone.out.exists()


def test_an_exported_model_cannot_be_trained(alone: TrainConfig, run_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"model.onnx cannot be trained; expected a run folder"):
        run(dataclasses.replace(alone, start=run_folder / "model.onnx"))
    net, header = modelfile.load(run_folder / "model.safetensors")
    modelfile.save(restrict(net), dataclasses.replace(header, kind="restricted"), tmp_path / "plain.safetensors")
    with pytest.raises(ConfigError, match=r"plain.safetensors is restricted to plain convolutions; expected the wei"):
        run(dataclasses.replace(alone, start=tmp_path / "plain.safetensors"))


def test_a_validation_image_without_a_vessel(config: TrainConfig, tmp_path: Path) -> None:
    """Its Dice would be nan, and no epoch the best."""
    with PatchFile.open(config.patches) as file:
        wholes = [dataclasses.replace(whole, label=np.zeros_like(whole.fov)) for whole in file.whole("val")]
        patches = patchfile.TrainPatches(file.header.samples[-1], file.train_patches(range(8)))
        header = dataclasses.replace(file.header, samples=())
    patchfile.write(tmp_path / "p.h5", header, [patches, *wholes])
    with pytest.raises(DataError, match=r"the label of the validation image drive/\d\d shows no vessel"):
        run(dataclasses.replace(config, patches=tmp_path / "p.h5"))
    assert config.out is not None
    assert not config.out.exists()


def test_too_few_patches_for_a_batch(config: TrainConfig) -> None:
    with pytest.raises(DataError, match="has 32 training patches, expected at least one batch of 64"):
        run(dataclasses.replace(config, batch_size=64))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"fraction": 0.0}, ConfigError, "fraction is 0.0; expected more than 0 and at most 1"),
        ({"fraction": 25.0}, ConfigError, "fraction is 25.0"),
        ({"params": 2_000_000_000}, ConfigError, "params is 2,000,000,000; expected 1 to 100,000,000"),
        ({"params": 0}, ConfigError, "params is 0; expected 1 to"),
        (
            {"widths": (200_000, 200_000)},
            ConfigError,
            r"widths \(200000, 200000\) have .* expected 100,000,000 at most",
        ),
        ({"seed": 10**20}, ConfigError, "seed is 100000000000000000000; expected 0 to 18,446,744,073,709,551,615"),
        ({"group": "d3"}, ConfigError, "group 'd3' is not known"),
        ({"loss": "focal"}, ConfigError, "loss 'focal' is not known; choose one of dice"),
        ({"resume": True, "overwrite": True}, ConfigError, "choose one"),
        ({"patches": Path("missing.h5")}, PatchFileError, "missing.h5 does not exist"),
        ({"device": "tpu"}, ConfigError, "device 'tpu' is not known"),
    ],
)
def test_mistakes(config: TrainConfig, change: dict[str, object], error: type[GesegError], message: str) -> None:
    with pytest.raises(error, match=message):
        train.run(dataclasses.replace(config, **change))  # type: ignore[arg-type]


def test_a_plain_net_trains_too(config: TrainConfig) -> None:
    result = run(dataclasses.replace(config, group="c1", widths=(4, 6)))
    assert read_header(result.model).group == "c1"
