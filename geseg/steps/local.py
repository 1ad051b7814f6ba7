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
    """The crew of this process; while its net works on a photograph, the next is read and the last one written."""

    def __init__(self, model: Model, threshold: float | None, overwrite: bool) -> None:
        self._overwrite = overwrite
        self.origin = Origin.of(model, model.threshold if threshold is None else threshold)
        self.device, self.path = model.device, model.path
        self._net = Halving(model.segmenter.net)
        self._segmenter = dataclasses.replace(model.segmenter, net=self._net)

    @property
    def notes(self) -> tuple[str, ...]:
        short = f"memory ran out; from then on the net ran in batches of at most {self._net.largest} tiles"
        return () if self._net.largest is None else (short,)

    def run(self, jobs: Sequence[Job], table: Table | None, keep: Keep, stop: Stop) -> Generator[None, None, None]:
        def write(course: Course) -> None:
            """In a thread of its own."""
            course.write(self.origin, table, self._overwrite)
            keep(course.row)

        with closing(pipeline.overlap(jobs, self._read, self._segment, write, stop)) as written:
            yield from written

    def _read(self, job: Job) -> Course:
        """In a thread of its own."""
        course = Course(job)
        course.read(self._segmenter)
        return course

    def _segment(self, course: Course) -> Course:
        course.segment(self._segmenter)
        return course
