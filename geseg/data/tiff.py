"""What Pillow does not tell or gets wrong about TIFF files: their pages, and 16 bits per sample.

Tags and their meaning as in "TIFF, Revision 6.0" (Aldus 1992) and, for files beyond 4 GB, BigTIFF.
"""

import io
import mmap
import struct
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import UInt16
from PIL import Image

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

SUBFILE, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER = 254, 256, 257, 258, 259, 262, 266
STRIPS, ORIENTATION, SAMPLES, ROWS_PER_STRIP, STRIP_SIZES, LARGEST, PLANAR = 273, 274, 277, 278, 279, 281, 284
PREDICTOR, COLOURS, TILE_WIDTH, TILE_HEIGHT, TILES, TILE_SIZES, EXTRA, FORMAT = 317, 320, 322, 323, 324, 325, 338, 339

WANTED = {
    *(SUBFILE, WIDTH, HEIGHT, BITS, COMPRESSION, PHOTOMETRIC, FILL_ORDER, STRIPS, ORIENTATION, SAMPLES, ROWS_PER_STRIP),
    *(STRIP_SIZES, LARGEST, PLANAR, PREDICTOR, COLOURS, TILE_WIDTH, TILE_HEIGHT, TILES, TILE_SIZES, EXTRA, FORMAT),
}
REDUCED, TRANSPARENCY = 1, 4
"""Bits of SUBFILE: a small copy of another page, and a mask."""
TYPES = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q"}
"""Those of whole numbers, by number."""
MOST_VALUES = 2**20
"""Of a tag that is read; a bound for damaged files."""
NAMES = {0: "grey", 1: "grey", 2: "RGB", 3: "palette", 5: "CMYK", 6: "YCbCr", 8: "Lab"}


@dataclass(frozen=True, slots=True)
class Page:
    """One directory of a file: its whole-number tags, and its byte order, "<" or ">"."""

    tags: Mapping[int, tuple[int, ...]]
    order: str

    def first(self, tag: int, default: int = 1) -> int:
        return self.tags.get(tag, (default,))[0]

    @property
    def is_deep(self) -> bool:
        """Whether it has 16 unsigned bits per sample."""
        return set(self.tags.get(BITS, ())) == {16} and set(self.tags.get(FORMAT, (1,))) == {1}

    def __str__(self) -> str:
        bits = "+".join(str(bits) for bits in self.tags.get(BITS, (1,)))
        kind = {1: "", 2: "signed ", 3: "floating-point "}.get(self.first(FORMAT), "")
        colours = NAMES.get(self.first(PHOTOMETRIC), f"photometric {self.first(PHOTOMETRIC)}")
        return f"a TIFF of {bits} {kind}bits, {colours}, compression {self.first(COMPRESSION)}"


def photograph(path: Path) -> tuple[int, Page]:
    """Number and tags of the page that is neither a small copy of another nor a mask.

    Raises:
        ValueError: there are several, or the file is damaged.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        pages = read_pages(data)
    whole = [number for number, page in enumerate(pages) if not page.first(SUBFILE, 0) & (REDUCED | TRANSPARENCY)]
    if len(whole) > 1:
        raise ValueError(f"it holds {len(whole)} pages, expected one: save the right one as a file of its own")
    number = whole[0] if whole else 0
    return number, pages[number]


def read_pages(data: bytes | mmap.mmap) -> list[Page]:
    """All directories of a file; one that is damaged ends them, but for the first."""
    order = "<" if data[:2] == b"II" else ">"
    big = b"+" in data[2:4]
    pages, seen = list[Page](), set[int]()
    try:
        (at,) = struct.unpack_from(order + ("Q" if big else "I"), data, 8 if big else 4)
        while at and at not in seen:
            seen.add(at)
            tags, at = _directory(data, at, order, big)
            pages.append(Page(tags, order))
    except (struct.error, OverflowError) as error:
        if not pages:
            raise ValueError("its directory is damaged") from error
    if not pages:
        raise ValueError("it holds no page")
    return pages


def _directory(data: bytes | mmap.mmap, at: int, order: str, big: bool) -> tuple[dict[int, tuple[int, ...]], int]:
    """The whole-number tags of the directory at an offset, and the offset of the next one."""
    count, entry, word = ("Q", "HHQ", "Q") if big else ("H", "HHI", "I")
    (length,) = struct.unpack_from(order + count, data, at)
    at += struct.calcsize(order + count)
    tags = dict[int, tuple[int, ...]]()
    for _ in range(length):
        tag, kind, times = struct.unpack_from(order + entry, data, at)
        at += struct.calcsize(order + entry)
        if tag in WANTED and kind in TYPES and 0 < times <= MOST_VALUES:
            values = f"{order}{times}{TYPES[kind]}"
            inside = struct.calcsize(values) <= struct.calcsize(word)
            tags[tag] = struct.unpack_from(
                values, data, at if inside else struct.unpack_from(order + word, data, at)[0]
            )
        at += struct.calcsize(order + word)
    return tags, int(struct.unpack_from(order + word, data, at)[0])


def read_deep(path: Path, page: Page) -> tuple[UInt16[np.ndarray, "h w c"], int]:
    """The samples of a page with 16 bits each (c = 1 or 3), in its orientation, and the value that stands for white.

    White is 65535, or what the file names as its largest value if that is all the bits of a camera (4095 of 12 bits,
    for example): by the specification other values are statistics. CMYK is resolved without colour management; alpha
    is dropped, after pixels that were multiplied by it are divided again.

    Raises:
        ValueError: the colours are neither grey nor RGB nor CMYK.
    """
    photometric = page.first(PHOTOMETRIC)
    colours = {0: 1, 1: 1, 2: 3, 5: 4}.get(photometric)
    if colours is None or page.first(SAMPLES) < colours:
        raise ValueError(f"it is {page}, which is not supported: convert it to 8 bits")
    width, height = page.first(WIDTH), page.first(HEIGHT)
    if Image.MAX_IMAGE_PIXELS is not None and width * height > Image.MAX_IMAGE_PIXELS:
        raise ValueError(f"it has {width} x {height} pixels, could be a decompression bomb")
    samples = _samples(path.read_bytes(), page)
    white = 65535
    named = max(page.tags.get(LARGEST, (white,)))
    if 255 < named < white and (named + 1) & named == 0 and samples.max() <= named:
        white = named
    values = samples[:, :, :colours]
    if page.tags.get(EXTRA, ())[:1] == (1,) and samples.shape[2] > colours:
        alpha = np.maximum(samples[:, :, colours : colours + 1], 1).astype(np.uint32)
        values = np.minimum((values * np.uint32(white) + alpha // 2) // alpha, white).astype(np.uint16)
    if photometric == 0:
        values = white - values
    if photometric == 5:
        values = cmyk_to_rgb(values, white)
    return orient(values, page.first(ORIENTATION)), white


def cmyk_to_rgb(cmyk: UInt16[np.ndarray, "h w 4"], white: int) -> UInt16[np.ndarray, "h w 3"]:
    """(white - ink) (white - black) / white for cyan, magenta and yellow."""
    light = white - cmyk.astype(np.uint32)
    return ((light[:, :, :3] * light[:, :, 3:] + white // 2) // white).astype(np.uint16)


def orient(values: UInt16[np.ndarray, "h w c"], orientation: int) -> UInt16[np.ndarray, "y x c"]:
    """Bring stored rows and columns into the order of display, by the tag 274 of TIFF and EXIF."""
    if orientation in (5, 6, 7, 8):
        values = values.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        values = values[:, ::-1]
    return values[::-1] if orientation in (3, 4, 7, 8) else values


def _samples(data: bytes, page: Page) -> UInt16[np.ndarray, "h w s"]:
    """All samples as they are stored.

    Pillow reads 16 bits of grey, but not of colour. Pixels of s samples side by side are the same bytes as a grey image
    that is s times as wide, and samples in planes as s grey images: so the file gets a directory that says so.
    """
    count, width = page.first(SAMPLES), page.first(WIDTH)
    planes = count if page.first(PLANAR) == 2 else 1
    side = count // planes
    grey = [_plane(data, page, plane, planes).reshape(-1, width, side) for plane in range(planes)]
    samples = np.concatenate(grey, axis=2)
    if page.first(PREDICTOR) == 2:  # every sample is stored as the difference to its left neighbour in strip or tile
        for x in range(0, width, block := page.first(TILE_WIDTH, width)):
            np.cumsum(samples[:, x : x + block], axis=1, dtype=np.uint16, out=samples[:, x : x + block])
    return samples


def _plane(data: bytes, page: Page, plane: int, planes: int) -> UInt16[np.ndarray, "h w"]:
    wide = page.first(SAMPLES) // planes
    tags = {
        tag: page.tags[tag]
        for tag in (HEIGHT, COMPRESSION, FILL_ORDER, ROWS_PER_STRIP, TILE_HEIGHT)
        if tag in page.tags
    }
    tags |= {BITS: (16,), SAMPLES: (1,), PHOTOMETRIC: (1,)}
    tags |= {tag: (page.tags[tag][0] * wide,) for tag in (WIDTH, TILE_WIDTH) if tag in page.tags}
    for tag in (STRIPS, STRIP_SIZES, TILES, TILE_SIZES):
        if blocks := page.tags.get(tag):
            each = len(blocks) // planes
            tags[tag] = blocks[plane * each : (plane + 1) * each]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # it would count samples, not pixels
        with Image.open(io.BytesIO(with_directory(data, tags, page.order))) as image:
            return np.asarray(image).astype(np.uint16)


def with_directory(data: bytes, tags: Mapping[int, tuple[int, ...]], order: str) -> bytes:
    """The bytes of a file with another directory of 32-bit values, in place of all others."""
    data += bytes(len(data) % 2)
    entries, values = b"", b""
    end = len(data) + 2 + 12 * len(tags) + 4
    for tag, numbers in sorted(tags.items()):
        packed = struct.pack(f"{order}{len(numbers)}I", *numbers)
        if len(numbers) > 1:
            packed, values = struct.pack(order + "I", end + len(values)), values + packed
        entries += struct.pack(order + "HHI", tag, 4, len(numbers)) + packed
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", len(data))
    return b"".join([head, data[8:], struct.pack(order + "H", len(tags)), entries, bytes(4), values])
