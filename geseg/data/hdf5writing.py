"""HDF5 files are written through Python, because libhdf5 crashes when the disk is full.

After a write that failed it keeps the file open, tries again when the process ends, and takes the process down.
"""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import h5py

if TYPE_CHECKING:
    from typing_extensions import Buffer  # which Python has from 3.12 on


class _Forgiving(io.FileIO):
    """A file that remembers the first write that failed, and takes all later ones as if they went well."""

    failure: OSError | None = None

    def write(self, data: "Buffer") -> int:
        view = memoryview(data)
        try:
            done = len(view) if self.failure else 0
            while done < len(view):
                done += super().write(view[done:])
        except OSError as error:
            self.failure = error
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        try:
            if not self.failure:
                super().truncate(size)
        except OSError as error:
            self.failure = error
        return size or 0

    def check(self) -> None:
        """Raise the first failure, if there was one."""
        if self.failure:
            raise self.failure


@contextmanager
def create(path: Path, block: int) -> Iterator[tuple[h5py.File, Callable[[], None]]]:
    """An HDF5 file to write, with `block` free bytes at its beginning, and what raises OSError once writing has failed.

    Raises:
        OSError: it cannot be written, as is told at the end of the block at the latest.
    """
    with _Forgiving(path, "w+") as raw:
        # in the default version of the format headers end at 64 KiB
        with h5py.File(raw, "w", libver="v108", userblock_size=block) as file:
            yield file, raw.check
        raw.check()
