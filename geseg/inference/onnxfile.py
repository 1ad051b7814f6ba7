"""What an ONNX file cannot say in its graph: how to feed it and where it came from (OnnxHeader, in its metadata)."""

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from geseg import headers
from geseg.errors import ModelFileError
from geseg.inference import onnxgraph

if TYPE_CHECKING:  # they take a third of a second to import, and not all who read a header need them
    import onnx
    import onnxruntime as ort

KEY, SEAL = "geseg", "geseg_sha256"
"""Keys in the file's metadata: of the header, and of the SHA-256 of the file without this entry."""
FORMAT = 3
"""Of another number: models of photographs that were normalised in another way, or without checksum."""
INPUT, OUTPUT = "image", "probability"
"""Names in the graph: float32[B, 3, H, W], normalised, to float32[B, 1, H, W] in [0, 1]."""
MOST_DIVISOR = 2**11
"""Of a net of twelve levels."""


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
    calibre: float | None = None
    """Mean width in pixels of the widest vessels among them; larger photographs that show wider ones are reduced."""
    format: int = FORMAT

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self))


def remove_remarks(model: "onnx.ModelProto") -> None:
    """Take out of a graph what the exporter says of each part of it: among others, where on its disk the code is."""
    graph = model.graph
    for part in (graph, *graph.node, *graph.initializer, *graph.value_info, *graph.input, *graph.output):
        del part.metadata_props[:]
        part.ClearField("doc_string")


def write_header(model: "onnx.ModelProto", header: OnnxHeader) -> None:
    """Put `header`, and the checksum of all of `model`, into its metadata, in place of those that it has."""
    entries = model.metadata_props
    for i in reversed(range(len(entries))):
        if entries[i].key in (KEY, SEAL):
            del entries[i]
    entries.add(key=KEY, value=header.to_json())
    entries.add(key=SEAL, value=hashlib.sha256(model.SerializeToString(deterministic=True)).hexdigest())


def read_header(path: Path) -> OnnxHeader:
    """The header of a file, without onnxruntime.

    Raises:
        ModelFileError: there is no such file, or it is damaged, none of geseg's, of a format not known here, or holds
            what geseg never writes (see `onnxgraph`).
    """
    return _read(path)[0]


def open_session(path: Path, options: "ort.SessionOptions", providers: list[Any]) -> "ort.InferenceSession":
    """An onnxruntime session on the bytes that were checked.

    Raises:
        ModelFileError: as for `read_header`, or onnxruntime cannot read the file.
    """
    try:
        return start_session(path, options, providers)
    except ModelFileError:
        raise
    except Exception as error:  # the exceptions of onnxruntime have no base class of their own
        reason = " ".join(str(error).split())
        raise ModelFileError(f"{path} cannot be read as an ONNX file: {reason}; make one with geseg export") from error


def start_session(path: Path, options: "ort.SessionOptions", providers: list[Any]) -> "ort.InferenceSession":
    """As `open_session`, with onnxruntime's own exceptions: nearly any."""
    import onnxruntime as ort  # noqa: PLC0415

    data = _read(path)[1]
    options.add_session_config_entry("session.load_model_format", "ONNX")  # the only format that was looked through
    options.log_severity_level = 4  # what fails is told by the exception
    return ort.InferenceSession(data, options, providers=providers, enable_fallback=False)  # which would print


def _read(path: Path) -> tuple[OnnxHeader, bytes]:
    if not path.is_file():
        found = "is a folder" if path.is_dir() else "does not exist"
        raise ModelFileError(f"{path} {found}; expected an ONNX file: make one with geseg export")
    try:
        size = path.stat().st_size
        if size > onnxgraph.MOST_BYTES:
            raise ValueError(f"it has {size} bytes, expected {onnxgraph.MOST_BYTES} at most")
        data = path.read_bytes()
        seen = onnxgraph.look(data)
    except (ValueError, OSError) as error:
        raise ModelFileError(f"{path} cannot be read as an ONNX file: {error}; make one with geseg export") from error
    if KEY not in seen.entries:
        raise ModelFileError(
            f"{path} is an ONNX file, but has no entry {KEY!r} in its metadata; make one with geseg export"
        )
    try:
        header = _header(seen.entries[KEY], path)
        if seen.entries.get(SEAL) != onnxgraph.digest(data, seen.spans.get(SEAL, (0, 0))):
            raise ModelFileError(f"{path} is damaged: its bytes do not fit its checksum; export it again")
    except ValueError as error:
        raise ModelFileError(
            f"{path} has a damaged geseg header ({error}); export it again with geseg export"
        ) from error
    return header, data


def _header(text: str, path: Path) -> OnnxHeader:
    fields = headers.parse(text)
    if (number := fields.get("format")) is None:
        raise ValueError("it has no format number")
    if number != FORMAT:
        raise ModelFileError(
            f"{path} has header format {number}, written by geseg {fields.get('geseg_version', 'of unknown version')}, "
            f"but this geseg reads format {FORMAT}; train and export it again, or use that version"
        )
    header = headers.build(OnnxHeader, fields)
    low, high = header.diameters or (1.0, 1.0)
    if not (0 <= header.threshold <= 1 and 0 < header.divisor <= MOST_DIVISOR and 0 < low <= high < float("inf")):
        raise ValueError(
            f"threshold {header.threshold}, divisor {header.divisor} or diameters {header.diameters} are out of range"
        )
    if header.calibre is not None and not 0 < header.calibre < float("inf"):
        raise ValueError(f"calibre {header.calibre} is out of range")
    return header
