"""The line of text that geseg writes into its PNG files, read without their pixels."""

import os
import struct
import zlib
from pathlib import Path

from geseg.data.pngcheck import SIGNATURE

KEY = "geseg"
END = b"\x00\x00\x00\x00IEND\xaeB`\x82"
LONGEST = 1 << 20
"""Bytes of a chunk of text; ours have under a thousand."""
MOST_CHUNKS = 2**10
"""That are looked through; ours comes first."""


def read_text(path: Path) -> str | None:
    """What a tEXt chunk before the pixels holds under `KEY`; None in any other file, and in one that was cut off.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        if file.read(len(SIGNATURE)) != SIGNATURE:
            return None
        text = None
        for _ in range(MOST_CHUNKS):
            head = file.read(8)
            if len(head) < 8 or head[4:] == b"IDAT":
                break
            length, kind = struct.unpack(">I4s", head)
            if kind != b"tEXt" or length > LONGEST:
                file.seek(length + 4, os.SEEK_CUR)
                continue
            data, crc = file.read(length), file.read(4)
            key, _, value = data.partition(b"\0")
            if key == KEY.encode() and crc == struct.pack(">I", zlib.crc32(kind + data)):
                text = value.decode("latin-1")
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - len(END)))
        return text if file.read() == END else None
