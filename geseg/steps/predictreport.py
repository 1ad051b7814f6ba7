"""report.json beside the masks: a row for each photograph, in the order of their names."""

import dataclasses
import json
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from geseg.errors import OutputError
from geseg.files import atomic_path
from geseg.steps.origin import Origin
from geseg.steps.review import Trust
from geseg.steps.shards import Shard

NAME = "report.json"
"""Of a whole folder; `Shard.part` has the name of a part's."""
FORMAT = 1
BEGIN = '{\n "report": "geseg predict"'
"""How every report begins, so that no other file of this name is replaced."""
Status = Literal["done", "failed", "waiting"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRow:
    """What the report says of a photograph; the names are those in the file, and stay."""

    image: str
    """Its path inside the folder that was given, with slashes."""
    status: Status
    """"done": all that was asked for is written; "failed"; "waiting": a signal or an error came first."""
    reason: str | None = None
    """Why it failed."""
    seconds: float | None = None
    """Spent on reading, segmenting and writing it; null if an earlier run did it. Photographs overlap in time."""
    trust: Trust | None = None
    """Its fields are in the row, and null unless it is done."""

    def to_json(self) -> dict[str, Any]:
        trust = self.trust.to_json() if self.trust else dict.fromkeys(f.name for f in dataclasses.fields(Trust))
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)} | trust
        return {name: value for name, value in values.items() if name != "trust"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a command did; in the file, `origin` is spread out and the counts follow."""

    shard: Shard | None
    """The part of the folder that it is about, as "3/16" in the file; null for all of it."""
    origin: Origin
    """What the masks were made with; see `Origin` for its fields."""
    unlisted: tuple[str, ...]
    """A line for each sub-folder that could not be listed."""
    notes: tuple[str, ...]
    """What else is worth knowing: files that were left out, or that memory was short."""
    images: tuple[ImageRow, ...]

    @property
    def to_review(self) -> int:
        """How many photographs somebody should look at."""
        return sum(bool(row.trust and row.trust.review) for row in self.images)

    def count(self, status: Status) -> int:
        return sum(row.status == status for row in self.images)

    def to_json(self) -> str:
        """One line per row, and names that are no text escaped."""
        counts = {status: self.count(status) for status in ("done", "failed", "waiting")}
        head = dataclasses.asdict(self.origin) | {"format": FORMAT, **counts, "to_review": self.to_review}
        head |= {"shard": self.shard and str(self.shard), "unlisted": self.unlisted, "notes": self.notes}
        lines = [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in head.items()]
        rows = ",\n  ".join(json.dumps(row.to_json()) for row in self.images)
        return ",\n ".join([BEGIN, *lines, f'"images": [\n  {rows}\n ]\n}}\n'])

    def write(self, path: Path) -> None:
        """Write the report whole or not at all.

        Raises:
            OutputError: its folder cannot be written.
        """
        with atomic_path(path) as partial:
            partial.write_text(self.to_json(), encoding="ascii")


def photographs_before(path: Path, overwrite: bool) -> frozenset[str]:
    """The photographs that the report of an earlier run is about; none if there is no report.

    It is replaced by that of the next run: all that is in it but the seconds is in the masks, too.

    Raises:
        OutputError: another file than a report of geseg is there, and `overwrite` is false; or it cannot be read.
    """
    try:
        found = path.read_bytes()
    except FileNotFoundError:
        return frozenset()
    except OSError as error:
        raise OutputError(f"{path} cannot be read: {error.strerror}; expected a report, or nothing there") from error
    if found.startswith(BEGIN.encode()):
        with suppress(ValueError, TypeError, KeyError):  # somebody has edited it
            return frozenset(str(row["image"]) for row in json.loads(found)["images"])
    elif not overwrite:
        raise OutputError(
            f"{path} exists already and is no report of geseg; choose another place with -o, or replace it with "
            "--overwrite"
        )
    return frozenset()


def remark_on(path: Path, others: Collection[str]) -> tuple[str, ...]:
    """A line on photographs that were in an earlier report and are not in this one, if there are some."""
    if not others:
        return ()
    count = f"{len(others)} photograph{'s' * (len(others) > 1)}"
    return (
        f"{path} was about {count} more, first {min(others)}: now it is about these alone, and no mask is gone; "
        "give each folder of photographs an -o of its own",
    )
