"""What maps are scored against: the annotated photographs of a patch file, or of a data set folder as it is."""

import functools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from geseg.data import layouts
from geseg.data.images import split_suffix
from geseg.data.patchfile import PatchFile, SampleRecord, WholeImage
from geseg.data.samples import Sample, Split
from geseg.errors import DataError
from geseg.steps.seen import person_key
from geseg.steps.sources import read_whole

WORDS: dict[Split, str] = {"train": "training", "val": "validation", "test": "test"}


@dataclass(frozen=True, slots=True)
class Photograph:
    """An annotated photograph that is not read yet."""

    dataset: str
    id: str
    stem: str
    """The name of the image file without its suffix."""
    split: Split
    read: Callable[[], WholeImage]


@dataclass(frozen=True, slots=True)
class Truths:
    """All annotated photographs of a patch file or folder.

    Attributes:
        path: where they are from.
        photographs: those with a label; a patch file keeps training images as patches, so that it has none of them.
        protocols: per data set, the name of its split in the literature, where there are several.
        people: by "dataset/id", the `seen.person_key` of every image that is listed there, annotated or not.
    """

    path: Path
    photographs: tuple[Photograph, ...]
    protocols: dict[str, str]
    people: dict[str, str]


def choose(truths: Truths, split: Split | None) -> tuple[Split, tuple[Photograph, ...], tuple[str, ...]]:
    """The photographs of a split; by default of test, else of validation, else of training.

    Returns:
        The split, its photographs, and a note if it is not what one would expect.

    Raises:
        DataError: no photograph of that split has a label.
    """
    order: tuple[Split, ...] = ("test", "val", "train")
    found = [name for name in order if any(p.split == name for p in truths.photographs)]
    if not found:
        raise DataError(f"{truths.path} has no whole images with labels to score; prepare it from more people")
    if split is not None and split not in found:
        raise DataError(f"{truths.path} has no labelled {split} images; it has labels for {' and '.join(found)}")
    chosen = split or found[0]
    notes: tuple[str, ...] = ()
    if split is None and chosen != "test":
        notes = (f"{truths.path} has no labelled test images: scored on the {WORDS[chosen]} images instead",)
    return chosen, tuple(p for p in truths.photographs if p.split == chosen), notes


def open_truths(path: Path) -> Truths:
    """The annotated photographs of a patch file, or of a folder that `geseg prepare` would recognise.

    Raises:
        PatchFileError, LayoutError: it is neither.
    """
    return _of_folder(path) if path.is_dir() else _of_patch_file(path)


def _of_patch_file(path: Path) -> Truths:
    file = PatchFile.open(path)
    photographs = [
        Photograph(r.dataset, r.id, r.stem, r.split, functools.partial(file.whole_image, number))
        for number, r in enumerate(file.header.samples)
        if r.labelled and r.split != "train"
    ]
    protocols = {source.dataset: source.protocol for source in file.header.sources if source.protocol}
    return Truths(path, tuple(photographs), protocols, _people(file.header.samples))


def _of_folder(path: Path) -> Truths:
    source = layouts.find_source(path)
    photographs = [
        Photograph(s.dataset, s.id, split_suffix(s.image.name)[0], s.split, functools.partial(read_whole, s))
        for s in source.samples
        if s.label is not None
    ]
    protocols = {source.dataset: source.protocol} if source.protocol else {}
    return Truths(path, tuple(photographs), protocols, _people(source.samples))


def _people(samples: Iterable[Sample | SampleRecord]) -> dict[str, str]:
    return {f"{s.dataset}/{s.id}": person_key(s.dataset, s.person) for s in samples}
