"""Files written by hand from the specification of their format, so that what is read has an independent source."""

import itertools
import struct
import zlib
from collections.abc import Callable, Mapping

import numpy as np
import pytest


def lzw(data: bytes) -> bytes:
    """Literal codes of 9 bits alone, with a clear code before they would need 10."""
    codes = [code for start in range(0, len(data), 250) for code in (256, *data[start : start + 250])] + [257]
    bits = "".join(f"{code:09b}" for code in codes)
    return int(bits + "0" * (-len(bits) % 8), 2).to_bytes(-(-len(bits) // 8), "big")


def packbits(data: bytes) -> bytes:
    """Literal runs alone."""
    runs = [data[start : start + 128] for start in range(0, len(data), 128)]
    return b"".join(bytes([len(run) - 1]) + run for run in runs)


COMPRESS: dict[int, Callable[[bytes], bytes]] = {1: bytes, 5: lzw, 8: zlib.compress, 32773: packbits}


def write_tiff(
    samples: np.ndarray,
    order: str = "<",
    compression: int = 1,
    planar: bool = False,
    block: int | tuple[int, int] | None = None,
    predictor: bool = False,
    tags: Mapping[int, list[int]] | None = None,
) -> bytes:
    """A TIFF by its specification; `block` is the height of the strips, or height and width of the tiles."""
    height, width, channels = samples.shape
    high, wide = block if isinstance(block, tuple) else (block or height, width)
    padded = np.pad(samples, ((0, -height % high), (0, -width % wide), (0, 0))) if isinstance(block, tuple) else samples
    corners = itertools.product(range(0, height, high), range(0, width, wide))
    blocks = [padded[y : y + high, x : x + wide] for y, x in corners]
    if planar:
        blocks = [block[:, :, k : k + 1] for k in range(channels) for block in blocks]
    if predictor:
        blocks = [np.concatenate([block[:, :1], block[:, 1:] - block[:, :-1]], axis=1) for block in blocks]
    stored = [COMPRESS[compression](block.astype(block.dtype.newbyteorder(order)).tobytes()) for block in blocks]
    offsets = [8 + sum(map(len, stored[:number])) for number in range(len(stored))]
    entries = {256: [width], 257: [height], 258: [8 * samples.itemsize] * channels, 259: [compression]}
    entries |= {262: [1 if channels < 3 else 2], 277: [channels], 284: [1 + planar], 317: [1 + predictor]}
    sizes = [len(data) for data in stored]
    if isinstance(block, tuple):
        entries |= {322: [wide], 323: [high], 324: offsets, 325: sizes}
    else:
        entries |= {273: offsets, 278: [high], 279: sizes}
    entries[338] = [2] if channels in (2, 4) else []
    return directory(b"".join(stored), entries | dict(tags or {}), order)


def directory(stored: bytes, entries: Mapping[int, list[int]], order: str) -> bytes:
    """A TIFF of pixels that start at byte 8, and of one directory; entries without values are left out."""
    at = 8 + len(stored) + len(stored) % 2
    body, values = b"", b""
    shown = {tag: numbers for tag, numbers in sorted(entries.items()) if numbers}
    for tag, numbers in shown.items():
        kind, code = (4, "I") if tag in (256, 257, 273, 279, 322, 323, 324, 325) else (3, "H")
        packed = struct.pack(f"{order}{len(numbers)}{code}", *numbers)
        if len(packed) > 4:
            packed, values = struct.pack(order + "I", at + 6 + 12 * len(shown) + len(values)), values + packed
        body += struct.pack(order + "HHI", tag, kind, len(numbers)) + packed.ljust(4, b"\0")
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", at)
    return head + stored.ljust(at - 8, b"\0") + struct.pack(order + "H", len(shown)) + body + bytes(4) + values


@pytest.fixture(scope="session")
def tiff() -> Callable[..., bytes]:
    """Gives the bytes of a TIFF from (samples, order, compression, planar, block, predictor, tags)."""
    return write_tiff
