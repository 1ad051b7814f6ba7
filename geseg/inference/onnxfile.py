"""What an ONNX file cannot say in its graph: how to feed it and where it came from (OnnxHeader, in its metadata)."""

import dataclasses
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnxruntime as ort

from geseg.errors import ModelFileError

if TYPE_CHECKING:  # takes a third of a second to import, and only `export` has a use for it
    import onnx

KEY = "geseg"
"""Key of the header in the file's metadata."""
FORMAT = 1
INPUT, OUTPUT = "image", "probability"
"""Names in the graph: float32[B, 3, H, W], normalised, to float32[B, 1, H, W] in [0, 1]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxHeader:
    """Everything that a program needs beside the graph to get geseg's masks, and the origin of the weights."""

    geseg_version: str
    model_sha256: str
    """Of the safetensors file that was exported."""
    group: str
    widths: tuple[int, ...]
    divisor: int
    """Height and width of the graph's input must be multiples of it."""
    threshold: float
    """A pixel is vessel where its probability is at least this; in [0, 1]."""
    normalisation: str
    """One sentence that says how to get from a photograph to the graph's input."""
    input: str
    output: str
    """What goes in and comes out, in words."""
    diameters: tuple[float, float] | None = None
    """Of the narrowest and widest field of view that the net learned from, in pixels; others are scaled to it."""
    format: int = FORMAT

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self))


def write_header(model: "onnx.ModelProto", header: OnnxHeader) -> None:
    """Put `header` into the metadata of `model`, in place of one that it has; other entries stay."""
    entries = model.metadata_props
    for i in reversed(range(len(entries))):
        if entries[i].key == KEY:
            del entries[i]
    entries.add(key=KEY, value=header.to_json())


def read_header(path: Path) -> OnnxHeader:
    """The header of a file that is not open yet; errors as for `parse_header` and `open_session`."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL  # nothing will be run
    return parse_header(open_session(path, options, ["CPUExecutionProvider"]), path)


def parse_header(session: ort.InferenceSession, path: Path) -> OnnxHeader:
    """The header of an open file; `path` is for the messages.

    Raises:
        ModelFileError: the file is none of geseg's, or of a format not known here.
    """
    text = session.get_modelmeta().custom_metadata_map.get(KEY)
    if text is None:
        raise ModelFileError(
            f"{path} is an ONNX file, but has no entry {KEY!r} in its metadata; make one with geseg export"
        )
    try:
        return _header(text, path)
    except (ValueError, TypeError, KeyError) as error:
        raise ModelFileError(
            f"{path} has a damaged geseg header ({type(error).__name__}: {error}); export it again with geseg export"
        ) from error


def open_session(path: Path, options: ort.SessionOptions, providers: list[Any]) -> ort.InferenceSession:
    """An onnxruntime session on a file.

    Raises:
        ModelFileError: there is no such file, or onnxruntime cannot read it.
    """
    if not path.is_file():
        found = "is a folder" if path.is_dir() else "does not exist"
        raise ModelFileError(f"{path} {found}; expected an ONNX file: make one with geseg export")
    try:
        return ort.InferenceSession(os.fspath(path), options, providers=providers)
    except Exception as error:  # the exceptions of onnxruntime have no base class of their own
        reason = " ".join(str(error).split())
        raise ModelFileError(f"{path} cannot be read as an ONNX file: {reason}; make one with geseg export") from error


def _header(text: str, path: Path) -> OnnxHeader:
    fields = json.loads(text)
    if fields["format"] != FORMAT:
        raise ModelFileError(
            f"{path} has header format {fields['format']}, but this geseg reads format {FORMAT}; "
            "export it again with this version, or install the one that wrote it"
        )
    fields["widths"] = tuple(int(width) for width in fields["widths"])
    fields["divisor"] = int(fields["divisor"])
    fields["threshold"] = float(fields["threshold"])
    if fields.get("diameters") is not None:
        low, high = map(float, fields["diameters"])
        fields["diameters"] = (low, high)
    return OnnxHeader(**fields)
