"""Predict: photographs to masks, at their own size, under their own names; what is done is not done again."""

import dataclasses
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from geseg.data import fov, images, scale
from geseg.errors import ConfigError, GesegError, ImageError, OutputError
from geseg.inference.memory import Halving, is_out_of_memory
from geseg.progress import Track, silent
from geseg.steps import predictreport
from geseg.steps.jobs import Folders, Job, Kind, plan, remove_leftovers
from geseg.steps.models import SHIPPED, EngineName, Model, load
from geseg.steps.origin import Header, Origin, digest_of, done_before
from geseg.steps.predictreport import ImageRow, Report
from geseg.steps.review import judge
from geseg.steps.segmenting import Segmenter


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictConfig:
    """What to segment, with what, and what to write."""

    images: Path
    """A folder, or one file."""
    out: Path
    model: Path = SHIPPED
    engine: EngineName = "auto"
    device: str = "auto"
    probabilities: Path | None = None
    overlay: Path | None = None
    threshold: float | None = None
    """In (0, 1); by default the one in the model, fixed on its validation images."""
    recursive: bool = False
    overwrite: bool = False
    """Replace outputs of other photographs, models and options; those of the same ones are kept all the same."""

    def __post_init__(self) -> None:
        if self.threshold is not None and not 0 < self.threshold < 1:
            raise ConfigError(f"threshold is {self.threshold}; expected a probability between 0 and 1, such as 0.5")
        folders = [folder for folder in (self.out, self.probabilities, self.overlay) if folder is not None]
        if len({folder.resolve() for folder in folders}) < len(folders):
            raise ConfigError("masks, probabilities and overlays have the same names; give each a folder of its own")

    @property
    def folders(self) -> Folders:
        """Masks always, the others if they were asked for."""
        folders: dict[Kind, Path | None]
        folders = {"mask": self.out, "probability": self.probabilities, "overlay": self.overlay}
        return {kind: folder for kind, folder in folders.items() if folder is not None}


@dataclass(frozen=True, slots=True)
class PredictResult:
    """What was written, what could not be read, and what did the work."""

    written: int
    """Photographs that this run has done."""
    done_before: int
    """Photographs that an earlier run had done, which were skipped."""
    waiting: int
    """Photographs that are left, because `stop` said so; else 0."""
    to_review: int
    """Photographs that somebody should look at, of all that are done; the report has the reasons."""
    failures: tuple[str, ...]
    """One line per photograph that could not be segmented, or folder that could not be listed."""
    notes: tuple[str, ...]
    report: Path
    model: Path
    device: str
    threshold: float


def never() -> bool:
    """The default of `run`: nobody wants it to stop."""
    return False


def run(config: PredictConfig, track: Track = silent, stop: Callable[[], bool] = never) -> PredictResult:
    """Segment every photograph that is not done yet; one that cannot be segmented does not stop the others.

    Every output is written whole or not at all, so that a run that was killed goes on where it was. `stop` is asked
    before each photograph.

    Raises:
        ConfigError: outputs would clash.
        DataError: there is no image.
        OutputError: an output exists already and is not what would be written, or cannot be written.
        ModelFileError, DeviceError: as `models.load`.
    """
    jobs, unlisted = plan(config.images, config.recursive, config.folders)
    predictreport.refuse_other(config.out / predictreport.NAME, config.overwrite)
    model = load(config.model, config.engine, config.device)
    origin = Origin.of(model, model.threshold if config.threshold is None else config.threshold)
    work = _Work(jobs, unlisted, model, origin, config.out / predictreport.NAME)
    if work.look_back(track if config.out.exists() else silent, stop, config.overwrite):
        work.go_on(track, stop)
    made = work.report()
    return PredictResult(
        written=made.count("done") - work.before,
        done_before=work.before,
        waiting=made.count("waiting"),
        to_review=made.to_review,
        failures=(*unlisted, *(row.reason for row in made.images if row.reason is not None)),
        notes=made.notes,
        report=work.path,
        model=model.path,
        device=model.device,
        threshold=origin.threshold,
    )


class _Work:
    """The state of a run: a row of the report for each photograph that is dealt with."""

    def __init__(
        self, jobs: Sequence[Job], unlisted: tuple[str, ...], model: Model, origin: Origin, path: Path
    ) -> None:
        self.jobs, self.unlisted, self.origin, self.path = jobs, unlisted, origin, path
        self.net = Halving(model.segmenter.net)
        self.segmenter = dataclasses.replace(model.segmenter, net=self.net)
        self.device = model.device
        self.rows: dict[str, ImageRow] = {}
        self.before = 0

    def look_back(self, track: Track, stop: Callable[[], bool], overwrite: bool) -> bool:
        """Find what earlier runs have done, before any work starts; False if it was stopped."""
        for job in track(self.jobs, "look for what is done", len(self.jobs)):
            if stop():
                return False
            try:
                trust = done_before(job, self.origin, overwrite)
            except ImageError as error:
                self.rows[job.name] = ImageRow(image=job.name, status="failed", reason=str(error))
                continue
            if trust is not None:
                self.rows[job.name] = ImageRow(image=job.name, status="done", trust=trust)
                self.before += 1
        return True

    def go_on(self, track: Track, stop: Callable[[], bool]) -> None:
        """Do the rest, and write the report, whatever happens."""
        remove_leftovers(self.jobs, [self.path])
        todo = [job for job in self.jobs if job.name not in self.rows]
        try:
            for job in track(todo, f"predict on {self.device}", len(todo)):
                if stop():
                    break
                self.rows[job.name] = self.do(job)
        except BaseException:
            with suppress(OutputError):  # the disk may be full, which is being told already
                self.report().write(self.path)
            raise
        self.report().write(self.path)

    def do(self, job: Job) -> ImageRow:
        """Read, segment, write: the three stages of a photograph, none of which knows of another photograph."""
        start = time.monotonic()
        try:
            photograph = read(job.image)
            segmented = segment(photograph, self.segmenter, self.origin)
            write(job, photograph, segmented)
        except OutputError:
            raise  # the next photograph could not be written either
        except GesegError as error:
            return ImageRow(image=job.name, status="failed", reason=str(error))
        except Exception as error:  # a long run must survive what nobody has thought of, in one photograph
            what = "it needs more memory than there is" if is_out_of_memory(error) else repr(error)
            return ImageRow(image=job.name, status="failed", reason=f"{job.image} cannot be segmented: {what}")
        seconds = round(time.monotonic() - start, 3)
        return ImageRow(image=job.name, status="done", seconds=seconds, trust=segmented.header.trust)

    def report(self) -> Report:
        """What is done so far, in the order of the photographs."""
        rows = (self.rows.get(job.name, ImageRow(image=job.name, status="waiting")) for job in self.jobs)
        short = f"memory ran out; from then on the net ran in batches of at most {self.net.largest} tiles"
        notes = () if self.net.largest is None else (short,)
        return Report(origin=self.origin, unlisted=self.unlisted, notes=notes, images=tuple(rows))


@dataclass(frozen=True, slots=True)
class Photograph:
    """A photograph that was read: its pixels, its field of view, and the SHA-256 of its file."""

    image: UInt8[np.ndarray, "h w 3"]
    fov: Bool[np.ndarray, "h w"]
    sha256: str


@dataclass(frozen=True, slots=True)
class Segmented:
    """What is to be written of a photograph; the probability is 0 outside of the field of view."""

    probability: Float32[np.ndarray, "h w"]
    mask: Bool[np.ndarray, "h w"]
    header: Header


def read(path: Path) -> Photograph:
    """Read a photograph and find its field of view.

    Raises:
        ImageError: it cannot be read, or somebody wrote to it meanwhile: its hash would be that of another state.
    """
    digest = digest_of(path)
    image = images.read_image(path)
    if digest_of(path) != digest:
        raise ImageError(f"{path} changed while it was read; start again when it is complete")
    return Photograph(image, fov.find_fov(image), digest)


def segment(photograph: Photograph, segmenter: Segmenter, origin: Origin) -> Segmented:
    """Run the net, and judge what it says."""
    image, inside = photograph.image, photograph.fov
    probability = np.where(inside, segmenter.image(image, inside), np.float32(0))
    by = scale.factor(scale.diameter(inside), inside.shape, segmenter.learned)
    trust = judge(image, inside, probability, origin.threshold, by)
    return Segmented(probability, probability >= origin.threshold, Header(origin, photograph.sha256, trust))


def write(job: Job, photograph: Photograph, segmented: Segmented) -> None:
    """Write what was asked for, each file with the header that tells the next run that it is done.

    Raises:
        OutputError: a file cannot be written.
    """
    text = segmented.header.to_json()
    for kind, path in job.outputs.items():
        if kind == "mask":
            images.write_mask(path, segmented.mask, text)
        elif kind == "probability":
            images.write_probability(path, segmented.probability, text)
        else:
            images.write_overlay(path, photograph.image, segmented.mask, text)
