"""What there is to segment, and where it goes: photographs are listed and clashes refused before any work starts."""

import os
import sys
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from geseg.data import images
from geseg.errors import ConfigError, DataError, OutputError
from geseg.files import remove_partials

Kind = Literal["mask", "probability", "overlay", "skeleton"]
Folders: TypeAlias = Mapping[Kind, Path]
"""Where each kind of output goes, of those that were asked for."""
Identity: TypeAlias = tuple[int, int]
"""Device and inode: what tells that two paths are the same file."""


@dataclass(frozen=True, slots=True)
class Job:
    """A photograph and the files to write of it.

    Attributes:
        image: the photograph.
        name: its path inside the folder that was given, with slashes.
        outputs: the files to write.
    """

    image: Path
    name: str
    outputs: dict[Kind, Path]


@dataclass(frozen=True, slots=True)
class Listing:
    """The photographs of a folder in the order of their names.

    Attributes:
        images: the photographs.
        unlisted: a line per sub-folder that cannot be listed.
        remarks: a line on the files that do not have the names of images, if there are some.
    """

    images: tuple[Path, ...]
    unlisted: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


def plan(place: Path, recursive: bool, folders: Folders) -> tuple[list[Job], Listing]:
    """Pair every photograph with its outputs; also the list that they are from.

    Raises:
        DataError: there is no image.
        ConfigError: two outputs would be one file, one would replace a photograph, or the next run would take one for
            a photograph.
        OutputError: where an output should go, there is a folder.
    """
    listing = list_images(place, recursive)
    root = place if place.is_dir() else place.parent
    jobs = [_job(image, root, folders) for image in listing.images]
    _refuse_clashes(jobs, folders)
    _refuse_photographs(jobs)
    if place.is_dir():
        for folder in folders.values():
            _refuse_searched(folder.resolve(), place, recursive)
    return jobs, listing


def _job(image: Path, root: Path, folders: Folders) -> Job:
    inside = image.relative_to(root)
    name = output_name(inside)
    return Job(image, inside.as_posix(), {kind: folder / name for kind, folder in folders.items()})


def output_name(image: Path) -> Path:
    """The path of what is written of a photograph, inside the folder of its kind."""
    stem, suffix = images.split_suffix(image.name)
    return image.with_name((stem if suffix else image.stem) + ".png")


def _refuse_clashes(jobs: Sequence[Job], folders: Folders) -> None:
    alike = any(ignores_case(folder) for folder in folders.values())

    def key_of(path: Path) -> str:
        key = os.path.normcase(path.absolute())
        return unicodedata.normalize("NFC", key).casefold() if alike else key

    taken = dict[str, Path]()
    for job in jobs:
        for path in job.outputs.values():
            key = key_of(path)
            if key in taken:
                raise ConfigError(f"{taken[key]} and {job.image} would both write {path}; rename one of them")
            taken[key] = job.image
    for job in jobs:
        for path in job.outputs.values():
            for folder in path.absolute().parents:
                if other := taken.get(key_of(folder)):
                    raise ConfigError(f"{other} would write {folder}, and {job.image} a file in it; rename one of them")


def ignores_case(folder: Path) -> bool:
    """Whether Eye.png and eye.png are one file there, as on macOS, and on many disks for cameras anywhere."""
    for place in (folder.absolute(), *folder.absolute().parents):
        other = place.with_name(place.name.swapcase())
        if other != place and (identity := _identity(place)):
            return identity == _identity(other)
    return sys.platform == "darwin"


def _refuse_photographs(jobs: Sequence[Job]) -> None:
    """A mask must never replace a photograph, not even with --overwrite, and not through a link."""
    photographs = {found for job in jobs if (found := _identity(job.image))}
    for path in (path for job in jobs for path in job.outputs.values()):
        if (found := _identity(path)) and found in photographs:
            raise ConfigError(f"{path} is one of the photographs; write the masks to another folder with -o")
        if found and path.is_dir():
            raise OutputError(f"{path} is a folder, expected the name of a file to write; choose another with -o")


def _refuse_searched(folder: Path, place: Path, recursive: bool) -> None:
    """What is written must not be found as a photograph when the command is repeated."""
    searched = place.resolve()
    below = folder.is_relative_to(searched)
    if folder == searched or (
        recursive and below and not any(part.startswith(".") for part in folder.relative_to(searched).parts)
    ):
        raise ConfigError(
            f"{folder} would be searched for photographs when this is repeated; choose a folder outside of {place}"
        )


def _identity(path: Path) -> Identity | None:
    """None if there is no such file, or nobody may ask."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def remove_leftovers(jobs: Sequence[Job], others: Sequence[Path]) -> None:
    """Remove partial files that killed runs have left of the outputs, and of other files."""
    names = dict[Path, set[str]]()
    for path in (*(path for job in jobs for path in job.outputs.values()), *others):
        names.setdefault(path.parent, set()).add(path.name)
    for folder, wanted in names.items():
        remove_partials(folder, wanted)


def list_images(place: Path, recursive: bool) -> Listing:
    """All images of a folder in the order of their names, or the one file; hidden files and folders do not count.

    Sub-folders are looked into through links, too, but not again from inside of themselves. Whatever is no folder and
    has the suffix of an image counts, be it readable or not.

    Raises:
        DataError: there is nothing of that name, or no image in it.
    """
    if not os.path.lexists(place):
        raise DataError(f"{place} does not exist; expected an image or a folder of images")
    if not place.is_dir():
        return Listing((place,))
    unlisted, others = list[str](), Counter[str]()
    try:
        entries = sum(1 for _ in place.iterdir())
    except OSError as error:
        raise DataError(f"{place} cannot be listed: {error.strerror}; make it readable") from error
    found = sorted(_walk(place, recursive, (), unlisted, others))
    if not found and not unlisted:
        below = "" if recursive else "; look into its sub-folders too with --recursive"
        known = ", ".join(images.IMAGE_SUFFIXES)
        raise DataError(f"{place} holds {entries} entries, but no image ({known}){below}")
    return Listing(tuple(found), tuple(unlisted), _remarks(place, others))


def _remarks(place: Path, others: Counter[str]) -> tuple[str, ...]:
    if not others:
        return ()
    kinds = ", ".join(f"{count} {suffix or 'without a suffix'}" for suffix, count in sorted(others.items()))
    return (f"{place}: files that were left out, as they do not have the names of images: {kinds}",)


def _walk(
    folder: Path, recursive: bool, above: tuple[Identity | None, ...], unlisted: list[str], others: Counter[str]
) -> Iterator[Path]:
    """The images in a folder.

    `above` are the folders on the way here, `unlisted` gets a line per folder that cannot be listed, and `others`
    counts the remaining files by their suffixes.
    """
    try:
        entries = list(folder.iterdir())
    except OSError as error:
        unlisted.append(f"{folder} cannot be listed: {error.strerror}; make it readable")
        return
    here = (*above, _identity(folder))
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if not os.path.isdir(entry):  # noqa: PTH112  # Path.is_dir raises where it may not ask
            if images.split_suffix(entry.name)[1]:
                yield entry
            else:
                others[entry.suffix.lower()] += 1
        elif recursive and _identity(entry) not in here:
            yield from _walk(entry, recursive, here, unlisted, others)
