"""Predict: photographs to masks, at their own size, under their own names; what is done is not done again."""

from collections.abc import Generator, Iterator, Sequence
from contextlib import AbstractContextManager, closing, nullcontext, suppress
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

from geseg.cores import count_cores
from geseg.errors import ConfigError, OutputError
from geseg.progress import Stop, Track, never, silent
from geseg.steps import pipeline, predictreport
from geseg.steps.jobs import Folders, Job, Kind, Listing, plan, remove_leftovers
from geseg.steps.local import MOST_HELPERS, Crew, Local
from geseg.steps.models import SHIPPED, EngineName, load
from geseg.steps.origin import done_before
from geseg.steps.predictreport import ImageRow, Report
from geseg.steps.shards import Shard, choose
from geseg.steps.stages import lacks_memory, reason

if TYPE_CHECKING:
    from geseg.steps.vesseltable import VesselTable


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
    skeleton: Path | None = None
    measure: Path | None = None
    """A CSV file with figures of the vessels, a row for each photograph."""
    threshold: float | None = None
    """In (0, 1); by default the one in the model, fixed on its validation images."""
    turns: int = 1
    """Angles that every map is the mean of, as `models.load` has them."""
    recursive: bool = False
    shard: Shard | None = None
    """Only this part of the folder, with a report of its own; None for all of it."""
    overwrite: bool = False
    """Replace outputs of other photographs, models and options; those of the same ones are kept all the same."""
    ray: str | None = None
    """The address of a Ray cluster that does the work, or "local" to start one here; None for this process alone."""

    def __post_init__(self) -> None:
        if self.threshold is not None and not 0 < self.threshold < 1:
            raise ConfigError(f"threshold is {self.threshold}; expected a probability between 0 and 1, such as 0.5")
        if len({folder.resolve() for folder in self.folders.values()}) < len(self.folders):
            raise ConfigError(
                "masks, probabilities, overlays and skeletons have the same names; give each a folder of its own"
            )

    @property
    def folders(self) -> Folders:
        """Masks always, the others if they were asked for."""
        folders: dict[Kind, Path | None]
        folders = {"mask": self.out, "probability": self.probabilities, "overlay": self.overlay}
        folders["skeleton"] = self.skeleton
        return {kind: folder for kind, folder in folders.items() if folder is not None}

    @property
    def report(self) -> Path:
        whole = self.out / predictreport.NAME
        return self.shard.part(whole) if self.shard else whole


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
    report: Path | None
    """None if the run was stopped while it looked for what is done; an earlier report stays then."""
    model: Path
    device: str
    threshold: float


def run(config: PredictConfig, track: Track = silent, stop: Stop = never) -> PredictResult:
    """Segment every photograph that is not done yet; one that cannot be segmented does not stop the others.

    Every output is written whole or not at all, so that a run that was killed goes on where it was. While the net works
    on a photograph, the next are read and the last ones written, which changes no byte of them. `stop` is asked before
    each photograph.

    Raises:
        ConfigError: outputs would clash.
        DataError: there is no image.
        OutputError: an output exists already and is not what would be written, or cannot be written.
        ModelFileError, DeviceError: as `models.load`.
        ProcessError, StoppedError: as `cluster.join`.
    """
    for folder in config.folders.values():
        if folder.is_file():
            raise OutputError(f"{folder} is a file, expected the name of a folder to write to; choose another one")
    jobs, listing = plan(config.images, config.recursive, config.folders)
    predictreport.photographs_before(config.report, config.overwrite)  # raises where something else is
    names = frozenset(job.name for job in jobs)
    jobs = choose(jobs, config.shard) if config.shard else jobs
    with _gather(config, len(jobs), stop, track) as crew:
        work = _Work(config, jobs, names, listing, crew)
        looked = work.look_back(track if config.out.exists() else silent, stop)
        if looked:
            work.go_on(track, stop)
        made = work.report()
    return PredictResult(
        written=made.count("done") - work.before,
        done_before=work.before,
        waiting=made.count("waiting"),
        to_review=made.to_review,
        failures=(*listing.unlisted, *(row.reason for row in made.images if row.reason is not None)),
        notes=made.notes,
        report=config.report if looked else None,
        model=crew.path,
        device=crew.device,
        threshold=crew.origin.threshold,
    )


def _gather(config: PredictConfig, photographs: int, stop: Stop, track: Track) -> AbstractContextManager[Crew]:
    if config.ray is None:
        model = load(config.model, config.engine, config.device, turns=config.turns)
        return nullcontext(Local(model, config.threshold, config.overwrite, count_cores()))
    from geseg.steps.cluster import join  # noqa: PLC0415 - hardly ever needed

    return join(config, photographs, stop, track)


class _Work:
    """The state of a run: a row of the report for each photograph that is dealt with."""

    def __init__(
        self, config: PredictConfig, jobs: Sequence[Job], names: frozenset[str], listing: Listing, crew: Crew
    ) -> None:
        self.config, self.jobs, self.listing, self.crew = config, jobs, listing, crew
        self.names = names
        """Of all photographs that are listed, of which a shard does a part."""
        self.table = self._open_table()
        self.rows: dict[str, ImageRow] = {}
        self.before = 0

    def _open_table(self) -> "VesselTable | None":
        config = self.config
        if config.measure is None:
            return None
        from geseg.steps.vesseltable import VesselTable  # noqa: PLC0415 - a start without it is faster

        return VesselTable(config.measure, config.out, config.shard, self.jobs, config.overwrite)

    def look_back(self, track: Track, stop: Stop) -> bool:
        """Find what earlier runs have done, before any work starts; False if it was stopped."""
        asked = takewhile(lambda _: not stop(), self.jobs)
        with closing(self._look_at(asked)) as looking:
            looked = [*track(looking, "look for what is done", len(self.jobs))]
        for short in filter(None, looked):
            self._look(short)
        self.before = sum(row.status == "done" for row in self.rows.values())
        if len(looked) < len(self.jobs) and self.table:
            self.table.save()
        return len(looked) == len(self.jobs)

    def _look_at(self, jobs: Iterator[Job]) -> Generator[Job | None, None, None]:
        """In several threads where masks may have to be measured; else giving it to them takes longer than looking."""
        if self.table is None:
            return (self._look(job) for job in jobs)
        return pipeline.ahead(self._look, jobs, min(MOST_HELPERS, count_cores()))

    def _look(self, job: Job) -> Job | None:
        """In one of several threads; gives the photograph if it should be alone, as memory ran out."""
        try:
            trust = done_before(job, self.crew.origin, self.config.overwrite)
            if trust is not None and self.table:
                self.table.add_done(job)
        except OutputError:
            raise
        except Exception as error:  # measuring may need more memory than there is, too
            self.keep(ImageRow(image=job.name, status="failed", reason=reason(job.image, error)))
            return job if lacks_memory(error) else None
        if trust is not None:
            self.keep(ImageRow(image=job.name, status="done", trust=trust))
        return None

    def go_on(self, track: Track, stop: Stop) -> None:
        """Do the rest, and write report and table, whatever happens."""
        remove_leftovers(self.jobs, [self.config.report, *([self.table.path] if self.table else [])])
        todo = [job for job in self.jobs if job.name not in self.rows]
        try:
            with closing(self.crew.run(todo, self.table, self.keep, stop)) as done:
                for _ in track(done, f"predict on {self.crew.device}", len(todo)):
                    pass
        except BaseException:
            with suppress(OutputError):  # the disk may be full, which is being told already
                self.save()
            raise
        self.save()

    def save(self) -> None:
        try:
            if self.table:
                self.table.save()
        finally:  # one of them may be on a full disk
            path = self.config.report
            others = predictreport.photographs_before(path, self.config.overwrite) - self.names
            remarks = (*self.listing.remarks, *predictreport.remark_on(path, others))
            self.listing = replace(self.listing, remarks=remarks)
            self.report().write(path)

    def keep(self, row: ImageRow) -> None:
        self.rows[row.image] = row

    def report(self) -> Report:
        """What is done so far, in the order of the photographs."""
        rows = (self.rows.get(job.name, ImageRow(image=job.name, status="waiting")) for job in self.jobs)
        return Report(
            shard=self.config.shard,
            origin=self.crew.origin,
            unlisted=self.listing.unlisted,
            notes=(*self.listing.remarks, *self.crew.notes),
            images=tuple(rows),
        )
