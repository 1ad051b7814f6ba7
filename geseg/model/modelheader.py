"""The header of a model file, which says everything about the model but its weights; needs no torch."""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import safetensors

from geseg.errors import GesegError, ModelFileError
from geseg.model.group import Group

FORMAT = 1
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
            ValueError, TypeError, KeyError: the text is something else.
        """
        values = json.loads(text)
        known = {f.name for f in dataclasses.fields(cls)}
        if values["format"] != FORMAT:
            writer = values.get("versions", {}).get("geseg", "unknown")
            raise ValueError(f"its format is number {values['format']}, written by geseg {writer}")
        if unknown := set(values) - known:
            raise ValueError(f"unknown fields {sorted(unknown)}")
        widths = tuple(int(width) for width in values.pop("widths"))
        return cls(widths=widths, diameters=_pair(values.pop("diameters", None)), **values)


def _pair(values: Sequence[float] | None) -> tuple[float, float] | None:
    if values is None:
        return None
    low, high = map(float, values)
    return low, high


def read_header(path: Path) -> ModelHeader:
    """Read the header alone.

    Raises:
        ModelFileError: the file is missing, no safetensors file, or not from geseg.
    """
    if not path.is_file():
        raise ModelFileError(f"{path} is no file; expected a model such as runs/NAME/model.safetensors (geseg train)")
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            text = (file.metadata() or {}).get("geseg")
    except safetensors.SafetensorError as error:
        raise ModelFileError(f"{path} is no safetensors file ({error}); expected a model from geseg train") from error
    if text is None:
        raise ModelFileError(f"{path} is a safetensors file of another program; expected a model from geseg train")
    try:
        header = ModelHeader.from_json(text)
        Group.parse(header.group)
    except (ValueError, TypeError, KeyError, GesegError) as error:
        raise ModelFileError(f"{path}: its header cannot be read: {error}; this geseg reads format {FORMAT}") from error
    return header
