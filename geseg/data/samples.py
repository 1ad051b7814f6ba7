"""What is known of a data set once its folder was read: photographs and what belongs to each."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Split = Literal["train", "val", "test"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One photograph with what belongs to it; `(dataset, id)` tells it from all others."""

    dataset: str
    id: str
    person: str
    split: Split
    image: Path
    label: Path | None
    fov: Path | None
    second: Path | None = None
    """What a second observer drew, which nothing is trained on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A folder that was recognised, with its samples in the order of their paths (in samples.csv of its lines)."""

    dataset: str
    root: Path
    layout: str
    samples: tuple[Sample, ...]
    unknown_persons: int
    """How many images show nobody knows whom; each of them counts as a person of its own."""
    protocol: str | None = None
    """The split that was chosen of several that are in use, by its name."""
    unused: tuple[str, ...] = ()
    """Paths, below `root`, of files that belong to no sample; empty where data sets ship others, and for a list."""
    protocols: tuple[str, ...] = ()
    """The names to choose from; empty where a data set has one split or none."""
