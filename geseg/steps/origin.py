"""What every written PNG says of its origin: all that decides its pixels, and nothing else, as one line of JSON.

The same command makes the same bytes, and a mask of another photograph, model or option is told from the right one.
"""

import dataclasses
import json
import stat
from dataclasses import dataclass
from pathlib import Path

import geseg
from geseg.data.pngtext import read_text
from geseg.errors import ImageError, OutputError
from geseg.files import sha256
from geseg.steps.jobs import Job
from geseg.steps.models import Model
from geseg.steps.review import Trust

FORMAT = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """What all masks of one command share.

    Attributes:
        model_sha256: of the weights: the safetensors file, or the one that an ONNX file was exported from.
        engine: "native", "onnx" or "torch".
        device: "cpu" or "cuda"; which GPU does not matter.
        threshold: from which probability a pixel is vessel.
        turns: angles that each map is the mean of.
        geseg_version: that wrote it.
        format: of this header.
    """

    model_sha256: str
    engine: str
    device: str
    threshold: float
    turns: int = 1
    geseg_version: str = geseg.__version__
    format: int = FORMAT

    @classmethod
    def of(cls, model: Model, threshold: float) -> "Origin":
        device = model.device.partition(" ")[0].partition(":")[0]
        turns = 1 + len(model.segmenter.turns)
        return cls(
            model_sha256=model.weights_sha256, engine=model.engine, device=device, threshold=threshold, turns=turns
        )


@dataclass(frozen=True, slots=True)
class Header:
    """The line of one photograph, the same in its mask, probabilities and overlay."""

    origin: Origin
    input_sha256: str
    """Of the photograph's file."""
    trust: Trust

    def to_json(self) -> str:
        values = dataclasses.asdict(self.origin) | {"input_sha256": self.input_sha256, "trust": self.trust.to_json()}
        return json.dumps(values, sort_keys=True)


def read_header(path: Path) -> Header | None:
    """The header of a PNG; None if it has none that this version understands.

    Raises:
        OSError: the file cannot be read.
    """
    try:
        values = json.loads(read_text(path) or "")
        trust, digest = Trust.from_json(values.pop("trust")), str(values.pop("input_sha256"))
        return Header(Origin(**values), digest, trust)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None


def done_before(job: Job, origin: Origin, overwrite: bool) -> Trust | None:
    """The figures of a photograph of which an earlier run has made every output; None if it is to be done.

    Raises:
        OutputError: an output exists that is not of this photograph, model and options, and `overwrite` is false.
        ImageError: the photograph cannot be read to see whether its outputs are of it.
    """
    try:
        headers = {path: read_header(path) for path in job.outputs.values() if path.exists()}
    except OSError as error:
        raise OutputError(
            f"cannot read what is at the outputs of {job.image}: {error}; choose another place with -o"
        ) from error
    if not headers:
        return None
    digest = digest_of(job.image)
    for path, header in headers.items():
        reason = "was not written by geseg, or is cut off" if header is None else _difference(header, origin, digest)
        if reason and not overwrite:
            raise OutputError(
                f"{path} exists already and {reason}; {_advice(header, origin)}choose another place with -o, or "
                "replace it with --overwrite"
            )
        if reason:
            return None
    mask = headers.get(job.outputs["mask"])
    return mask.trust if mask and len(headers) == len(job.outputs) else None


def _difference(header: Header, origin: Origin, digest: str) -> str:
    """In what a header is not the one that is to be written; "" if in nothing."""
    for field in dataclasses.fields(Origin):
        old, new = getattr(header.origin, field.name), getattr(origin, field.name)
        if old != new:
            return f"has {field.name} {old}, not {new}"
    return "" if header.input_sha256 == digest else "is of another photograph, or of an older state of it"


def _advice(header: Header | None, origin: Origin) -> str:
    """How to go on with the options of before, which `auto` may have chosen elsewhere; "" if it is not these."""
    if header is None or header.origin.model_sha256 != origin.model_sha256:
        return ""
    for name in ("engine", "device", "turns"):
        if (old := getattr(header.origin, name)) != getattr(origin, name):
            return f"go on with --{name} {old}, "
    return ""


def digest_of(image: Path) -> str:
    """SHA-256 of a photograph's file.

    Raises:
        ImageError: it is gone, no file, or may not be read.
    """
    try:
        if not stat.S_ISREG(image.stat().st_mode):  # reading a pipe would wait for ever
            raise ImageError(f"{image} cannot be read as an image: it is a pipe or a device, expected a file")
        return sha256(image)
    except FileNotFoundError as error:
        raise ImageError(f"{image} does not exist; expected an image") from error
    except OSError as error:
        reason = f"{error.strerror}; make it readable or remove it"
        raise ImageError(f"{image} cannot be read as an image: {reason}") from error
