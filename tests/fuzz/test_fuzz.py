"""Thousands of damaged files of each format that geseg reads: one line or the right result, in time and in memory.

A file is damaged in some of the ways below, drawn from a seed. Half of those of a format with a checksum get a new one
that fits, as somebody would write who means harm; of these, any result that is no traceback will do. Others that are
read must hold what was written. Patch files in that half may crash or hang libhdf5 itself, which is counted.

More of them, with the counts: GESEG_FUZZ=10000 python -m pytest --slow -s tests/fuzz
"""

import collections
import gzip
import json
import os
import random
import re
import runpy
import select
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from geseg.data import hdf5, patchfile
from geseg.data.patchfile import PatchHeader, SampleRecord, SourceRecord, TrainPatches, WholeImage
from geseg.inference import onnxgraph
from geseg.model import modelweights
from geseg.model.modelheader import read_sealed

if sys.platform == "win32":
    pytest.skip("select and resource are not for pipes on Windows", allow_module_level=True)

CORPUS = runpy.run_path(str(Path(__file__).parents[1] / "corpus.py"))
encoded, PHOTO = CORPUS["encoded"], CORPUS["PHOTO"]
CHILD = [sys.executable, "-W", "ignore", str(Path(__file__).with_name("child.py"))]
FEW, MANY = 50, int(os.environ.get("GESEG_FUZZ", "2000"))
"""Damaged files of each format, in every run and in the slow one."""
LONGEST, LARGEST = 5.0, 2**30
"""Seconds and bytes that a file may take."""
PATIENCE = 3 * LONGEST
"""Seconds after which a process that is silent is killed."""
EDGES = 2048
"""Bytes at the beginning and the end where half of the damage is done: there most numbers are that say how long."""

Damage = Callable[[random.Random, bytearray], None]


def place(rng: random.Random, data: bytearray) -> int:
    """Where to do damage."""
    if rng.random() < 0.5:
        return rng.randrange(len(data))
    near = rng.randrange(min(EDGES, len(data)))
    return near if rng.random() < 0.7 else len(data) - 1 - near


def flip(rng: random.Random, data: bytearray) -> None:
    for _ in range(rng.choice((1, 1, 2, 8, 40))):
        data[place(rng, data)] ^= rng.choice((1 << rng.randrange(8), rng.randrange(1, 256)))


def cut(rng: random.Random, data: bytearray) -> None:
    del data[max(1, place(rng, data)) :]


def splice(rng: random.Random, data: bytearray) -> None:
    """Another part of the file takes the place of one, or comes in between."""
    size, source, target = rng.choice((1, 4, 16, 256, 4096)), place(rng, data), place(rng, data)
    data[target : target + rng.choice((0, size))] = data[source : source + size]


def remove(rng: random.Random, data: bytearray) -> None:
    start = place(rng, data)
    if start:
        del data[start : start + rng.choice((1, 2, 8, 100, 3000))]


def enlarge(rng: random.Random, data: bytearray) -> None:
    """A number that may say how long something is becomes the largest, or another that is easily mistaken."""
    size = rng.choice((1, 2, 4, 8))
    value = rng.choice((2 ** (8 * size) - 1, 2 ** (8 * size - 1), 2 ** (8 * size - 1) - 1, 0, 1, 2 ** (8 * size - 4)))
    start = place(rng, data)
    data[start : start + size] = value.to_bytes(size, rng.choice(("little", "big")))


def retype(rng: random.Random, data: bytearray) -> None:
    """A number that is written in digits, or a word in quotes, becomes another one."""
    found = list(re.finditer(rb"-?\d+(?:\.\d+)?|\"\w*\"|\[[^\[\]]{0,40}\]", bytes(data)))
    if found:
        one = rng.choice(found)
        new = rng.choice(
            (b"0", b"-1", b"1e999", b"99999999999999999999", b"65536", b"null", b"[]", b"{}", b'"x"', b"NaN")
        )
        data[one.start() : one.end()] = new.ljust(len(one[0])) if rng.random() < 0.7 else new


DAMAGES: tuple[Damage, ...] = (flip, flip, enlarge, enlarge, splice, retype, remove, cut)


def damaged(original: bytes, seed: str) -> bytes:
    """The file with some damage; never the same file."""
    rng = random.Random(seed)
    data = bytearray(original)
    while data == original or rng.random() < 0.3:
        rng.choice(DAMAGES)(rng, data)
        data = data or bytearray(original[:1])
    return bytes(data)


def seal_patches(data: bytes, path: Path) -> bytes:
    path.write_bytes(data)
    hdf5.seal(path)
    return path.read_bytes()


def seal_model(data: bytes, path: Path) -> bytes:
    """Its header names the length of its checksum, which stays."""
    path.write_bytes(data)
    try:
        digest = modelweights.digest(read_sealed(path)[1], safetensors.numpy.load(data))
    except Exception:
        return data
    return re.sub(rb'(?<=\\"sha256\\": \\")\w{64}', digest.encode(), data)


def seal_onnx(data: bytes, path: Path) -> bytes:
    try:
        start, end = onnxgraph.look(data).spans["geseg_sha256"]
    except (ValueError, KeyError):
        return data
    return data[: end - 64] + onnxgraph.digest(data, (start, end)).encode() + data[end:]


def seal_png(data: bytes, _: Path) -> bytes:
    """As far as its parts can be told from each other."""
    sealed, at = bytearray(data), 8
    while at + 12 <= len(data) and (end := at + 8 + int.from_bytes(data[at : at + 4], "big")) + 4 <= len(data):
        sealed[end : end + 4] = zlib.crc32(data[at + 4 : end]).to_bytes(4, "big")
        at = end + 4
    return bytes(sealed)


SEAL = {"patches": seal_patches, "model": seal_model, "onnx": seal_onnx, "mask": seal_png, "png": seal_png}
CHECKED = {"patches", "model", "onnx", "mask", "png"}
"""Formats with checksums: what is read of a damaged file without a new one is what was written."""


class Child:
    """The process that reads, started anew when it is gone."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._warm = set[str]()
        self.before = 0
        """Bytes that the process had when it had read a good file of the last kind."""

    def ask(self, kind: str, path: Path) -> tuple[str, str, float, int]:
        """Outcome, what it tells, seconds, and bytes of memory."""
        if self._process is None:
            self._process = subprocess.Popen(CHILD, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{kind}\t{path}\n")
        self._process.stdin.flush()
        ready = select.select([self._process.stdout], [], [], PATIENCE if kind in self._warm else None)[0]
        line = self._process.stdout.readline() if ready else ""
        if line:
            outcome, told, seconds, peak = json.loads(line)
            if kind not in self._warm:  # the first file imports what reads it
                self._warm.add(kind)
                self.before, seconds = peak, 0.0
            return outcome, told, seconds, peak
        self.close()
        return ("crash", "", 0.0, 0) if ready else ("hang", "", PATIENCE, 0)

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
        self._process, self.before, self._warm = None, 0, set()


@dataclass(frozen=True)
class Source:
    """A good file: its format's name, what reads it, and its bytes."""

    name: str
    kind: str
    data: bytes


def tiny_patches(path: Path) -> bytes:
    """A patch file that is little more than its structure."""
    rng, records = np.random.default_rng(0), []
    for number, split in enumerate(("train", "train", "val", "test")):
        hashes = {f"{what}_sha256": what[0] * 64 for what in ("image", "label", "fov", "second")}
        figures = {"diameter": 11.0, "mean": (1.0, 2.0, 3.0), "contrast": (1.0, 1.0, 1.0)}
        words = {"dataset": "drive", "id": f"{number}", "stem": f"{number}", "person": f"{number}", "fov": "given"}
        sizes = {"height": 12, "width": 11, "patches": 0, "labelled": True}
        records.append(SampleRecord(split=split, **words, **sizes, **figures, **hashes))  # type: ignore[arg-type]
    masks = rng.random((3, 12, 11)) < 0.5
    stream: list[TrainPatches | WholeImage] = [
        *(TrainPatches(record, rng.integers(0, 256, (3, 8, 8, 5), np.uint8)) for record in records[:2]),
        *(WholeImage(record, rng.integers(0, 256, (12, 11, 3), np.uint8), *masks) for record in records[2:]),
    ]
    source = SourceRecord(dataset="drive", layout="drive", protocol=None, images=4, unknown_persons=0)
    choices = {"patches_per_image": 3, "diameter": 1600, "val_fraction": 0.5, "orientation_shift": False}
    header = PatchHeader(seed=0, patch_size=8, sources=(source,), **choices)  # type: ignore[arg-type]
    patchfile.write(path, header, stream)
    return path.read_bytes()


def mask_of(run_folder: Path, folder: Path) -> bytes:
    """A mask that predict has written."""
    from geseg.steps import predict
    from geseg.steps.predict import PredictConfig

    (folder / "eye.png").write_bytes(CORPUS["PNG"])
    predict.run(PredictConfig(images=folder / "eye.png", out=folder / "masks", model=run_folder, device="cpu"))
    return (folder / "masks" / "eye.png").read_bytes()


SMALL = PHOTO[:24, :20]
GREY16 = SMALL[:, :, 0].astype(np.uint16) * np.uint16(257)
PPM = b"P6 20 24 255\n" + SMALL.tobytes()
IMAGES = {
    "png": [encoded(SMALL, "PNG"), CORPUS["png16"](SMALL.astype(np.uint16) * 257), encoded(CORPUS["PALETTE"], "PNG")],
    "jpeg": [encoded(SMALL, "JPEG"), encoded(SMALL, "JPEG", progressive=True), CORPUS["CAMERA"]],
    "tiff": [
        *(encoded(SMALL, "TIFF", compression=how) for how in ("raw", "tiff_lzw", "tiff_adobe_deflate", "jpeg")),
        *(encoded(GREY16, "TIFF", compression=how) for how in ("raw", "tiff_lzw")),
    ],
    "gif": [encoded(CORPUS["PALETTE"], "GIF"), encoded(SMALL[:, :, 0], "GIF", interlace=0)],
    "ppm": [
        *(PPM, gzip.compress(PPM), b"P5 20 24 65535\n" + GREY16.astype(">u2").tobytes()),
        *(b"P3 4 2 255\n" + b" 9 255 0" * 8, b"P1 4 2\n0101 1010"),
    ],
    "bmp, webp, jpeg 2000": [encoded(SMALL, "BMP"), encoded(SMALL, "WEBP", lossless=True), encoded(SMALL, "JPEG2000")],
}


def image_sources(name: str) -> list[Source]:
    return [Source(name, "image", data) for data in IMAGES[name]]


def fuzz(sources: list[Source], count: int, folder: Path, child: Child) -> Iterator[tuple[str, str]]:
    """What came of so many damaged files, and a description of it."""
    path, rights = folder / "damaged", dict[bytes, str]()
    for number in range(count):
        source = sources[number % len(sources)]
        if number == 0 or not child.before:
            rights = _rights(child, sources, folder)
        data = damaged(source.data, f"{source.name} {number}")
        signed = source.name in SEAL and number % 2 == 1
        if signed:
            data = SEAL[source.name](data, folder / "signing")
        path.write_bytes(data)
        outcome, told, seconds, peak = child.ask(source.kind, path)
        about = f"{source.name} {number}{' signed' * signed}: {told}"
        if outcome == "read" and not signed and source.name in CHECKED and told != rights[source.data]:
            outcome = "wrong"
        elif outcome == "refused" and "\n" in told:
            outcome = "two lines"
        elif seconds > LONGEST:
            outcome, about = "hang", f"{about} after {seconds:.0f} s"
        elif peak and peak - child.before > LARGEST:
            outcome, about = "memory", f"{about} with {(peak - child.before) / 1e6:.0f} MB"
            child.close()  # else all that follow seem to take as much
        yield (f"{outcome}, signed" if signed else outcome), about


def _rights(child: Child, sources: list[Source], folder: Path) -> dict[bytes, str]:
    """The digests of the good files."""
    found = {}
    for source in sources:
        (folder / "good").write_bytes(source.data)
        outcome, found[source.data], _, _ = child.ask(source.kind, folder / "good")
        assert outcome == "read", found[source.data]
    return found


def check(sources: list[Source], count: int, folder: Path, child: Child) -> dict[str, int]:
    """Fuzz one format; how often each outcome came, all of which must be good."""
    outcomes, bad = collections.Counter[str](), []
    good = {"read", "refused", "read, signed", "refused, signed"}
    if sources[0].name == "patches":
        good |= {"crash, signed", "hang, signed"}  # of libhdf5, by files that are made for it
    for outcome, about in fuzz(sources, count, folder, child):
        outcomes[outcome] += 1
        if outcome not in good:
            bad.append(f"{outcome}: {about}")
    assert not bad, f"{len(bad)} of {count}, first: " + "\n".join(bad[:3])
    assert outcomes["refused"] > count / 20, "the damage is no damage"
    return dict(outcomes)


@pytest.fixture(scope="module")
def child() -> Iterator[Child]:
    one = Child()
    yield one
    one.close()


def all_sources(run_folder: Path, folder: Path) -> dict[str, list[Source]]:
    made = {
        "patches": tiny_patches(folder / "tiny.h5"),
        "model": (run_folder / "model.safetensors").read_bytes(),
        "onnx": (run_folder / "model.onnx").read_bytes(),
        "mask": mask_of(run_folder, folder),
    }
    return {name: [Source(name, name, data)] for name, data in made.items()} | {
        name: image_sources(name) for name in IMAGES
    }


FORMATS = ["patches", "model", "onnx", "mask", *IMAGES]


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "model"])  # which would import torch
def test_some_damaged_files(name: str, run_folder: Path, tmp_path: Path, child: Child) -> None:
    check(all_sources(run_folder, tmp_path)[name], FEW, tmp_path, child)


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_many_damaged_files(name: str, run_folder: Path, tmp_path: Path, child: Child) -> None:
    outcomes = check(all_sources(run_folder, tmp_path)[name], MANY, tmp_path, child)
    print(f"{name}: {', '.join(f'{count} {outcome}' for outcome, count in sorted(outcomes.items()))}")  # noqa: T201
