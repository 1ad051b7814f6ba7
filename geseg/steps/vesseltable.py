"""The table of `predict --measure` while a run goes on: rows of earlier runs, and of each photograph that is done."""

import threading
import time
from collections.abc import Sequence
from pathlib import Path

from geseg.files import check_writable
from geseg.metrics.morphometry import Morphometry
from geseg.steps import measure
from geseg.steps.jobs import Job
from geseg.steps.shards import Shard, parts_of

SAVE_SECONDS = 60.0
"""After which the file is written anew, so that a run that is killed has measured hardly anything in vain."""


class VesselTable:
    """The rows of all photographs that are done; several threads may add to it.

    Each shard writes a table of its own; the next run without shards takes the rows of theirs.

    Raises:
        ConfigError, OutputError: as `measure.earlier_rows`; or the file cannot be written.
    """

    def __init__(self, path: Path, masks: Path, shard: Shard | None, jobs: Sequence[Job], overwrite: bool) -> None:
        self.path = shard.part(path) if shard else path
        self._jobs, self._masks, self._overwrite = jobs, masks, overwrite
        self._known = _state(self.path)
        self._rows = dict(measure.earlier_rows(self.path, masks, overwrite))
        for part in [] if shard else parts_of(path):
            self._rows |= measure.earlier_rows(part, masks, overwrite=True)
        self._saved = time.monotonic()
        self._changing = threading.Lock()
        check_writable(self.path, "--measure")

    def add_done(self, job: Job) -> None:
        """Measure what an earlier run has done, unless it has; ImageError if a file of it cannot be read."""
        if job.name not in self._rows:
            self._add(job.name, measure.row_of_done(job))

    def add(self, job: Job, figures: Morphometry) -> None:
        """Add a photograph whose mask is written, in place of an earlier row."""
        self._add(job.name, measure.row_of(job, figures))

    def forget(self, job: Job) -> None:
        """Drop the row of a photograph whose mask is about to be replaced: measuring the new one may fail."""
        with self._changing:
            self._rows.pop(job.name, None)

    def save(self) -> None:
        """Write the file, in the order of the photographs; OutputError if that is not possible.

        At the end are the rows of those that are not in the folder any more, but whose masks are. What another command
        has written meanwhile is treated as what was there at the start.
        """
        if _state(self.path) != self._known:
            self._rows = measure.earlier_rows(self.path, self._masks, self._overwrite) | self._rows
        names = [job.name for job in self._jobs if job.name in self._rows]
        others = self._rows.keys() - set(names)
        measure.write_rows(self.path, [self._rows[name] for name in (*names, *sorted(others))])
        self._known = _state(self.path)
        self._saved = time.monotonic()

    def _add(self, name: str, row: measure.Row) -> None:
        with self._changing:
            self._rows[name] = row
            if time.monotonic() - self._saved > SAVE_SECONDS:
                self.save()


def _state(path: Path) -> tuple[int, int] | None:
    """What differs once another command has written the file; None if there is none."""
    try:
        found = path.stat()
    except OSError:  # what it is will be told when it is read, or written
        return None
    return found.st_ino, found.st_mtime_ns
