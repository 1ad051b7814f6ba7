"""The checksums of a PNG, which Pillow skips for pixels: a damaged file would be read as another photograph.

Chunks as in https://www.w3.org/TR/png-3/#5Chunk-layout.
"""

import struct
import zlib
from io import BufferedReader

SIGNATURE = b"\x89PNG\r\n\x1a\n"
MOST_CHUNKS = 2**18
"""A bound for files that are made of nothing else; usual writers put 8 kB or more of pixels into each."""
BLOCK = 2**20
"""Bytes that are read at once."""


def check(file: BufferedReader) -> None:
    """Raise ValueError if an open PNG is cut short, differs from its checksums, or has too many chunks."""
    file.seek(len(SIGNATURE))
    for _ in range(MOST_CHUNKS):
        head = file.read(8)
        if len(head) < 8:
            raise ValueError("it is cut short")
        length, kind = struct.unpack(">I4s", head)
        found = zlib.crc32(kind)
        while length > 0:
            block = file.read(min(length, BLOCK))
            if not block:
                raise ValueError("it is cut short")
            found = zlib.crc32(block, found)
            length -= len(block)
        if file.read(4) != struct.pack(">I", found):
            raise ValueError("it is damaged: its bytes do not fit their checksums")
        if kind == b"IEND":
            return
    raise ValueError(f"it has more than {MOST_CHUNKS} parts")
