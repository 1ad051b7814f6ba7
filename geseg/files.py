"""Writing files whole or not at all, and telling them apart by their contents."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from geseg.errors import OutputError


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A path beside `path` to write to; it takes the place of `path` when the block ends well, else it is removed.

    Raises:
        OutputError: the folder cannot be made or written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        with partial.open("rb") as written:
            os.fsync(written.fileno())
        partial.replace(path)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error.strerror or error}; choose another place with -o") from error
    finally:
        with suppress(OSError):  # if `path` lies below a file, there is nothing to remove
            partial.unlink(missing_ok=True)


def refuse_to_overwrite(path: Path, overwrite: bool) -> None:
    """Raise OutputError if `path` exists and `overwrite` is false, or is a folder; called before any work starts."""
    if path.is_dir():
        raise OutputError(f"{path} is a folder, expected the name of a file to write; choose another with -o")
    if path.exists() and not overwrite:
        raise OutputError(f"{path} exists already; choose another place with -o, or replace it with --overwrite")


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
