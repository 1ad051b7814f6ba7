"""What runs in each process of a Ray cluster that `predict` gathers: one net, and blocks of photographs through it."""

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from geseg.errors import OutputError, ProcessError
from geseg.steps.jobs import Job, remove_leftovers
from geseg.steps.local import Local
from geseg.steps.models import EngineName, load
from geseg.steps.origin import Origin, done_before
from geseg.steps.predictreport import ImageRow

if TYPE_CHECKING:  # a start without it is faster
    from geseg.metrics.morphometry import Morphometry


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a worker needs to know before the first block."""

    folder: str
    """In which the command was given, so that its paths mean the same."""
    model: Path
    engine: EngineName
    device: str
    threshold: float | None
    turns: int
    overwrite: bool
    measure: bool
    """Whether figures of the vessels are wanted."""


@dataclass(frozen=True, slots=True)
class Ready:
    """What a worker says when it has its net; masks are the same where `origin` is."""

    origin: Origin
    device: str
    path: Path


@dataclass(slots=True)
class Done:
    """What has become of a block; photographs that a stop has left out are not in it."""

    rows: list[ImageRow] = field(default_factory=list)
    figures: "list[tuple[Job, Morphometry]]" = field(default_factory=list)
    notes: tuple[str, ...] = ()
    error: OutputError | None = None
    """Why nothing more can be written."""

    def forget(self, job: Job) -> None:
        """Nothing: the rows of a block are forgotten before it is given to a worker, who may die."""

    def add(self, job: Job, figures: "Morphometry") -> None:
        self.figures.append((job, figures))


class Worker:
    """One net; photographs of a block overlap as they do without a cluster.

    Outputs are written by the worker itself: every machine needs the folders of photographs, outputs and model under
    the same names.
    """

    def __init__(self, order: Order) -> None:
        self._order = order
        self._stopped = False
        self._local: Local | None = None

    def begin(self, threads: int) -> Ready:
        """Open the model.

        Raises:
            ProcessError: the folder of the command is not there.
            ModelFileError, ConfigError, DeviceError: as `models.load`.
        """
        order = self._order
        try:
            os.chdir(order.folder)
        except OSError as error:
            raise ProcessError(
                f"{order.folder} cannot be entered on {platform.node()}: {error.strerror}; start geseg in a folder "
                "that all machines of the cluster share"
            ) from error
        model = load(order.model, order.engine, order.device, threads, order.turns)
        self._local = Local(model, order.threshold, order.overwrite, threads)
        return Ready(self._local.origin, self._local.device, self._local.path)

    def do(self, jobs: Sequence[Job], again: bool) -> Done:
        """Segment a block; `again` if a worker has died over it, who may have done a part of it."""
        assert self._local
        done = Done()
        left = [job for job in jobs if not self._find(job, done)] if again else jobs
        table = done if self._order.measure else None
        try:
            for _ in self._local.run(left, table, done.rows.append, lambda: self._stopped):
                pass
        except OutputError as error:
            done.error = error
        done.notes = self._local.notes
        return done

    def _find(self, job: Job, done: Done) -> bool:
        """Whether a photograph needs nothing more."""
        assert self._local
        remove_leftovers([job], [])
        try:
            trust = done_before(job, self._local.origin, overwrite=True)
            if trust is None:
                return False
            if self._order.measure:
                from geseg.steps.measure import figures_of_done  # noqa: PLC0415 - a start without it is faster

                done.add(job, figures_of_done(job))
        except OutputError:
            raise
        except Exception:  # which will be said when it is segmented
            return False
        done.rows.append(ImageRow(image=job.name, status="done", trust=trust))
        return True

    def stop(self) -> None:
        """End the block after the photograph in the net; called while `do` runs."""
        self._stopped = True
