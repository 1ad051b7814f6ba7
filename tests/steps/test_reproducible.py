"""The same command makes the same files, wherever it runs and whatever the folders are called."""

import dataclasses
import os
import shutil
import signal
import time
from collections.abc import Callable
from contextlib import closing
from multiprocessing import active_children
from pathlib import Path

import numpy as np
import pytest
import safetensors
import torch

from geseg.data.augment import Augmentation
from geseg.data.patchfile import PatchFile
from geseg.errors import ProcessError
from geseg.files import sha256
from geseg.steps import batches
from geseg.steps.prepare import PrepareConfig
from geseg.steps.prepare import run as prepare
from geseg.steps.train import run as train
from geseg.steps.trainconfig import Moment, TrainConfig

CPU = torch.device("cpu")


def test_a_patch_file_depends_on_no_path(
    make_drive: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = PrepareConfig(sources=(make_drive(),), out=tmp_path / "a.h5", patch_size=24, patches_per_image=6)
    elsewhere = tmp_path / "äußere ordner" / "b"
    elsewhere.mkdir(parents=True)
    shutil.copytree(tmp_path / "DRIVE", elsewhere / "other name")
    monkeypatch.chdir(elsewhere)
    second = dataclasses.replace(first, sources=(Path("other name"),), out=Path("b.h5"))
    other_seed = dataclasses.replace(first, out=tmp_path / "c.h5", seed=1)
    one, two, three = (prepare(config).out.read_bytes() for config in (first, second, other_seed))
    assert one == two
    assert one != three


def test_a_model_depends_on_no_path(patch_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does it name one: the files are equal, headers and all."""
    first = TrainConfig(
        patches=patch_file, out=tmp_path / "a", group="c1", widths=(2, 3), epochs=1, batch_size=4, device="cpu"
    )
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    shutil.copy(patch_file, "p.h5")
    second = dataclasses.replace(first, patches=Path("p.h5"), out=Path("b c"))
    digests = [sha256(train(config).model) for config in (first, second)]
    assert digests[0] == digests[1]
    with safetensors.safe_open("b c/model.safetensors", framework="numpy") as file:
        text = "".join(file.metadata().values())
    assert "p.h5" not in text
    assert str(tmp_path) not in text
    resumed = dataclasses.replace(second, patches=patch_file, resume=True)
    assert sha256(train(resumed).model) == digests[0], "a run is the same run if its patch file has moved"


def test_what_a_model_goes_on_from_may_lie_anywhere(patch_file: Path, tmp_path: Path, run_folder: Path) -> None:
    first = TrainConfig(patches=patch_file, out=tmp_path / "a", start=run_folder, epochs=1, batch_size=4, device="cpu")
    shutil.copytree(run_folder, tmp_path / "moved")
    second = dataclasses.replace(first, start=tmp_path / "moved", out=tmp_path / "b")
    assert sha256(train(first).model) == sha256(train(second).model)


@pytest.mark.filterwarnings("ignore:This DataLoader will create 2 worker")  # on a machine with one core
def test_workers_read_the_same_batches_and_are_deaf_to_signals(
    patch_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a GPU there are such processes; Ctrl-C on a terminal reaches them, too, and must not end them."""
    reader = batches.PatchReader(PatchFile.open(patch_file), Augmentation(), seed=0)
    visits = batches.order(np.arange(32), 32, seed=0, epoch=1)
    alone = list(batches.batches(reader, visits, 4, CPU))
    monkeypatch.setattr(batches, "count_workers", lambda _: 2)
    before = set(active_children())
    with closing(batches.batches(reader, visits, 4, CPU)) as reading:
        first = next(reading)
        workers = set(active_children()) - before
        assert len(workers) == 2
        for worker in workers:
            for number in (signal.SIGINT, signal.SIGTERM):
                assert worker.pid is not None
                os.kill(worker.pid, number)
        read = [first, *reading]
    for one, other in zip(alone, read, strict=True):
        assert all(torch.equal(getattr(one, name), getattr(other, name)) for name in ("patches", "mean", "contrast"))
        for field in dataclasses.fields(one.draws):
            np.testing.assert_array_equal(getattr(one.draws, field.name), getattr(other.draws, field.name))


def test_a_worker_that_dies_is_one_line(patch_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = TrainConfig(patches=patch_file, out=tmp_path / "a", group="c1", widths=(2, 3), batch_size=4, device="cpu")
    monkeypatch.setattr(batches, "count_workers", lambda _: 1)
    before = set(active_children())

    def kill(_: Moment) -> None:
        for worker in set(active_children()) - before:
            worker.kill()
        time.sleep(5)

    with pytest.raises(ProcessError, match=r"a process that reads patches has died .*; go on with --resume"):
        train(config, watch=kill)
