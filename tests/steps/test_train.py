import csv
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch

from geseg.data import patchfile
from geseg.data.patchfile import PatchFile
from geseg.errors import ConfigError, DataError, GesegError, OutputError, PatchFileError
from geseg.model import modelfile
from geseg.steps import train
from geseg.steps.prepare import PrepareConfig
from geseg.steps.prepare import run as prepare
from geseg.steps.train import TrainConfig, choose_patches, run


@pytest.fixture
def config(patch_file: Path, tmp_path: Path) -> TrainConfig:
    return TrainConfig(
        patches=patch_file, out=tmp_path / "run", widths=(1, 2), epochs=3, batch_size=4, device="cpu", precision="fp32"
    )


def test_a_run_folder_holds_model_configuration_and_curve(config: TrainConfig) -> None:
    result = run(config)
    assert config.out is not None
    assert {path.name for path in config.out.iterdir()} == {
        "model.safetensors",
        "state.safetensors",
        "config.json",
        "metrics.csv",
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


def test_a_run_is_not_overwritten_unless_asked(config: TrainConfig) -> None:
    run(config)
    with pytest.raises(OutputError, match=r"config.json exists already; .* or replace it with --overwrite"):
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
    run(dataclasses.replace(config, epochs=10_000, patience=10_000, minutes=0.02))
    last = list(csv.DictReader((config.out / "metrics.csv").read_text().splitlines()))[-1]
    assert float(last["learning_rate"]) < 1e-4
    assert float(last["seconds"]) < 20


def test_patience_ends_a_run(config: TrainConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("geseg.metrics.overlap.mean_dice", lambda *_: 0.5)
    result = run(dataclasses.replace(config, epochs=50, patience=2))
    assert result.best_epoch == 1
    assert config.out is not None
    assert len((config.out / "metrics.csv").read_text().splitlines()) == 1 + 3


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
    header = modelfile.read_header(result.model)
    assert len(header.training["samples"]["train"]) == 1
    assert config.out is not None
    state = safetensors.safe_open(config.out / "state.safetensors", framework="pt").metadata()
    assert json.loads(state["geseg"])["steps"] == 3 * 32 // 4


def test_the_name_of_a_run(patch_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = TrainConfig(patches=patch_file, widths=(1, 1), epochs=1, batch_size=4, fraction=0.5, group="c1")
    assert run(config).model == Path("runs/drive-c1-0.5/model.safetensors")


def test_no_validation_images(make_generic, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    folder = make_generic(stems=("one",))
    patches = prepare(PrepareConfig(sources=(folder,), out=tmp_path / "p.h5", patch_size=32, patches_per_image=8)).out
    with pytest.raises(DataError, match=r"p.h5 has no validation images, .* at least 2 annotated people"):
        run(TrainConfig(patches=patches, out=tmp_path / "run", widths=(1, 2)))
    assert not (tmp_path / "run").exists()


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
    assert modelfile.read_header(result.model).group == "c1"
