"""HDF5 files, which strangers may have made, read with nothing from outside of them and no more memory than they show.

The library itself checks little: a file of a kilobyte may declare terabytes, name other files to read, or crash it.
"""

import hashlib
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import h5py
import numpy as np
from h5py import h5a, h5d, h5t, h5z
from numpy.typing import DTypeLike

from geseg import headers
from geseg.errors import PatchFileError

EXPECTED = "expected a patch file: make one with `geseg prepare`"
SIGNATURE = b"\x89HDF\r\n\x1a\n"
BLOCK = 512
"""Bytes before the HDF5 file proper, which HDF5 leaves to the program, and ours is a line of text."""
SEAL = b"geseg patch file; SHA-256 of what follows byte 512: "
MOST_GROWTH = 200
"""Bytes that a byte of a file may stand for: LZF makes 3 bytes of 264 at best."""
LARGEST_CHUNK = 2**28
"""Bytes that are unpacked at once: those of a patch of 7,300 x 7,300 pixels."""
LZF = 32000
FILTERS = {LZF, h5z.FILTER_FLETCHER32}
"""Numbers of what packs and checks the pixels; for others HDF5 would look in libraries on the disk."""


def check_path(path: Path) -> None:
    """Raise PatchFileError if there is no file at `path`."""
    if not path.exists():
        raise PatchFileError(f"{path} does not exist; {EXPECTED}")
    if not path.is_file():  # opening a pipe would wait for ever
        raise PatchFileError(f"{path} is a {'folder' if path.is_dir() else 'pipe or a device'}; {EXPECTED}")


def open_file(path: Path) -> h5py.File:
    """Open an HDF5 file for reading.

    Raises:
        PatchFileError: there is none, or it is damaged.
    """
    check_path(path)
    try:
        return h5py.File(path, "r")
    except Exception as error:  # on damaged files h5py raises nearly any
        raise PatchFileError(f"{path} cannot be read as HDF5 ({_reason(error)}); {EXPECTED}") from error


@contextmanager
def reading(path: Path, what: str) -> Iterator[None]:
    """Turn whatever goes wrong in the block into one line: PatchFileError."""
    try:
        yield
    except PatchFileError:
        raise
    except Exception as error:  # on damaged files h5py raises nearly any
        raise PatchFileError(
            f"{path} is damaged: {what} cannot be read ({_reason(error)}); prepare it again"
        ) from error


def read_text(file: h5py.File, name: str) -> str | None:
    """A text beside the root of a file; None if there is none.

    Raises:
        ValueError: it is too long.
    """
    if not h5a.exists(file.id, name.encode()):
        return None
    attribute = h5a.open(file.id, name.encode())
    kind = attribute.get_type()
    if attribute.shape != () or not isinstance(kind, h5t.TypeStringID):
        return None
    if not kind.is_variable_str() and kind.get_size() > headers.LONGEST:
        raise ValueError(f"it has {kind.get_size()} characters, expected {headers.LONGEST} at most")
    text = file.attrs[name]
    return text if isinstance(text, str) else None


def dataset(file: h5py.File, place: str, shape: tuple[int, ...], dtype: DTypeLike) -> h5py.Dataset:
    """A dataset of a file, with what it takes to read it checked before.

    Args:
        file: an open file.
        place: the name of the dataset, such as "train/patches".
        shape: which it must have.
        dtype: likewise.

    Raises:
        ValueError, or nearly any: it is not as `patchfile.write` makes it.
    """
    found = file
    for name in place.split("/"):
        if not isinstance(found.get(name, getlink=True), h5py.HardLink):
            raise ValueError("it is missing, or a link to somewhere else")
        found = found[name]
    if not isinstance(found, h5py.Dataset) or found.shape != shape or found.dtype != dtype:
        told = f"{found.dtype}{list(found.shape or ())}" if isinstance(found, h5py.Dataset) else "no dataset"
        raise ValueError(f"it is {told}, expected {np.dtype(dtype)}{list(shape)}")
    plan = found.id.get_create_plist()
    if plan.get_layout() != h5d.CHUNKED:  # external and virtual datasets are not
        raise ValueError("its pixels are not stored in blocks inside of the file")
    chunk, size = math.prod(plan.get_chunk()) * found.dtype.itemsize, file.id.get_filesize()
    filters = {code: values for code, _, values, _ in map(plan.get_filter, range(plan.get_nfilters()))}
    if filters.keys() | {LZF} != FILTERS or filters.get(LZF, (0, 0, chunk))[2:3] != (chunk,):
        raise ValueError("its pixels are packed in another way than ours")
    if chunk > LARGEST_CHUNK or found.nbytes > MOST_GROWTH * size:
        raise ValueError(f"it would have {found.nbytes} bytes in blocks of {chunk}, too many for a file of {size}")
    return found


def seal(path: Path) -> None:
    """Note the SHA-256 of all that follows in the first block, which must be free."""
    with path.open("r+b") as file:
        line = SEAL + _digest(file) + b"\n"
        file.seek(0)
        file.write(line.ljust(BLOCK - 1) + b"\n")


def check_seal(path: Path) -> bool:
    """Whether a file has a seal.

    Raises:
        PatchFileError: it has one, and is not as it was when it was sealed.
    """
    check_path(path)
    with reading(path, "its checksum"), path.open("rb") as file:
        line, start = file.read(BLOCK), file.read(len(SIGNATURE))
        if not line.startswith(SEAL) and start != SIGNATURE:  # of an older format, or none of ours
            return False
        if not line.startswith(SEAL) or line[len(SEAL) :].split()[:1] != [_digest(file)]:
            raise PatchFileError(f"{path} is damaged: its bytes do not fit its checksum; prepare it again")
        return True


def _digest(file: BinaryIO) -> bytes:
    """Hexadecimal SHA-256 of what follows the first block of an open file."""
    file.seek(BLOCK)
    return hashlib.file_digest(file, "sha256").hexdigest().encode()  # type: ignore[arg-type]


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
