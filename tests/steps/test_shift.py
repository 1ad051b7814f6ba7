"""The orientation shift on photographs with vessels of known directions."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from geseg.cli.app import app
from geseg.data import orientation
from geseg.data.patchfile import PatchFile, TrainPatches, WholeImage
from geseg.data.samples import Sample
from geseg.steps.prepare import PrepareConfig, reduce, run
from geseg.steps.shift import pack_shifted, suits
from geseg.steps.sources import describe

Make = Callable[..., Path]
SIZE = 32


def crossed(split: str) -> WholeImage:
    """A photograph whose left half has horizontal vessels and whose right half has vertical ones."""
    label = np.zeros((96, 192), bool)
    label[4::8, :96] = True
    label[:, 100::8] = True
    image = np.where(label[:, :, None], 60, 190).astype(np.uint8).repeat(3, 2)
    sample = Sample(
        dataset="eyes",
        id="1",
        person="1",
        split=split,
        image=Path(__file__),
        label=Path(__file__),
        fov=None,  # type: ignore[arg-type]
    )
    fov = np.ones_like(label)
    return WholeImage(describe(sample, image, fov), image, label, fov)


def pack(whole: WholeImage, count: int) -> list[TrainPatches | WholeImage]:
    record, layers = reduce(whole, 1000)
    return list(pack_shifted(record, layers, SIZE, count, np.random.default_rng(0)))


def test_training_sees_one_half_of_the_directions() -> None:
    (packed,) = pack(crossed("train"), 20)
    assert isinstance(packed, TrainPatches)
    assert packed.patches.shape == (20, SIZE, SIZE, 5)
    assert {orientation.dominant(patch[:, :, 3] > 0).bin for patch in packed.patches} == {0}


@pytest.mark.parametrize(("split", "direction"), [("val", 0), ("test", 2)])
def test_validation_and_test_are_patches_of_their_directions(split: str, direction: int) -> None:
    whole = crossed(split)
    packed = pack(whole, 20)
    assert len({part.record.id for part in packed}) == 20
    for part in packed:
        assert isinstance(part, WholeImage)
        assert part.label is not None
        assert whole.label is not None
        assert orientation.dominant(part.label).bin == direction
        y, x = map(int, part.record.id.removeprefix("1@").split(","))
        np.testing.assert_array_equal(part.image, whole.image[y : y + SIZE, x : x + SIZE])
        np.testing.assert_array_equal(part.label, whole.label[y : y + SIZE, x : x + SIZE])
        assert (part.record.height, part.record.width) == (SIZE, SIZE)
        assert part.record.mean == whole.record.mean, "brightness is that of the photograph"


def test_a_photograph_without_such_vessels_gives_nothing() -> None:
    whole = crossed("train")
    assert whole.label is not None
    assert not (pack(dataclasses.replace(whole, label=np.zeros_like(whole.fov)), 3))
    upright = dataclasses.replace(whole, label=whole.label & (np.arange(192) >= 96))
    assert not (pack(upright, 3))


def test_patches_that_are_mostly_black_do_not_suit() -> None:
    patch = np.zeros((SIZE, SIZE, 5), np.uint8)
    patch[4::8, :, 3] = 255
    patch[:, :20, 4] = 255
    assert suits(patch, (0, 1))
    patch[:, 19, 4] = 0
    assert not suits(patch, (0, 1))


def test_a_file_from_the_command_line(make_drive: Make, tmp_path: Path) -> None:
    """DRIVE without test labels: people are held out for test, too, and nobody is on two sides."""
    out = tmp_path / "p.h5"
    words = [make_drive(train=9), "-o", out, "--orientation-shift", "--patch-size", 24, "--patches-per-image", 6, "-q"]
    result = CliRunner().invoke(app, ["prepare", *map(str, words)])
    assert result.exit_code == 0, result.output
    assert "(vessels at 0 and 45 degrees in train and val, 90 and 135 in test)" in result.stdout
    with PatchFile.open(out) as file:
        records = file.header.samples
        assert file.header.orientation_shift
        people = {split: {r.person for r in records if r.split == split} for split in ("train", "val", "test")}
        assert not people["train"] & people["val"] | people["train"] & people["test"] | people["val"] & people["test"]
        assert f"{sum(r.patches for r in records)} train patches of {len(people['train'])} images" in result.stdout
        assert len(file.train_samples) == sum(r.patches for r in records) > 6
        tested = list(file.whole("test"))
        assert len(tested) > 3
        assert {orientation.dominant(w.label).bin for w in tested if w.label is not None} <= {2, 3}


def test_labelled_test_images_are_the_test(make_drive: Make, tmp_path: Path) -> None:
    config = PrepareConfig(
        sources=(make_drive(test_labels=True),),
        out=tmp_path / "p.h5",
        orientation_shift=True,
        patch_size=24,
        patches_per_image=4,
    )
    records = run(config).header.samples
    assert {r.person for r in records if r.split == "test"} <= {"01", "02"}
    assert len({r.person for r in records if r.split == "train"}) > 2
