"""The patch file: one HDF5 file with training patches, whole validation and test images, and how they were made.

- attrs["geseg"]: PatchHeader as JSON
- /train/patches: uint8[n, p, p, 5]: red, green, blue, label, field of view (0 or 255)
  A label is 0 or 255, and in between where a reduced pixel is vessel in part.
- /train/sample: int32[n]: which of header.samples a patch is from
- /images/<index>/image: uint8[h, w, 3] of the validation or test sample header.samples[index]
- /images/<index>/label: uint8[h, w], 0 or 255; missing where the data set has none
- /images/<index>/second: uint8[h, w], 0 or 255: the label of a second observer; missing where there is none
- /images/<index>/fov: uint8[h, w], 0 or 255

Every block of pixels carries its Fletcher-32 checksum, and a line before the HDF5 file proper the SHA-256 of all of it.
"""

import dataclasses
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import h5py
import numpy as np
from jaxtyping import Bool, Int32, Integer, UInt8

import geseg
from geseg import headers
from geseg.data import hdf5, hdf5writing, limits
from geseg.data.samples import Split
from geseg.errors import PatchFileError

FORMAT = 5
PACKED = {"compression": "lzf", "fletcher32": True}
TRUE = np.uint8(255)


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleRecord:
    """What is known of a photograph in the file; mean and contrast are those of `normalise.statistics`."""

    dataset: str
    id: str
    stem: str
    """Name of the image file without its suffix."""
    person: str
    split: Split
    height: int
    width: int
    diameter: float | None
    """Of the field of view of its photograph, in pixels as they are in the file; None where it fills the photograph."""
    mean: tuple[float, float, float]
    contrast: tuple[float, float, float]
    fov: Literal["given", "found"]
    labelled: bool
    patches: int
    """How many training patches are of it; `write` counts them."""
    image_sha256: str
    label_sha256: str | None
    fov_sha256: str | None
    second_sha256: str | None
    """None where the file holds no second observer's label: of training images it holds none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceRecord:
    """A folder that went into the file."""

    dataset: str
    layout: str
    protocol: str | None
    """Which of the splits in use it follows, where there are several or none is official."""
    images: int
    unknown_persons: int
    """How many of its images count as a person each because nobody knows whom they show."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchHeader:
    """Everything that was chosen when the file was made."""

    format: int = FORMAT
    geseg_version: str = geseg.__version__
    seed: int
    patch_size: int
    patches_per_image: int
    diameter: int
    """Pixels; training photographs whose field of view was wider by more than a tenth were reduced to it."""
    val_fraction: float
    orientation_shift: bool
    """Whether patches were chosen by the direction of their vessels; validation and test images are patches, too."""
    sources: tuple[SourceRecord, ...]
    samples: tuple[SampleRecord, ...] = ()

    def to_json(self) -> str:
        """The header as text."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "PatchHeader":
        """The header from its text; ValueError if it is not one."""
        header = headers.build(cls, headers.parse(text))
        for record in header.samples:
            if not 0 < record.height * record.width <= limits.MOST_PIXELS or record.patches < 0:
                raise ValueError(f"sample {record.id} has {record.width} x {record.height} pixels")
        return header


@dataclass(frozen=True, slots=True)
class TrainPatches:
    """The patches of one training sample."""

    record: SampleRecord
    patches: UInt8[np.ndarray, "n p p 5"]


@dataclass(frozen=True, slots=True)
class WholeImage:
    """A validation or test sample."""

    record: SampleRecord
    image: UInt8[np.ndarray, "h w 3"]
    label: Bool[np.ndarray, "h w"] | None
    fov: Bool[np.ndarray, "h w"]
    second: Bool[np.ndarray, "h w"] | None = None
    """The label of a second observer."""


def write(path: Path, header: PatchHeader, stream: Iterable[TrainPatches | WholeImage]) -> PatchHeader:
    """Write a patch file from samples as they come, one at a time in memory.

    Args:
        path: where to write; the caller wraps it in `atomic_path`.
        header: without samples; their records come with the stream.
        stream: what to store.

    Returns:
        The header with the records of all samples, as it was stored.
    """
    p, records = header.patch_size, []
    if 5 * p * p > hdf5.LARGEST_CHUNK:
        raise PatchFileError(f"patches of {p} x {p} pixels are too large to keep; choose a smaller --patch-size")
    with hdf5writing.create(path, hdf5.BLOCK) as (file, check):
        train = file.create_group("train")
        chunk = {"chunks": (1, p, p, 5), **PACKED}  # one patch is one read
        patches = train.create_dataset("patches", (0, p, p, 5), np.uint8, maxshape=(None, p, p, 5), **chunk)
        index = train.create_dataset("sample", (0,), np.int32, chunks=(4096,), maxshape=(None,), fletcher32=True)
        for number, sample in enumerate(stream):
            check()
            if isinstance(sample, WholeImage):
                records.append(sample.record)
                write_whole(file.create_group(f"images/{number}"), sample)
                continue
            records.append(dataclasses.replace(sample.record, patches=len(sample.patches)))
            start, end = len(patches), len(patches) + len(sample.patches)
            patches.resize(end, axis=0)
            index.resize(end, axis=0)
            patches[start:end] = sample.patches
            index[start:end] = number
        header = dataclasses.replace(header, samples=tuple(records))
        file.attrs["geseg"] = header.to_json()
    hdf5.seal(path)
    return header


def write_whole(group: h5py.Group, sample: WholeImage) -> None:
    """Store one validation or test sample."""
    group.create_dataset("image", data=sample.image, **PACKED)
    group.create_dataset("fov", data=sample.fov * TRUE, **PACKED)
    if sample.label is not None:
        group.create_dataset("label", data=sample.label * TRUE, **PACKED)
    if sample.second is not None:
        group.create_dataset("second", data=sample.second * TRUE, **PACKED)


class PatchFile:
    """A patch file, open for reading.

    The HDF5 handle is opened by the process that first reads and belongs to it alone: an object that was pickled, or
    that came through a fork, opens its own.
    """

    def __init__(self, path: Path, header: PatchHeader) -> None:
        self.path, self.header = path, header
        self._file: h5py.File | None = None
        self._patches: h5py.Dataset | None = None
        self._process = 0

    @classmethod
    def open(cls, path: Path) -> "PatchFile":
        """Check that a file is a patch file and read its header.

        Raises:
            PatchFileError: it is not, or of another format number.
        """
        return cls(path, read_header(path))

    def __enter__(self) -> "PatchFile":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getstate__(self) -> tuple[Path, PatchHeader]:
        return self.path, self.header

    def __setstate__(self, state: tuple[Path, PatchHeader]) -> None:
        self.path, self.header = state
        self._file, self._patches, self._process = None, None, 0

    def close(self) -> None:
        """Close the handle; the next read opens it again."""
        if self._file is not None and self._process == os.getpid():
            self._file.close()
        self._file = self._patches = None

    def _handle(self) -> h5py.File:
        if self._file is None or self._process != os.getpid():
            self._file, self._process = hdf5.open_file(self.path), os.getpid()
            self._patches = None
        return self._file

    @property
    def train_samples(self) -> Int32[np.ndarray, "n"]:  # noqa: F821
        """Per training patch, which of `header.samples` it is from."""
        counts = [record.patches if record.split == "train" else 0 for record in self.header.samples]
        file = self._handle()
        with hdf5.reading(self.path, "the list of its training patches"):
            found = np.asarray(hdf5.dataset(file, "train/sample", (sum(counts),), np.int32)[:])
            if not np.array_equal(found, np.repeat(np.arange(len(counts)), counts)):
                raise ValueError("it is not that of the header")
        return found

    def train_patches(self, indices: Sequence[int] | Integer[np.ndarray, "b"]) -> UInt8[np.ndarray, "b p p 5"]:  # noqa: F821
        """The training patches of these indices, in this order; one read each.

        Raises:
            PatchFileError: the file is damaged.
        """
        file, p = self._handle(), self.header.patch_size
        with hdf5.reading(self.path, "the training patches"):
            if self._patches is None:
                count = sum(record.patches for record in self.header.samples if record.split == "train")
                self._patches = hdf5.dataset(file, "train/patches", (count, p, p, 5), np.uint8)
            out = np.empty((len(indices), p, p, 5), np.uint8)
            for place, index in enumerate(indices):
                self._patches.read_direct(out, np.s_[int(index)], np.s_[place])
        return out

    def whole(self, split: Literal["val", "test"]) -> Iterator[WholeImage]:
        """The validation or test samples, one after the other, in the order of the header."""
        for number, record in enumerate(self.header.samples):
            if record.split == split:
                yield self.whole_image(number)

    def whole_image(self, index: int) -> WholeImage:
        """The validation or test sample `header.samples[index]`; PatchFileError if the file is damaged."""
        file, record = self._handle(), self.header.samples[index]
        shape = record.height, record.width

        def read(name: str, *channels: int) -> np.ndarray:
            return np.asarray(hdf5.dataset(file, f"images/{index}/{name}", (*shape, *channels), np.uint8)[:])

        with hdf5.reading(self.path, f"image {record.dataset}/{record.id}"):
            label = read("label") > 0 if record.labelled else None
            second = read("second") > 0 if record.second_sha256 else None
            return WholeImage(record, read("image", 3), label, read("fov") > 0, second)


def read_header(path: Path) -> PatchHeader:
    """Read the header of a patch file, after checking that the file is as it was written.

    Raises:
        PatchFileError: it is not, is no patch file, or of another format number.
    """
    sealed = hdf5.check_seal(path)  # first: HDF5 itself may crash on damaged files
    with hdf5.open_file(path) as file, hdf5.reading(path, "its header"):
        text = hdf5.read_text(file, "geseg")
    if text is None:
        raise PatchFileError(f"{path} is an HDF5 file of another program; {hdf5.EXPECTED}")
    try:
        fields = headers.parse(text)
        if (number := fields.get("format")) is None:
            raise ValueError("it has no format number")
        if number != FORMAT:
            writer = fields.get("geseg_version", "of unknown version")
            raise PatchFileError(
                f"{path} is a patch file of format {number}, written by geseg {writer}; expected format {FORMAT}: "
                "prepare it again"
            )
        header = PatchHeader.from_json(text)
    except ValueError as error:
        raise PatchFileError(f"{path} has a damaged header ({error}); {hdf5.EXPECTED}") from error
    if not sealed:
        raise PatchFileError(f"{path} is damaged: it has no checksum; prepare it again")
    return header
