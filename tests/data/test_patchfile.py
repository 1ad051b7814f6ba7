"""The patch file comes back as it was written, in other processes too, and strangers are turned away."""

import dataclasses
import json
import multiprocessing
import pickle
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest

from geseg.data.patchfile import (
    PatchFile,
    PatchHeader,
    SampleRecord,
    SourceRecord,
    TrainPatches,
    WholeImage,
    write,
)
from geseg.data.samples import Split
from geseg.errors import PatchFileError

HEADER = PatchHeader(
    seed=3,
    patch_size=8,
    patches_per_image=5,
    diameter=1000,
    val_fraction=0.25,
    orientation_shift=False,
    sources=(
        SourceRecord(dataset="drive", folder="DRIVE", layout="drive", protocol="20/20", images=4, unknown_persons=3),
    ),
)
RNG = np.random.default_rng(0)
PATCHES = RNG.integers(0, 256, (2, 5, 8, 8, 5), np.uint8)
IMAGE = RNG.integers(0, 256, (11, 13, 3), np.uint8)
LABEL, FOV, SECOND = RNG.random((3, 11, 13)) < 0.5


def record(number: int, split: Split, labelled: bool = True) -> SampleRecord:
    return SampleRecord(
        dataset="drive",
        id=f"{number:02}",
        stem=f"{number:02}_photo",
        person=f"{number:02}",
        split=split,
        height=11,
        width=13,
        diameter=12.0 if number % 2 else None,
        mean=(1.5, 2.5, 1 / 3),
        std=(1.0, 2.0, 3.0),
        fov="given",
        labelled=labelled,
        patches=0,
        image_sha256="a" * 64,
        label_sha256="b" * 64 if labelled else None,
        fov_sha256="c" * 64,
        second_sha256="d" * 64 if split == "val" else None,
    )


def stream() -> Iterator[TrainPatches | WholeImage]:
    yield WholeImage(record(1, "test", labelled=False), IMAGE, None, FOV)
    yield TrainPatches(record(21, "train"), PATCHES[0])
    yield WholeImage(record(22, "val"), IMAGE[::-1], LABEL, FOV, SECOND)
    yield TrainPatches(record(23, "train"), PATCHES[1])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write(tmp_path / "patches.h5", HEADER, stream())
    return tmp_path / "patches.h5"


def test_the_header_comes_back(path: Path, tmp_path: Path) -> None:
    written = write(tmp_path / "again.h5", HEADER, stream())
    header = PatchFile.open(path).header
    assert header == written
    assert [sample.id for sample in header.samples] == ["01", "21", "22", "23"]
    assert dataclasses.replace(header, samples=()) == HEADER


def test_patches_come_back_in_the_order_of_the_indices(path: Path) -> None:
    with PatchFile.open(path) as file:
        everything = PATCHES.reshape(10, 8, 8, 5)
        for indices in ([0], [9, 0, 9, 3], np.arange(10)[::-1], []):
            np.testing.assert_array_equal(file.train_patches(indices), everything[np.array(indices, int)])
        assert file.train_samples.tolist() == [1] * 5 + [3] * 5
        assert file.train_samples.dtype == np.int32


def test_whole_images_come_back(path: Path) -> None:
    with PatchFile.open(path) as file:
        (val,), (test,) = file.whole("val"), file.whole("test")
    assert (val.record.id, test.record.id, test.label) == ("22", "01", None)
    np.testing.assert_array_equal(val.image, IMAGE[::-1])
    np.testing.assert_array_equal(val.label, LABEL)
    np.testing.assert_array_equal(val.fov, FOV)
    np.testing.assert_array_equal(val.second, SECOND)
    assert test.second is None


def test_one_whole_image_comes_back(path: Path) -> None:
    file = PatchFile.open(path)
    one = file.whole_image(2)
    assert one.record == file.header.samples[2]
    np.testing.assert_array_equal(one.second, SECOND)


def test_masks_are_0_and_255_in_the_file(path: Path) -> None:
    with h5py.File(path) as file:
        for name, mask in (("label", LABEL), ("fov", FOV), ("second", SECOND)):
            np.testing.assert_array_equal(file[f"images/2/{name}"][:], mask * np.uint8(255))
        assert set(file["images/0"]) == {"image", "fov"}


def test_one_patch_is_one_read(path: Path) -> None:
    with h5py.File(path) as file:
        assert file["train/patches"].chunks == (1, 8, 8, 5)


def test_a_file_may_have_no_training_patches(tmp_path: Path) -> None:
    write(tmp_path / "a.h5", HEADER, [])
    assert PatchFile.open(tmp_path / "a.h5").train_samples.shape == (0,)


def test_headers_may_be_long(tmp_path: Path) -> None:
    """FIVES has 800 images; HDF5 limits what is stored beside a group to 64 KiB unless told otherwise."""
    image = np.zeros((1, 1, 3), np.uint8)
    whole = (WholeImage(record(n, "test", labelled=False), image, None, image[:, :, 0] > 0) for n in range(800))
    header = write(tmp_path / "a.h5", HEADER, whole)
    assert len(header.to_json()) > 2**17
    assert PatchFile.open(tmp_path / "a.h5").header == header


def test_a_handle_is_not_pickled(path: Path) -> None:
    file = PatchFile.open(path)
    first = file.train_patches([4])
    copy = pickle.loads(pickle.dumps(file))
    np.testing.assert_array_equal(copy.train_patches([4]), first)
    assert copy.header == file.header


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_handle_does_not_cross_a_fork(path: Path) -> None:
    file = PatchFile.open(path)
    expected = file.train_patches(range(10))  # the handle is open now
    with multiprocessing.get_context("fork").Pool(2) as pool:
        for part in pool.map(file.train_patches, [range(10)] * 4):
            np.testing.assert_array_equal(part, expected)
    child = multiprocessing.get_context("fork").Process(target=check_own_handle, args=(file,))
    child.start()
    child.join()
    assert child.exitcode == 0
    np.testing.assert_array_equal(file.train_patches(range(10)), expected)


def check_own_handle(file: PatchFile) -> None:
    """Runs in a child that got `file`, open, through the fork itself."""
    inherited = file._file
    file.train_patches([0])
    assert inherited is not None
    assert file._file is not inherited


def test_closing_is_no_end(path: Path) -> None:
    file = PatchFile.open(path)
    with file:
        first = file.train_patches([1])
    np.testing.assert_array_equal(file.train_patches([1]), first)


def error_of(path: Path) -> str:
    with pytest.raises(PatchFileError) as caught:
        PatchFile.open(path)
    message = str(caught.value)
    assert "\n" not in message
    return message


EXPECTED = "expected a patch file: make one with `geseg prepare`"


def test_missing_file(tmp_path: Path) -> None:
    assert error_of(tmp_path / "a.h5") == f"{tmp_path / 'a.h5'} does not exist; {EXPECTED}"


def test_other_files(tmp_path: Path) -> None:
    (tmp_path / "a.h5").write_text("hello")
    assert error_of(tmp_path) == f"{tmp_path} is a folder; {EXPECTED}"
    message = error_of(tmp_path / "a.h5")
    assert message.startswith(f"{tmp_path / 'a.h5'} cannot be read as HDF5 (")
    assert message.endswith(f"); {EXPECTED}")


def test_a_file_cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-100])
    assert error_of(path).startswith(f"{path} cannot be read as HDF5 (")


def test_a_file_that_vanishes_before_it_is_read(path: Path) -> None:
    file = PatchFile.open(path)
    path.unlink()
    with pytest.raises(PatchFileError, match="does not exist"):
        file.train_patches([0])


def test_hdf5_of_another_program(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data"] = np.zeros(3)
    assert error_of(tmp_path / "a.h5") == f"{tmp_path / 'a.h5'} is an HDF5 file of another program; {EXPECTED}"


def edit_header(path: Path, text: str) -> None:
    with h5py.File(path, "r+") as file:
        file.attrs["geseg"] = text


def test_another_format(path: Path) -> None:
    edit_header(path, json.dumps({"format": 1, "geseg_version": "0.1.0", "old": True}))
    assert error_of(path) == (
        f"{path} is a patch file of format 1, written by geseg 0.1.0; expected format 3: prepare it again"
    )
    edit_header(path, json.dumps({"format": 2}))
    assert error_of(path) == (
        f"{path} is a patch file of format 2, written by geseg of unknown version; expected format 3: prepare it again"
    )


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"format": 3}', '{"format": 3, "sources": [], "samples": [], "x": 1}']
)
def test_a_damaged_header(path: Path, text: str) -> None:
    edit_header(path, text)
    message = error_of(path)
    assert message.startswith(f"{path} has a damaged header (")
    assert message.endswith(EXPECTED)
