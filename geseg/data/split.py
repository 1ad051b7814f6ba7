"""Which people train and which validate; by person and never by patch, so that no eye is seen on both sides."""

import dataclasses
import hashlib
from collections.abc import Sequence

from geseg.data.samples import Sample, Split
from geseg.errors import LayoutError


def draw(seed: int, *names: str) -> int:
    """A 128-bit number for a seed and names, without any order: others' draws do not change it.

    Sorting by it gives a seeded order whose beginnings are nested; it also seeds a generator.
    """
    key = "\0".join([str(seed), *names]).encode(errors="surrogateescape")  # names of files may be any bytes
    return int.from_bytes(hashlib.sha256(key).digest()[:16])


def hold_out(samples: Sequence[Sample], fraction: float, seed: int, to: Split = "val") -> list[Sample]:
    """Make validation samples of those that show `fraction` of each data set's training people, drawn by the seed.

    At least one person of two or more validates, and at least one trains; a lone one trains. A data set that comes with
    validation samples keeps them and lends no more. With a fraction of 0 nobody is moved. The same for test samples if
    `to` says so.

    Raises:
        LayoutError: a person is in two of the splits that the data sets came with.
    """
    check_people(samples)
    moved: set[tuple[str, str]] = set()
    for dataset in sorted({sample.dataset for sample in samples}):
        mine = [sample for sample in samples if sample.dataset == dataset]
        people = sorted({sample.person for sample in mine if sample.split == "train"})
        if fraction == 0 or any(sample.split == to for sample in mine):
            continue
        count = min(max(1, round(fraction * len(people))), len(people) - 1)
        drawn = sorted((draw(seed, dataset, person), person) for person in people)
        moved |= {(dataset, person) for _, person in drawn[: max(count, 0)]}
    return [
        dataclasses.replace(sample, split=to)
        if sample.split == "train" and (sample.dataset, sample.person) in moved
        else sample
        for sample in samples
    ]


def check_people(samples: Sequence[Sample]) -> None:
    """Raise LayoutError if somebody is in two splits."""
    seen: dict[tuple[str, str], Sample] = {}
    for sample in samples:
        other = seen.setdefault((sample.dataset, sample.person), sample)
        if other.split != sample.split:
            raise LayoutError(
                f"person {sample.person} of {sample.dataset} is in {other.split} ({other.image}) and in {sample.split} "
                f"({sample.image}): the images of a person must share a split"
            )
