"""Writing files whole or not at all, and telling them apart by their contents."""

import csv
import hashlib
import io
import os
import platform
import re
import sys
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from geseg.errors import OutputError

LONGEST_NAME = 160
"""Bytes of a name that leave room for what a partial file's has around it; file systems end at 255."""
HOST = re.sub(r"[^\w-]", "-", platform.node(), flags=re.ASCII)[:63]
"""Containers share folders, and have numbers of processes of their own: they know each other by their names."""
STALE_SECONDS = 24 * 3600
"""Without a change after which a partial file of another host is taken for a leftover."""


@contextmanager
def atomic_path(path: Path, option: str = "-o", fresh: bool = False) -> Iterator[Path]:
    """A path beside `path` to write to; it takes the place of `path` when the block ends well, else it is removed.

    If it is to be `fresh`, it takes no place that another command has taken meanwhile. `option` is the one that chooses
    another place.

    The file is synced before it takes its place, so that a crash of the machine leaves the old one or the new one. The
    folder is not: at worst the crash undoes the renaming, which leaves the old one, and Windows cannot sync folders.

    Raises:
        OutputError: the folder cannot be made or written; or there is a file, and none may be there.
    """
    partial = _partial(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        with partial.open("r+b") as written:  # Windows syncs only what may be written
            os.fsync(written.fileno())
        if fresh:
            _take_free_place(partial, path, option)
        else:
            partial.replace(path)
    except OSError as error:
        raise _no_output(path, error, option) from error
    finally:
        with suppress(OSError):  # if `path` lies below a file, there is nothing to remove
            partial.unlink(missing_ok=True)


def _take_free_place(partial: Path, path: Path, option: str) -> None:
    """Give a file its name unless there is one; a link, other than a renaming, replaces none."""
    try:
        path.hardlink_to(partial)
    except FileExistsError as error:
        raise OutputError(
            f"{path} has come to be meanwhile: another command writes there, too; choose another place with {option}"
        ) from error
    except OSError:  # a file system without links
        refuse_to_overwrite(path, overwrite=False, option=option)
        partial.replace(path)


def check_writable(path: Path, option: str) -> None:
    """Find out now, not after an hour, that a file cannot be written; OutputError says so."""
    partial = _partial(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.touch()
    except OSError as error:
        raise _no_output(path, error, option) from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def _no_output(path: Path, error: OSError, option: str) -> OutputError:
    above = isinstance(error, FileExistsError | NotADirectoryError)  # "File exists" would be said of another one
    reason = "a file is where its folder should be" if above else error.strerror or error
    return OutputError(f"cannot write {path}: {reason}; choose another place with {option}")


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, object]], option: str) -> None:
    """Write a table in UTF-8 whole or not at all; names that are no text keep their bytes, `option` chooses the place.

    Raises:
        OutputError: it cannot be written.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, columns)
    writer.writeheader()
    writer.writerows(rows)
    with atomic_path(path, option) as partial:
        partial.write_bytes(text.getvalue().encode("utf-8", "surrogateescape"))


def remove_partials(folder: Path, names: Collection[str]) -> None:
    """Remove what killed processes have left of files of these names, as far as that is possible.

    Those of this host are asked for; what other hosts have not written to for a day is removed, too.
    """
    wanted = {_partial_name(name) for name in names}
    with suppress(OSError):  # no such folder, or one that writing will complain about
        for entry in list(folder.iterdir()):
            found = re.fullmatch(r"\.(.+)\.(\d+)(?:@([\w-]*))?\.partial", entry.name, re.DOTALL)
            if found and found[1] in wanted and not _is_written(entry, int(found[2]), found[3]):
                entry.unlink(missing_ok=True)


def _partial(path: Path) -> Path:
    return path.with_name(f".{_partial_name(path.name)}.{os.getpid()}@{HOST}.partial")


def _partial_name(name: str) -> str:
    """The name itself, or its hash where the partial file's would be too long."""
    return name if len(os.fsencode(name)) <= LONGEST_NAME else hashlib.sha256(os.fsencode(name)).hexdigest()


def _is_written(partial: Path, process: int, host: str | None) -> bool:
    """Whether somebody may still write to it; earlier versions named no host."""
    if host in (None, HOST):
        return _is_another(process)
    return time.time() - partial.stat().st_mtime < STALE_SECONDS


def _is_another(process: int) -> bool:
    """Whether another process with this number runs; one's own number on a leftover is that of an earlier one."""
    if process == os.getpid() or sys.platform == "win32":  # which lets nobody remove what another one writes
        return False
    try:
        os.kill(process, 0)  # asks, and does nothing
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def refuse_to_overwrite(path: Path, overwrite: bool, option: str = "-o") -> None:
    """Raise OutputError if `path` exists and `overwrite` is false, or is a folder; called before any work starts.

    The message names the option that chooses another one.
    """
    if path.is_dir():
        raise OutputError(f"{path} is a folder, expected the name of a file to write; choose another with {option}")
    if path.exists() and not overwrite:
        raise OutputError(f"{path} exists already; choose another place with {option}, or replace it with --overwrite")


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def printable(text: object) -> str:
    r"""A text for messages, with what a terminal would obey or could not show escaped: names may hold any byte.

    >>> printable("eye\n\x1b[2J.png")
    'eye\\n\\x1b[2J.png'
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))
