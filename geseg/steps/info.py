"""Info: what a file of geseg is, what decided it, and which files it comes from; without torch and onnxruntime."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geseg import headers
from geseg.data import hdf5, pngcheck, pngtext
from geseg.data.patchfile import PatchHeader
from geseg.data.patchfile import read_header as read_patch_header
from geseg.errors import DataError
from geseg.files import sha256
from geseg.inference.onnxfile import read_header as read_onnx_header
from geseg.model.modelheader import read_header as read_model_header
from geseg.native.engine import say_whether
from geseg.steps import origin
from geseg.steps.models import place
from geseg.steps.review import Trust
from geseg.steps.runfolder import ONNX, WEIGHTS

EXPECTED = "expected a patch file, a model (.safetensors, .onnx), a run folder, or a PNG that geseg predict has written"
PNG_KINDS = {(8, 0): "mask", (16, 0): "probability map", (8, 2): "overlay", (1, 0): "skeleton"}
"""By bits per sample and colour type, as in https://www.w3.org/TR/png-3/#11IHDR."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InfoConfig:
    """What to look at."""

    file: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Info:
    """What is known of a file; the names are those in the JSON, and stay."""

    kind: str
    """"patch file", "model", "ONNX model", "run folder", "mask", "probability map", "overlay" or "skeleton"."""
    file: str
    sha256: str | None = None
    """Of the file, by which its children name it; None for a folder."""
    header: dict[str, Any] = dataclasses.field(default_factory=dict)
    """What decided it, as it stands in the file."""
    parents: dict[str, Any] = dataclasses.field(default_factory=dict)
    """SHA-256 of the files that it comes from, by what they are to it; of several of a sort by their names."""
    native: str | None = None
    """Of a model: whether geseg's compiled kernel runs it here, and with which instructions, or why not."""
    parts: tuple["Info", ...] = ()
    """Of a folder, its files."""

    def as_json(self) -> dict[str, Any]:
        """All of it; a figure that is undefined (nan) is None."""
        plain: dict[str, Any] = headers.plain(dataclasses.asdict(self))
        return plain


def run(config: InfoConfig) -> Info:
    """Read the header of a file, or of the files of a run folder.

    Raises:
        DataError: it is no file of geseg.
        PatchFileError, ModelFileError: it is one, but is damaged or of an unknown format.
    """
    path = place(config.file)
    if path.is_dir():
        parts = tuple(run(InfoConfig(file=path / name)) for name in (WEIGHTS, ONNX) if (path / name).is_file())
        if not parts:
            raise DataError(f"{path} is a folder without {WEIGHTS} or {ONNX}; {EXPECTED}")
        return Info(kind="run folder", file=str(path), parts=parts)
    if not path.is_file():
        raise DataError(f"{path} {'is no file' if path.exists() else 'does not exist'}; {EXPECTED}")
    try:
        read = _reader(path)
        digest = sha256(path)
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror}); {EXPECTED}") from error
    kind, header, parents = read(path)
    native = say_whether(read_model_header(path)) if kind == "model" else None
    return Info(kind=kind, file=str(path), sha256=digest, header=header, parents=parents, native=native)


Described = tuple[str, dict[str, Any], dict[str, Any]]
"""Kind, header and parents."""


def _reader(path: Path) -> Callable[[Path], Described]:
    """What reads a file of this kind, which its first bytes tell, or its suffix where they cannot."""
    with path.open("rb") as file:
        start = file.read(max(len(hdf5.SEAL), len(hdf5.SIGNATURE)))
    if start.startswith(pngcheck.SIGNATURE):
        return _png
    if start.startswith((hdf5.SIGNATURE, hdf5.SEAL)):
        return _patch_file
    if start[8:9] == b"{" or path.suffix == ".safetensors":
        return _model
    if path.suffix == ".onnx":
        return _onnx
    raise DataError(f"{path} is none of geseg's files; {EXPECTED}")


def _patch_file(path: Path) -> Described:
    header = read_patch_header(path)
    return "patch file", dataclasses.asdict(header), _photographs(header)


def _photographs(header: PatchHeader) -> dict[str, dict[str, str]]:
    """SHA-256 of the files of all samples, by what they are to them."""
    found: dict[str, dict[str, str]] = {}
    for record in header.samples:
        for what in ("image", "label", "fov", "second"):
            if digest := getattr(record, f"{what}_sha256"):
                found.setdefault(what, {})[f"{record.dataset}/{record.id}"] = digest
    return found


def _model(path: Path) -> Described:
    header = read_model_header(path)
    training = header.training
    files = {"patches": training.get("patches_sha256"), "start": training.get("start_sha256")}
    parents = {what: digest for what, digest in files.items() if digest}
    return "model", dataclasses.asdict(header), parents | training.get("samples", {})


def _onnx(path: Path) -> Described:
    header = read_onnx_header(path)
    return "ONNX model", dataclasses.asdict(header), {"model": header.model_sha256}


def _png(path: Path) -> Described:
    text = pngtext.read_text(path)
    if text is None:
        raise DataError(f"{path} is a PNG that geseg predict has not written, or that is cut off; {EXPECTED}")
    try:
        values = headers.parse(text)
        if (number := values.get("format")) != origin.FORMAT:
            writer = values.get("geseg_version", "of unknown version")
            raise DataError(
                f"{path} has a header of format {number}, written by geseg {writer}, but this geseg reads format "
                f"{origin.FORMAT}; read it with the version that wrote it"
            )
        headers.check(Trust, values.get("trust"), "trust")
        shared = {name: value for name, value in values.items() if name not in ("trust", "input_sha256")}
        headers.build(origin.Origin, shared)
        parents = {"input": headers.check(str, values.get("input_sha256"), "input_sha256")}
    except ValueError as error:
        raise DataError(f"{path} has a damaged header ({error}); make it again with geseg predict") from error
    with path.open("rb") as file:
        shape = file.read(26)
    kind = PNG_KINDS.get((shape[24], shape[25]), "image")
    return kind, values, parents | {"model": values["model_sha256"]}
