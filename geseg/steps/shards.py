"""One part of many of a folder, for job arrays: every job finds its own photographs without being told which."""

import heapq
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from geseg.data.imagesize import count_pixels
from geseg.errors import ConfigError
from geseg.steps.jobs import Job


@dataclass(frozen=True, slots=True)
class Shard:
    """Which part of how many: "3/16" is the third of sixteen."""

    number: int
    of: int

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """Read "3/16".

        Raises:
            ConfigError: it is no such text, or there is no such part.
        """
        found = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", text)
        if not found or not 1 <= int(found[1]) <= int(found[2]):
            raise ConfigError(f"shard {text!r} is not known; expected K/N with K from 1 to N, such as 3/16")
        return cls(int(found[1]), int(found[2]))

    def __str__(self) -> str:
        return f"{self.number}/{self.of}"

    def part(self, path: Path) -> Path:
        """The file that this shard writes in place of `path`, as no two jobs may write one.

        >>> Shard(3, 16).part(Path("masks/report.json")).as_posix()
        'masks/report-3-of-16.json'
        """
        return path.with_name(f"{path.stem}-{self.number}-of-{self.of}{path.suffix}")


def parts_of(path: Path) -> list[Path]:
    """The files that shards have written in place of `path`."""
    name = re.compile(rf"{re.escape(path.stem)}-[0-9]+-of-[0-9]+{re.escape(path.suffix)}")
    return sorted(entry for entry in path.parent.glob("*") if name.fullmatch(entry.name))


def choose(jobs: Sequence[Job], shard: Shard) -> list[Job]:
    """The photographs of one shard, in their order.

    Every photograph is in one shard, and the shards have about as many pixels. They follow from the names and the
    headers of all photographs alone, so that every job finds the same ones while the folder stays as it is.
    """
    parts = share([count_pixels(job.image) for job in jobs], shard.of)
    return [job for job, part in zip(jobs, parts, strict=True) if part == shard.number - 1]


def share(sizes: Sequence[int], parts: int) -> list[int]:
    """Which of the parts, from 0, each size goes to: the largest first, each to the part that has least so far.

    The largest part then has at most 4/3 - 1/(3 parts) times what the best way has (Graham 1969, doi:10.1137/0117039).
    """
    filled = [(0, 0, part) for part in range(parts)]  # size, number, part: what has no size is spread by number
    chosen = [0] * len(sizes)
    for place in sorted(range(len(sizes)), key=lambda place: -sizes[place]):  # stable: of equal ones the first first
        size, number, part = filled[0]
        heapq.heapreplace(filled, (size + sizes[place], number + 1, part))
        chosen[place] = part
    return chosen
