"""One net in this process, and photographs on their way through it."""

import dataclasses
from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Protocol

from geseg.inference.memory import Halving
from geseg.progress import Stop
from geseg.steps import pipeline
from geseg.steps.jobs import Job
from geseg.steps.models import Model
from geseg.steps.origin import Origin
from geseg.steps.predictreport import ImageRow
from geseg.steps.stages import Course, Table

Keep = Callable[[ImageRow], None]
MOST_HELPERS = 4
"""Threads at most that read photographs beside the net, and likewise that write: each has a photograph in memory."""


class Crew(Protocol):
    """What segments photographs: one net here, or many on a cluster."""

    origin: Origin
    device: str
    """What runs the nets, in words."""
    path: Path
    """The model's file."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What is worth knowing about the work so far."""
        ...

    def run(self, jobs: Sequence[Job], table: Table | None, keep: Keep, stop: Stop) -> Generator[None, None, None]:
        """Segment photographs, and yield after each.

        Each row is kept as soon as it is known, even if nobody asks for the next photograph. `stop` is asked before
        each.

        Raises:
            OutputError: a file cannot be written.
            ModelFileError: the net cannot be run; or, on a cluster, a worker that comes later cannot open the model.
            ProcessError: the cluster has failed, or has no workers left that make the same masks.
            ConfigError, DeviceError: as `models.load`, of a worker that comes later.
        """
        ...


class Local:
    """The crew of this process; while its net works on a photograph, the next are read and the last ones written.

    A photograph of 8 megapixels takes a core a second to read, and three to measure. With one thread for each of both,
    a GPU, or a net that has many cores, would wait for them. Those that memory runs out for are done again at the end.
    """

    def __init__(self, model: Model, threshold: float | None, overwrite: bool, cores: int) -> None:
        self._overwrite = overwrite
        self._helpers = min(MOST_HELPERS, cores)
        self.origin = Origin.of(model, model.threshold if threshold is None else threshold)
        self.device, self.path = model.device, model.path
        self._net = Halving(model.segmenter.net)
        self._alone = False
        self._segmenter = dataclasses.replace(model.segmenter, net=self._net)

    @property
    def notes(self) -> tuple[str, ...]:
        batches = f"memory ran out; from then on the net ran in batches of at most {self._net.largest} tiles"
        alone = "memory ran out with several photographs under way; those that lacked it were done again, each alone"
        return (*[batches] * (self._net.largest is not None), *[alone] * self._alone)

    def run(self, jobs: Sequence[Job], table: Table | None, keep: Keep, stop: Stop) -> Generator[None, None, None]:
        short = list[Job]()

        def write(course: Course) -> bool:
            """In a thread beside that of the net; there may be several. Whether the photograph is through."""
            course.write(self.origin, table, self._overwrite)
            if course.short:
                short.append(course.job)
            else:
                keep(course.row)
            return not course.short

        stages = self._read, self._segment, write
        with closing(pipeline.overlap(jobs, *stages, stop, self._helpers)) as written:
            yield from (None for through in written if through)
        for job in short:
            if stop():
                return
            course = self._segment(self._read(job))
            course.write(self.origin, table, self._overwrite)
            keep(course.row)
            self._alone = self._alone or not course.short
            yield

    def _read(self, job: Job) -> Course:
        """In a thread beside that of the net; there may be several."""
        course = Course(job)
        course.read(self._segmenter)
        return course

    def _segment(self, course: Course) -> Course:
        course.segment(self._segmenter)
        return course
