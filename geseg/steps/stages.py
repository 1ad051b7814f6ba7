"""One photograph from its file to its mask, in three stages that know of no other photograph: read, segment, write."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from geseg.data import fov, images, quality, scale
from geseg.data.quality import Quality
from geseg.errors import GesegError, ImageError, OutputError
from geseg.inference.memory import is_out_of_memory
from geseg.steps.jobs import Job
from geseg.steps.origin import Header, Origin, digest_of, done_before, read_header
from geseg.steps.predictreport import ImageRow
from geseg.steps.review import Trust, judge
from geseg.steps.segmenting import Ready, ScaledMap, Segmenter

if TYPE_CHECKING:  # a start without it is faster
    from geseg.metrics.morphometry import Morphometry


class Table(Protocol):
    """What takes the figures of vessels."""

    def forget(self, job: Job) -> None:
        """Drop what is known of a photograph whose mask is about to be replaced."""
        ...

    def add(self, job: Job, figures: "Morphometry") -> None: ...


@dataclass(frozen=True, slots=True)
class Photograph:
    """What is known before the net has run: pixels, field of view, SHA-256 of the file, and how good they are."""

    image: UInt8[np.ndarray, "h w 3"]
    fov: Bool[np.ndarray, "h w"]
    sha256: str
    quality: Quality
    ready: Ready


@dataclass(frozen=True, slots=True)
class Segmented:
    """What is to be written of a photograph; the probability is 0 outside of the field of view."""

    probability: Float32[np.ndarray, "h w"]
    mask: Bool[np.ndarray, "h w"]
    header: Header


class Course:
    """A photograph on its way through the stages; one that failed in a stage passes the others by.

    Whatever goes wrong in one photograph is said in its row of the report, so that a long run survives what nobody has
    thought of; only an OutputError is raised, as the next photograph could not be written either.
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        self.short = False
        """Whether memory has run out, as `lacks_memory`."""
        self._seconds = 0.0
        self._reason: str | None = None
        self._photograph: Photograph | None = None
        self._map: ScaledMap | None = None
        self._trust: Trust | None = None

    def read(self, segmenter: Segmenter) -> None:
        with self._stage():
            self._photograph = read(self.job.image, segmenter)

    def segment(self, segmenter: Segmenter) -> None:
        """Run the net."""
        if self._photograph:
            with self._stage():
                self._map = segment(self._photograph, segmenter)

    def write(self, origin: Origin, table: Table | None, overwrite: bool) -> None:
        """Write what was asked for, unless another command has written there; `table` gets a row if there is one."""
        if self._photograph and self._map is not None:
            with self._stage():
                done_before(self.job, origin, overwrite)  # raises where something else has come to be
                segmented = conclude(self._photograph, self._map, origin)
                if table:
                    table.forget(self.job)
                write(self.job, self._photograph, segmented, table, overwrite)
                self._trust = segmented.header.trust

    @property
    def row(self) -> ImageRow:
        """What the report says of it, once it is through."""
        if self._trust is None:
            return ImageRow(image=self.job.name, status="failed", reason=self._reason)
        return ImageRow(image=self.job.name, status="done", seconds=round(self._seconds, 3), trust=self._trust)

    @contextmanager
    def _stage(self) -> Iterator[None]:
        start = time.monotonic()
        try:
            yield
        except OutputError:
            raise
        except Exception as error:
            self._reason = reason(self.job.image, error)
            self.short = lacks_memory(error)
        self._seconds += time.monotonic() - start


def lacks_memory(error: Exception) -> bool:
    """Whether it may go well where no other photograph is under way."""
    return is_out_of_memory(error) or isinstance(error.__cause__, MemoryError)


def reason(image: Path, error: Exception) -> str:
    """What the report says of a photograph in which something has gone wrong."""
    if isinstance(error, GesegError):
        return str(error)
    what = "it needs more memory than there is" if is_out_of_memory(error) else repr(error)
    return f"{image} cannot be segmented: {what}"


def read(path: Path, segmenter: Segmenter) -> Photograph:
    """Read a photograph, find its field of view, and make it ready for the net.

    Raises:
        ImageError: it cannot be read, or somebody wrote to it meanwhile: its hash would be that of another state.
    """
    digest = digest_of(path)
    image = images.read_image(path)
    if digest_of(path) != digest:
        raise ImageError(f"{path} changed while it was read; start again when it is complete")
    view = fov.find_fov(image)
    return Photograph(image, view, digest, quality.measure(image, view), segmenter.ready(image, view))


def segment(photograph: Photograph, segmenter: Segmenter) -> ScaledMap:
    """Run the net."""
    return segmenter.run(photograph.ready)


def conclude(photograph: Photograph, raw: ScaledMap, origin: Origin) -> Segmented:
    """Bring the map of the net to the size of the photograph, and judge it."""
    inside = photograph.fov
    probability = np.where(inside, scale.resize_probability(raw.probability, inside.shape), np.float32(0))
    trust = judge(photograph.quality, inside, probability, origin.threshold, raw.by)
    return Segmented(probability, probability >= origin.threshold, Header(origin, photograph.sha256, trust))


def write(job: Job, photograph: Photograph, segmented: Segmented, table: Table | None, overwrite: bool) -> None:
    """Write what was asked for, each PNG with the header that tells the next run that it is done.

    Raises:
        OutputError: a file cannot be written; or another command has written there, and `overwrite` is false.
    """
    text = segmented.header.to_json()
    for kind, path in job.outputs.items():
        with _place(path, segmented.header, overwrite) as fresh:
            if kind == "mask":
                images.write_mask(path, segmented.mask, text, fresh)
            elif kind == "probability":
                images.write_probability(path, segmented.probability, text, fresh)
            elif kind == "overlay":
                images.write_overlay(path, photograph.image, segmented.mask, text, fresh)
    if table or "skeleton" in job.outputs:
        _write_vessels(job, photograph, segmented, table, overwrite)


@contextmanager
def _place(path: Path, header: Header, overwrite: bool) -> Iterator[bool]:
    """Whether an output is to be `fresh`: an earlier run's of the same origin may be replaced, nothing else.

    What has come to be meanwhile stays, and is as good if the same command has written it at the same time.
    """
    fresh = not overwrite and not _is_ours(path, header)
    try:
        yield fresh
    except OutputError:
        if not (fresh and _is_ours(path, header)):
            raise


def _is_ours(path: Path, header: Header) -> bool:
    try:
        found = read_header(path)
    except OSError:  # there is none, or writing will complain about it
        return False
    return found is not None and (found.origin, found.input_sha256) == (header.origin, header.input_sha256)


def _write_vessels(
    job: Job, photograph: Photograph, segmented: Segmented, table: Table | None, overwrite: bool
) -> None:
    from geseg.metrics import morphometry  # noqa: PLC0415 - a start without them is faster
    from geseg.steps import measure  # noqa: PLC0415

    vessels = morphometry.measure(segmented.mask, photograph.fov)
    if path := job.outputs.get("skeleton"):
        with _place(path, segmented.header, overwrite) as fresh:
            measure.write_skeleton(path, vessels.skeleton, segmented.header.to_json(), fresh)
    if table:
        table.add(job, vessels.figures)
