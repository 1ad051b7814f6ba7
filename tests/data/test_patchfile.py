"""The patch file comes back as it was written, in other processes too, and strangers are turned away."""

import dataclasses
import hashlib
import json
import multiprocessing
import pickle
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest

from geseg import headers
from geseg.data import hdf5
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
    sources=(SourceRecord(dataset="drive", layout="drive", protocol="20/20", images=4, unknown_persons=3),),
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
        contrast=(1.0, 2.0, 3.0),
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
    assert "is damaged: its bytes do not fit its checksum" in error_of(path)
    path.write_bytes(path.read_bytes()[512:])
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
    hdf5.seal(path)


def test_another_format(path: Path) -> None:
    edit_header(path, json.dumps({"format": 1, "geseg_version": "0.1.0", "old": True}))
    assert error_of(path) == (
        f"{path} is a patch file of format 1, written by geseg 0.1.0; expected format 5: prepare it again"
    )
    edit_header(path, json.dumps({"format": 2}))
    assert error_of(path) == (
        f"{path} is a patch file of format 2, written by geseg of unknown version; expected format 5: prepare it again"
    )


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"format": 5}', '{"format": 5, "sources": [], "samples": [], "x": 1}']
)
def test_a_damaged_header(path: Path, text: str) -> None:
    edit_header(path, text)
    message = error_of(path)
    assert message.startswith(f"{path} has a damaged header (")
    assert message.endswith(EXPECTED)


def test_the_first_line_is_a_checksum_for_people(path: Path) -> None:
    data = path.read_bytes()
    digest = hashlib.sha256(data[512:]).hexdigest()
    assert data[:512].decode().rstrip() == f"geseg patch file; SHA-256 of what follows byte 512: {digest}"


@pytest.mark.parametrize("place", [60, 600, -600])
def test_any_other_byte_is_noticed(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)
    with pytest.raises(PatchFileError, match=r"^\S+ is damaged: its bytes do not fit its checksum; prepare it again$"):
        PatchFile.open(path)


def test_a_file_without_its_first_line(path: Path) -> None:
    path.write_bytes(bytes(512) + path.read_bytes()[512:])
    assert error_of(path) == f"{path} is damaged: its bytes do not fit its checksum; prepare it again"
    path.write_bytes(path.read_bytes()[512:])
    with h5py.File(path, "a"):  # the file proper can be opened without it
        pass
    assert error_of(path) == f"{path} is damaged: it has no checksum; prepare it again"


DATASETS = ["train/patches", "images/2/image", "images/2/label", "images/2/second", "images/2/fov"]


def read_all(file: PatchFile) -> None:
    assert len(file.train_samples) == len(file.train_patches(range(10)))
    for number in (0, 2):
        file.whole_image(number)


@pytest.mark.parametrize("name", [*DATASETS, "train/sample"])
def test_pixels_have_checksums_of_their_own(path: Path, name: str) -> None:
    """For what is damaged while the file is open."""
    with h5py.File(path) as hdf:
        assert hdf[name].fletcher32
        block = hdf[name].id.get_chunk_info(0)
    file = PatchFile.open(path)
    with path.open("r+b") as raw:
        raw.seek(block.byte_offset + block.size // 2)
        byte = raw.read(1)[0]
        raw.seek(-1, 1)
        raw.write(bytes([byte ^ 8]))
    words = {"train/patches": "the training patches", "train/sample": "the list of its training patches"}
    told = re.escape(words.get(name, "image drive/22"))
    with pytest.raises(PatchFileError, match=rf"^\S+ is damaged: {told} cannot be read \([^\n]*\); prepare it again$"):
        read_all(file)


def altered(path: Path, change: Callable[[h5py.File], object], **record_changes: object) -> PatchFile:
    """The file with something else in it, by somebody who knows how to write its checksum."""
    with h5py.File(path, "r+") as file:
        change(file)
        header = json.loads(file.attrs["geseg"])
        header["samples"][1] |= record_changes
        file.attrs["geseg"] = json.dumps(header)
    hdf5.seal(path)
    return PatchFile.open(path)


def replaced(name: str, **kind: object) -> Callable[[h5py.File], object]:
    """The same pixels stored in another way."""

    def change(file: h5py.File) -> None:
        values = file[name][:]
        del file[name]
        file.create_dataset(name, data=values, **{"chunks": (1, 8, 8, 5), **hdf5_kind, **kind})

    hdf5_kind: dict[str, object] = {"compression": "lzf", "fletcher32": True}
    return change


def linked(link: object) -> Callable[[h5py.File], object]:
    def change(file: h5py.File) -> None:
        file.move("train/patches", "elsewhere")
        file["train/patches"] = link

    return change


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((10, 8, 8, 5), np.uint8)
    layout[:] = h5py.VirtualSource("other.h5", "train/patches", (10, 8, 8, 5), np.uint8)
    del file["train/patches"]
    file.create_virtual_dataset("train/patches", layout)


def external(file: h5py.File) -> None:
    del file["train/patches"]
    file.create_dataset("train/patches", (10, 8, 8, 5), np.uint8, external=[("/etc/passwd", 0, 3200)])


LINK, PACKED, STORED = (
    "it is missing, or a link",
    "its pixels are packed in another way",
    "its pixels are not stored in",
)
STRANGERS = {
    "external link": (linked(h5py.ExternalLink("other.h5", "/train/patches")), LINK),
    "soft link": (linked(h5py.SoftLink("/elsewhere")), LINK),
    "missing": (lambda file: file.move("train/patches", "elsewhere"), LINK),
    "a link on the way": (lambda file: (file.move("train", "t"), file.update(train=h5py.SoftLink("/t"))), LINK),
    "virtual": (virtual, STORED),
    "external storage": (external, STORED),
    "in one piece": (replaced("train/patches", chunks=None, compression=None, fletcher32=None), STORED),
    "gzipped": (replaced("train/patches", compression="gzip"), PACKED),
    "shuffled": (replaced("train/patches", shuffle=True), PACKED),
    "unchecked": (replaced("train/patches", fletcher32=None), PACKED),
    "group": (lambda file: (file.move("train/patches", "p"), file.create_group("train/patches")), "it is no dataset"),
    "shape": (replaced("train/patches", maxshape=None, dtype="u2"), "it is uint16[10, 8, 8, 5], expected uint8[10, 8"),
}


@pytest.mark.parametrize("kind", STRANGERS)
def test_a_stranger_leads_nowhere_else(path: Path, kind: str) -> None:
    change, message = STRANGERS[kind]
    file = altered(path, change)
    with pytest.raises(PatchFileError) as caught:
        file.train_patches([0])
    assert f"{path} is damaged: the training patches cannot be read ({message}" in str(caught.value)


def test_the_same_pixels_stored_in_our_way_are_read(path: Path) -> None:
    """Keeps the test above honest."""
    file = altered(path, replaced("train/patches"))
    np.testing.assert_array_equal(file.train_patches(range(10)), PATCHES.reshape(10, 8, 8, 5))


def declare(count: int, chunk: tuple[int, ...]) -> Callable[[h5py.File], object]:
    def change(file: h5py.File) -> None:
        del file["train/patches"]
        kind = {"compression": "lzf", "fletcher32": True, "maxshape": (None, *chunk[1:])}
        file.create_dataset("train/patches", (count, 8, 8, 5), np.uint8, chunks=chunk, **kind)

    return change


@pytest.mark.parametrize(("count", "chunk"), [(10**12, (1, 8, 8, 5)), (10**7, (10**7, 8, 8, 5))])
def test_a_small_file_cannot_be_large(path: Path, count: int, chunk: tuple[int, ...]) -> None:
    file = altered(path, declare(count - 5, chunk), patches=count - 10)
    with pytest.raises(PatchFileError, match=r"it would have \d+ bytes in blocks of \d+, too many for a file of \d+"):
        file.train_patches([0])


def test_a_block_cannot_be_large(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hdf5, "LARGEST_CHUNK", 319)
    with pytest.raises(PatchFileError, match=r"it would have 3200 bytes in blocks of 320, too many"):
        PatchFile.open(path).train_patches([0])


@pytest.mark.parametrize(
    "change", [{"height": 10**9}, {"width": 0}, {"height": "9"}, {"mean": [0, 0]}, {"patches": -1}, {"split": "all"}]
)
def test_a_header_of_impossible_numbers(path: Path, change: dict[str, object]) -> None:
    with pytest.raises(PatchFileError, match=r"has a damaged header \("):
        altered(path, lambda file: None, **change)


def test_a_header_that_is_too_long_or_too_deep(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    edit_header(path, "[" * 100_000)
    assert "has a damaged header (it is nested too deeply)" in error_of(path)
    with h5py.File(path, "r+") as file:
        del file.attrs["geseg"]
        file.attrs["geseg"] = np.bytes_(b"x" * 70_000)
    hdf5.seal(path)
    monkeypatch.setattr(headers, "LONGEST", 60_000)
    assert "its header cannot be read (it has 70000 characters, expected 60000 at most)" in error_of(path)


def test_a_list_of_patches_that_is_not_the_headers(path: Path) -> None:
    file = altered(path, lambda file: file["train/sample"].write_direct(np.full(10, 3, np.int32)))
    with pytest.raises(
        PatchFileError, match=r"the list of its training patches cannot be read \(it is not that of the"
    ):
        _ = file.train_samples


def test_patches_that_could_not_be_read_again_are_not_written(tmp_path: Path) -> None:
    header = dataclasses.replace(HEADER, patch_size=10_000)
    with pytest.raises(
        PatchFileError, match=r"^patches of 10000 x 10000 pixels are too large to keep; choose a smaller"
    ):
        write(tmp_path / "a.h5", header, [])
    assert not list(tmp_path.iterdir())
