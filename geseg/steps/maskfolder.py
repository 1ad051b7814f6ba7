"""A folder of masks or probability maps that any tool has written, paired with photographs by their names."""

import string
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from geseg.data import images, layouts
from geseg.errors import DataError, ImageError
from geseg.steps.runfolder import ONNX, WEIGHTS
from geseg.steps.truths import Photograph

LETTERS = frozenset(string.ascii_letters + string.digits)


def holds_masks(path: Path) -> bool:
    """Whether a path is a folder with images in it, and no model: the picture in a run folder is of its curves."""
    if not path.is_dir() or any((path / name).is_file() for name in (WEIGHTS, ONNX)):
        return False
    return any(True for _ in find_files(path))


def find_files(folder: Path) -> list[Path]:
    """The images of a folder and its sub-folders."""
    return [path for path in layouts.walk(folder, layouts.DEEPEST) if images.split_suffix(path.name)[1]]


def pair(folder: Path, photographs: Sequence[Photograph], known: Sequence[Photograph]) -> dict[Photograph, Path]:
    """The file of each photograph: named as its image file, or as its id, with or without more words after it.

    The map of 01_test.tif may be 01_test.png, 01_test_prob.png, 01.png or 01_manual2.gif; that of an id with folders,
    visit1/left, may lie in such folders. The first kind that is there counts. A file that begins with the longer name
    of another photograph of those that are known, as eye_2_prob.png does beside eye and eye_2, is of that one.
    Photographs without a file are left out.

    Raises:
        DataError: no file belongs to any photograph, several to one, or one to several.
    """
    files = {path: images.split_suffix(path.relative_to(folder).as_posix())[0] for path in find_files(folder)}
    names = {name for photograph in known for name in _names(photograph)}
    longest = {
        path: max((len(name) for name in names if _begins(file, name)), default=0) for path, file in files.items()
    }
    pairs: dict[Photograph, Path] = {}
    owners: dict[Path, Photograph] = {}
    for photograph in photographs:
        own = _names(photograph)
        most = {
            path: max((len(name) for name in own if _begins(file, name)), default=0) for path, file in files.items()
        }
        found = _files_of(own, {path: file for path, file in files.items() if most[path] >= longest[path]})
        if len(found) > 1:
            raise DataError(f"{found[0]} and {found[1]} both belong to photograph {photograph.stem}: keep one of them")
        for path in found:
            if path in owners:
                raise _shared(path, owners[path], photograph)
            owners[path] = photograph
            pairs[photograph] = path
    if not pairs:
        raise DataError(
            f"{folder} has {len(files)} images, but none is named like a photograph, such as {photographs[0].stem}: "
            "rename the files"
        )
    return pairs


def _shared(path: Path, one: Photograph, other: Photograph) -> DataError:
    """What to do about a file that two photographs could have."""
    advice = "score the maps of each data set by themselves"
    if one.dataset == other.dataset and one.split != other.split:
        advice = f"say which with --split {one.split} or --split {other.split}"
    return DataError(f"{path} could belong to {one.dataset}/{one.id} and {other.dataset}/{other.id}: {advice}")


def _names(photograph: Photograph) -> tuple[str, ...]:
    """What its file may be called, the nearest first."""
    name = photograph.id.rpartition("/")[2]
    return (photograph.stem, name) if name == photograph.id else (photograph.id, photograph.stem, name)


def _tail(file: str, name: str) -> str:
    """The end of a path that a name may be: its last part, and as many folders before it as the name has."""
    return "/".join(file.split("/")[-1 - name.count("/") :])


def _begins(file: str, name: str) -> bool:
    """Whether a file has this name, perhaps with more words behind."""
    if name not in file:  # most are not, and this is fast
        return False
    tail = _tail(file, name)
    return tail.startswith(name) and tail[len(name) : len(name) + 1] not in LETTERS


def _files_of(names: Sequence[str], files: dict[Path, str]) -> list[Path]:
    """All files of the first kind of name that is there."""
    for name in names:
        if found := [path for path, file in files.items() if _tail(file, name) == name]:
            return found
        if found := [path for path, file in files.items() if _begins(file, name)]:
            return found
    return []


def read_map(path: Path, shape: tuple[int, int]) -> Float32[np.ndarray, "h w"]:
    """Read a mask as 0 and 1, or a probability map as a share of the largest value of its type.

    What has at most two values is a mask, as in `images.read_mask`; 8 and 16 bits are divided by 255 and 65535.

    Raises:
        ImageError: it has another size, colours, or numbers that are no probabilities.
    """
    channels = images.read_pixels(path)
    pixels = channels.max(axis=2)
    if channels.shape[2] > 1 and (channels != pixels[:, :, None]).any():
        raise ImageError(f"{path} is in colour; expected a mask or a grey map of probabilities")
    if pixels.shape != shape:
        (h, w), (height, width) = pixels.shape, shape
        raise ImageError(f"{path} has {w}x{h} pixels, but its photograph {width}x{height}: expected the same")
    if len(np.unique(pixels)) <= 2:
        return images.read_mask(path).astype(np.float32)
    largest = np.iinfo(pixels.dtype).max if np.issubdtype(pixels.dtype, np.integer) else 1
    scaled: np.ndarray = (pixels / np.float64(largest)).astype(np.float32)
    if not (scaled.min() >= 0 and scaled.max() <= 1):
        raise ImageError(
            f"{path} has values from {pixels.min()} to {pixels.max()}; expected 8 or 16 bits, or numbers in [0, 1]"
        )
    return scaled
