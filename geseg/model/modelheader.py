"""The header of a model file, which says everything about the model but its weights; needs no torch."""

import dataclasses
import json
import re
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import safetensors

from geseg import headers
from geseg.errors import GesegError, ModelFileError
from geseg.model.group import Group

FORMAT = 3
"""Of another number: models of photographs that were normalised in another way, or without checksum."""
KEY, SEAL = "geseg", "sha256"
"""Names of the header in the metadata, and of the checksum of header and weights, which is its last field. As a second
entry of the metadata it would come first or last as safetensors draws, and the same model would be another file."""
MOST_LEVELS = 12
"""Of a net; its tiles would have sides divisible by 2048."""
Kind = Literal["trained", "restricted"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelHeader:
    """Everything about a model but its weights, stored as JSON in the metadata of the file."""

    group: str
    widths: tuple[int, ...]
    kind: Kind = "trained"
    """"trained" has steerable coefficients and norms; "restricted" is plain, with the norms folded in."""
    normalisation: str
    """How an image becomes the network's input, in words."""
    threshold: float
    """Probability from which a pixel is a vessel, fixed on the validation images."""
    diameters: tuple[float, float] | None = None
    """Of the narrowest and widest field of view that it learned from, in pixels; others are scaled to it."""
    calibre: float | None = None
    """Mean width in pixels of the widest vessels among them; larger photographs that show wider ones are reduced."""
    training: dict[str, Any] = field(default_factory=dict)
    """Configuration, patch file (SHA-256), samples of each split, seed."""
    metrics: dict[str, float] = field(default_factory=dict)
    """Figures on the validation images."""
    versions: dict[str, str] = field(default_factory=dict)
    """Of geseg and of the libraries that trained it."""
    format: int = FORMAT

    @property
    def divisor(self) -> int:
        """What the sides of a tile must be divisible by."""
        return int(2 ** (len(self.widths) - 1))

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "ModelHeader":
        """Read what `to_json` wrote.

        Raises:
            ValueError, ConfigError: the text is something else.
        """
        values = headers.parse(text)
        if (number := values.get("format")) != FORMAT:
            versions = values.get("versions")
            writer = versions.get("geseg", "unknown") if isinstance(versions, dict) else "unknown"
            raise ValueError(
                f"its format is number {number}, written by geseg {writer}; train it again, or use that version"
            )
        header = headers.build(cls, values)
        for name in ("samples", "people"):
            headers.check(dict[str, dict[str, str]], header.training.get(name, {}), f"training.{name}")
        Group.parse(header.group)
        if not 0 < len(header.widths) <= MOST_LEVELS or min(header.widths) < 1 or not 0 <= header.threshold <= 1:
            raise ValueError(f"widths {list(header.widths)} or threshold {header.threshold} are out of range")
        if header.diameters is not None and not 0 < header.diameters[0] <= header.diameters[1] < float("inf"):
            raise ValueError(f"diameters {list(header.diameters)} are out of range")
        if header.calibre is not None and not 0 < header.calibre < float("inf"):
            raise ValueError(f"calibre {header.calibre} is out of range")
        return header


def read_header(path: Path) -> ModelHeader:
    """Read the header alone.

    Raises:
        ModelFileError: the file is missing, no safetensors file, or not from geseg.
    """
    return read_sealed(path)[0]


def read_sealed(path: Path) -> tuple[ModelHeader, str, str | None]:
    """Read the header, its text, and its checksum, if it has one; errors as for `read_header`."""
    if not path.is_file():
        raise ModelFileError(f"{path} is no file; expected a model such as runs/NAME/model.safetensors (geseg train)")
    try:
        _check_length(path)
        with safetensors.safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
    except (safetensors.SafetensorError, ValueError, OSError) as error:
        raise ModelFileError(f"{path} is no safetensors file ({error}); expected a model from geseg train") from error
    if KEY not in metadata:
        raise ModelFileError(f"{path} is a safetensors file of another program; expected a model from geseg train")
    found = re.fullmatch(rf'(.*), "{SEAL}": "([0-9a-f]{{64}})"}}', metadata[KEY], re.DOTALL)
    text, seal = (found[1] + "}", found[2]) if found else (metadata[KEY], None)
    try:
        return ModelHeader.from_json(text), text, seal
    except (ValueError, GesegError) as error:
        raise ModelFileError(f"{path}: its header cannot be read: {error}; this geseg reads format {FORMAT}") from error


def seal(text: str, digest: str) -> str:
    """The text of a header with its checksum."""
    return f'{text[:-1]}, "{SEAL}": "{digest}"}}'


def _check_length(path: Path) -> None:
    """Raise ValueError if the length of the header, which comes first, is more than there is or than we write."""
    with path.open("rb") as file:
        start = file.read(8)
    length = struct.unpack("<Q", start)[0] if len(start) == 8 else path.stat().st_size
    if length > min(headers.LONGEST, path.stat().st_size - 8):
        raise ValueError(f"its header would have {length} bytes")
