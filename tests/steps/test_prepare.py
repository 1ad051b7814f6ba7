"""What a patch file holds of drawn and of real data sets, and how folders with faults are refused."""

import dataclasses
import hashlib
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypedDict, Unpack

import numpy as np
import pytest
from PIL import Image

import geseg
from geseg.data import images
from geseg.data.fov import find_fov
from geseg.data.images import read_image, read_mask
from geseg.data.layouts import find_source
from geseg.data.normalise import statistics
from geseg.data.patchfile import PatchFile, TrainPatches, WholeImage
from geseg.errors import ConfigError, GesegError, ImageError, OutputError
from geseg.steps.prepare import PrepareConfig, run
from geseg.steps.prepare import pack as pack_sample

Make = Callable[..., Path]


class Options(TypedDict, total=False):
    patch_size: int
    patches_per_image: int
    val_fraction: float
    seed: int
    overwrite: bool


def pack(out: Path, *sources: Path, **options: Unpack[Options]) -> PatchFile:
    """Prepare a few small patches."""
    small: Options = {"patch_size": 24, "patches_per_image": 6}
    assert run(PrepareConfig(sources=sources, out=out, **{**small, **options})).out == out
    return PatchFile.open(out)


def test_drive_is_packed_whole(make_drive: Make, tmp_path: Path) -> None:
    root = make_drive()
    with pack(tmp_path / "a.h5", root) as file:
        header, (val,), tests = file.header, list(file.whole("val")), list(file.whole("test"))
        patches, samples = file.train_patches(range(24)), file.train_samples
    assert patches.shape == (24, 24, 24, 5)
    assert [(sample.id, sample.split) for sample in header.samples if sample.split == "test"] == [
        ("01", "test"),
        ("02", "test"),
    ]
    assert sorted({header.samples[i].split for i in samples}) == ["train"]
    np.testing.assert_array_equal(samples, np.repeat(np.unique(samples), 6))
    assert {header.samples[i].id for i in samples} | {val.record.id} == {"21", "22", "23", "24", "25"}
    assert [test.label for test in tests] == [None, None]
    photo = root / "training" / "images" / f"{val.record.id}_training.tif"
    np.testing.assert_array_equal(val.image, read_image(photo))
    np.testing.assert_array_equal(val.label, read_mask(root / f"training/1st_manual/{val.record.id}_manual1.gif"))
    np.testing.assert_array_equal(val.fov, read_mask(root / f"training/mask/{val.record.id}_training_mask.gif"))


def test_patches_show_their_image_label_and_field_of_view(make_drive: Make, tmp_path: Path) -> None:
    root = make_drive()
    with pack(tmp_path / "a.h5", root) as file:
        for patch, index in zip(file.train_patches(range(24)), file.train_samples, strict=True):
            name = file.header.samples[index].id
            image = read_image(root / f"training/images/{name}_training.tif")
            label = read_mask(root / f"training/1st_manual/{name}_manual1.gif")
            fov = read_mask(root / f"training/mask/{name}_training_mask.gif")
            whole = np.dstack([image, label * np.uint8(255), fov * np.uint8(255)])
            windows = np.lib.stride_tricks.sliding_window_view(whole, (24, 24, 5)).reshape(-1, 24, 24, 5)
            assert (windows == patch).all(axis=(1, 2, 3)).any()


def test_the_header_says_what_was_chosen(make_drive: Make, tmp_path: Path) -> None:
    root = make_drive()
    header = pack(tmp_path / "a.h5", root, seed=7, val_fraction=0.4).header
    assert (header.format, header.geseg_version) == (5, geseg.__version__)
    assert (header.seed, header.patch_size, header.patches_per_image, header.val_fraction) == (7, 24, 6, 0.4)
    (source,) = header.sources
    assert (source.dataset, source.layout) == ("drive", "drive")
    assert (source.protocol, source.unknown_persons) == (None, 0)
    record = header.samples[-1]
    photo = root / "training/images/25_training.tif"
    assert (record.dataset, record.id, record.person, record.height, record.width) == ("drive", "25", "25", 72, 68)
    assert (record.stem, record.fov, record.labelled) == ("25_training", "given", True)
    assert [list(record.mean), list(record.contrast)] == [list(values) for values in statistics(read_image(photo))]
    assert record.image_sha256 == hashlib.sha256(photo.read_bytes()).hexdigest()
    assert record.label_sha256 == hashlib.sha256((root / "training/1st_manual/25_manual1.gif").read_bytes()).hexdigest()
    assert record.fov_sha256 == hashlib.sha256((root / "training/mask/25_training_mask.gif").read_bytes()).hexdigest()
    test = header.samples[0]
    assert (test.labelled, test.label_sha256) == (False, None)


def test_a_missing_field_of_view_is_found(make_generic: Make, tmp_path: Path) -> None:
    root = make_generic()
    with pack(tmp_path / "a.h5", root) as file:
        assert {(sample.fov, sample.fov_sha256) for sample in file.header.samples} == {("found", None)}
        (val,) = file.whole("val")
    np.testing.assert_array_equal(val.fov, find_fov(val.image))


def test_official_splits_of_folders(make_generic: Make, tmp_path: Path) -> None:
    make_generic(inside="train", stems=["a", "b", "c", "d"])
    root = make_generic(inside="test", stems=["a", "b"])
    samples = pack(tmp_path / "a.h5", root).header.samples
    assert sorted(sample.split for sample in samples) == ["test"] * 2 + ["train"] * 3 + ["val"]


def test_another_source_changes_nothing(make_drive: Make, make_generic: Make, tmp_path: Path) -> None:
    drive, photos = make_drive(), make_generic()
    with pack(tmp_path / "a.h5", drive) as alone, pack(tmp_path / "b.h5", photos, drive) as both:
        mine = [sample for sample in both.header.samples if sample.dataset == "drive"]
        assert mine == list(alone.header.samples)
        count = len(alone.train_samples)
        np.testing.assert_array_equal(
            both.train_patches(range(len(both.train_samples))[-count:]), alone.train_patches(range(count))
        )


def test_the_same_seed_gives_the_same_file(make_drive: Make, tmp_path: Path) -> None:
    root = make_drive()
    files = [pack(tmp_path / f"{name}.h5", root, seed=seed) for name, seed in [("a", 0), ("b", 0), ("c", 1)]]
    first, again, other = (file.train_patches(range(24)) for file in files)
    np.testing.assert_array_equal(first, again)
    assert files[0].header == files[1].header
    assert (first != other).any()


def test_images_smaller_than_a_patch(make_generic: Make, tmp_path: Path) -> None:
    patches = pack(tmp_path / "a.h5", make_generic(), patch_size=100).train_patches(range(12))
    assert patches.shape == (12, 100, 100, 5)
    assert not patches[:, :14].any(), "14 of the 28 rows that are missing"


def test_only_one_sample_at_a_time_is_in_memory(
    make_drive: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []

    def logged(items: Iterator[Any], label: str, total: int | None = None) -> Iterator[Any]:
        for number, item in enumerate(items):
            events.append(f"item {number} of {total}")
            yield item

    read = images.read_image
    monkeypatch.setattr(images, "read_image", lambda path: (events.append("read"), read(path))[1])
    run(PrepareConfig(sources=(make_drive(train=2),), out=tmp_path / "a.h5", patch_size=8), logged)
    assert events == ["item 0 of 4", "read", "item 1 of 4", "read", "item 2 of 4", "read", "item 3 of 4", "read"]


def error_of(kind: type[GesegError], out: Path, *sources: Path, **options: Unpack[Options]) -> str:
    """The message of a run that fails; it leaves no file behind."""
    before = sorted(out.parent.iterdir())
    with pytest.raises(kind) as caught:
        pack(out, *sources, **options)
    assert sorted(out.parent.iterdir()) == before
    message = str(caught.value)
    assert "\n" not in message
    return message


def spoil(root: Path, *numbers: int) -> list[str]:
    """Spoil images of a folder like DRIVE; returns what is said of each."""
    paths = [root / f"training/images/{number}_training.tif" for number in numbers]
    for path in paths:
        path.write_text("not an image")
    return [f"{path} cannot be read as an image: it has no known format; replace or remove it" for path in paths]


def test_one_image_that_cannot_be_used(make_drive: Make, tmp_path: Path) -> None:
    root = make_drive()
    (reason,) = spoil(root, 25)
    assert error_of(ImageError, tmp_path / "a.h5", root) == f"1 of 7 images cannot be used: {reason}"


def test_all_images_that_cannot_be_used(make_drive: Make, make_generic: Make, tmp_path: Path) -> None:
    """Of all sources, unreadable, of another size, training, validation and test: all are looked at before it ends."""
    root, other = make_drive(), make_generic()
    first, second = spoil(root, 21, 24)
    Image.new("L", (72, 68)).save(root / "test/mask/02_test_mask.gif")
    Image.new("L", (30, 40)).save(other / "masks" / "c.png")
    assert error_of(ImageError, tmp_path / "a.h5", root, other) == (
        f"4 of 10 images cannot be used: (1) the FOV {root}/test/mask/02_test_mask.gif has 72x68 pixels, but its image "
        f"{root}/test/images/02_test.tif has 68x72: expected the same; (2) {first}; (3) {second}"
    )


def test_packing_a_sample_of_each_split(make_drive: Make) -> None:
    source = find_source(make_drive(test_labels=True))
    config = PrepareConfig(sources=(source.root,), patch_size=24, patches_per_image=6)
    (test,), (train,) = (list(pack_sample(sample, config)) for sample in (source.samples[0], source.samples[-1]))
    assert isinstance(test, WholeImage)
    assert isinstance(train, TrainPatches)
    assert (test.record.split, train.record.split, len(train.patches)) == ("test", "train", 6)


def test_the_same_folder_twice(make_drive: Make, tmp_path: Path) -> None:
    root = make_drive()
    again = root / ".." / root.name
    assert error_of(ConfigError, tmp_path / "a.h5", root, again) == (
        f"a source is given twice ({root}, {again}); give each folder once"
    )


def test_an_output_that_exists_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "a.h5").write_text("precious")
    assert error_of(OutputError, tmp_path / "a.h5", tmp_path / "no such folder") == (
        f"{tmp_path}/a.h5 exists already; choose another place with -o, or replace it with --overwrite"
    )


def test_overwriting_keeps_the_old_file_until_the_new_one_is_whole(make_drive: Make, tmp_path: Path) -> None:
    root, out = make_drive(), tmp_path / "a.h5"
    out.write_text("precious")
    (root / "training/images/25_training.tif").write_text("not an image")
    error_of(ImageError, out, root, overwrite=True)
    assert out.read_text() == "precious"
    shutil.rmtree(root)
    assert len(pack(out, make_drive(), overwrite=True).header.samples) == 7


def test_a_file_that_has_come_to_be_meanwhile_stays(make_drive: Make, tmp_path: Path) -> None:
    """As of another command, with another data set and the same -o."""

    def meanwhile(items: Iterator[Any], label: str, total: int | None = None) -> Iterator[Any]:
        (tmp_path / "a.h5").write_text("of another command")
        yield from items

    with pytest.raises(OutputError, match=r"a\.h5 has come to be meanwhile: another command writes there, too; choose"):
        run(PrepareConfig(sources=(make_drive(),), out=tmp_path / "a.h5"), meanwhile)
    assert (tmp_path / "a.h5").read_text() == "of another command"


def test_an_interruption_leaves_nothing(make_drive: Make, tmp_path: Path) -> None:
    def interrupted(items: Iterator[Any], label: str, total: int | None = None) -> Iterator[Any]:
        yield next(iter(items))
        raise KeyboardInterrupt

    root = make_drive()
    with pytest.raises(KeyboardInterrupt):
        run(PrepareConfig(sources=(root,), out=tmp_path / "a.h5"), interrupted)
    assert list(tmp_path.iterdir()) == [root]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sources": ()}, "no source is given; expected at least one data set folder"),
        ({"patch_size": 0}, "patch_size (0) must be at least 1"),
        ({"patches_per_image": -2}, "patches_per_image (-2) must be at least 1"),
        ({"val_fraction": 1.0}, "val_fraction (1.0) must be at least 0 and below 1: somebody must train"),
        ({"val_fraction": -0.1}, "val_fraction (-0.1) must be at least 0 and below 1: somebody must train"),
        ({"seed": -1}, "seed (-1) must be at least 0"),
    ],
)
def test_values_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        dataclasses.replace(PrepareConfig(sources=(Path("a"),)), **options)
    assert str(caught.value) == message


def test_wide_photographs_are_reduced_to_train_and_kept_whole_to_score(make_drive: Make, tmp_path: Path) -> None:
    """The eyes are 68 pixels wide and their fields of view 63."""
    header = pack(tmp_path / "a.h5", make_drive(test_labels=True), diameter=32, patch_size=16).header
    assert header.diameter == 32
    for record in header.samples:
        if record.split == "train":
            assert (record.height, record.width) == (32, 32)
            assert record.diameter == pytest.approx(32, abs=0.1)
        else:
            assert (record.height, record.width) == (72, 68)
            assert record.diameter == pytest.approx(63, abs=2)
    with PatchFile.open(tmp_path / "a.h5") as file:
        labels = file.train_patches([0])[..., 3]
    assert len(np.unique(labels)) > 2, "a reduced vessel covers pixels in part"


def test_a_photograph_without_a_rim_is_not_reduced(make_generic: Make, tmp_path: Path) -> None:
    root = make_generic()
    for path in sorted((root / "images").iterdir()):
        Image.fromarray(np.full((72, 68, 3), 120, np.uint8)).save(path)
    header = pack(tmp_path / "a.h5", root, diameter=32, patch_size=16).header
    assert {(record.height, record.diameter) for record in header.samples} == {(72, None)}


@pytest.mark.parametrize(("name", "expected"), [("25", "100%"), ("24", "8[0-9]%")])
def test_labels_that_are_another_mask_or_inverted(make_drive: Make, tmp_path: Path, name: str, expected: str) -> None:
    root = make_drive()
    label = root / f"training/1st_manual/{name}_manual1.gif"
    if name == "25":
        shutil.copy(root / "training/mask/25_training_mask.gif", label)
    else:
        Image.fromarray(~read_mask(label)).save(label)
    message = error_of(ImageError, tmp_path / "a.h5", root)
    words = f"{re.escape(str(label))} marks {expected} of the field of view; expected 75% at most: is it inverted"
    assert re.search(words, message)


@pytest.mark.parametrize("names", [("a",), ("a", "b")])
def test_labels_that_show_nothing_are_told(make_generic: Make, tmp_path: Path, names: tuple[str, ...]) -> None:
    """As those whose vessels are in the alpha channel; other structures than vessels may really be missing."""
    root = make_generic()
    for name in names:
        Image.fromarray(np.zeros((72, 68), np.uint8)).save(root / "masks" / f"{name}.png")
    small = {"patch_size": 24, "patches_per_image": 6, "val_fraction": 0.34}
    (note,) = run(PrepareConfig(sources=(root,), out=tmp_path / "a.h5", **small)).notes  # type: ignore[arg-type]
    first = "the label of photos/a shows" if names == ("a",) else "2 labels, first that of photos/a, show"
    assert note == f"{first} no vessel; expected white on black: is it the right file?"
