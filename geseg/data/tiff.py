"""What Pillow does not tell or gets wrong about TIFF files: their pages, and 16 bits per sample.

Tags and their meaning as in "TIFF, Revision 6.0" (Aldus 1992) and, for files beyond 4 GB, BigTIFF.
"""

import contextlib
import ctypes
import io
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BufferedReader

import numpy as np
from jaxtyping import Num, UInt16
from PIL import Image, _imaging

from geseg.data import limits

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
MOST_VALUES, MOST_ENTRIES, MOST_PAGES = 2**17, 2**12, 2**12
"""Of a tag that is read, of a directory, and of a file; bounds for damaged files."""
LARGEST_BLOCK = 160_000_000
"""Samples that Pillow unpacks at once."""
HEAD = 2**6
"""Bytes that a compressed block may take whatever its size."""
BAND = 2**24
"""Samples that are unpacked at once where the file has smaller blocks."""
ROWS = 64
"""That are computed at once."""
UNSUPPORTED = "which is not supported: save it as RGB with 8 bits and without compression"
NAMES = {0: "grey", 1: "grey", 2: "RGB", 3: "palette", 5: "CMYK", 6: "YCbCr", 8: "Lab"}


with contextlib.suppress(OSError, AttributeError):  # where libtiff is a part of Pillow's own file, as on Windows
    for _name in ("TIFFSetErrorHandler", "TIFFSetWarningHandler"):  # else it remarks on damaged files on stderr
        getattr(ctypes.CDLL(_imaging.__file__), _name)(None)


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


def photograph(file: BufferedReader) -> tuple[int, Page]:
    """Number and tags of the page of an open file that is neither a small copy of another nor a mask.

    Raises:
        ValueError: there are several, or the file is damaged.
    """
    source = Source.of(file)
    places, marks = list[int](), list[int]()
    try:
        (at,) = source.unpack(source.word, source.first)
        while at and at not in places and len(places) < MOST_PAGES:
            tags, following = source.directory(at, {SUBFILE})
            places.append(at)
            marks.append(tags.get(SUBFILE, (0,))[0])
            at = following
    except struct.error as error:  # what follows a whole page may be damaged
        if not places:
            raise ValueError("its directory is damaged") from error
    if not places:
        raise ValueError("it holds no page")
    whole = [number for number, mark in enumerate(marks) if not mark & (REDUCED | TRANSPARENCY)]
    if len(whole) > 1:
        raise ValueError(f"it holds {len(whole)} pages, expected one: save the right one as a file of its own")
    number = whole[0] if whole else 0
    try:
        return number, Page(source.directory(places[number], WANTED)[0], source.order)
    except struct.error as error:
        raise ValueError("its directory is damaged") from error


@dataclass(frozen=True, slots=True)
class Source:
    """An open file with the byte order, "<" or ">", and the width of numbers that its first bytes tell."""

    file: BufferedReader
    size: int
    order: str
    big: bool

    @classmethod
    def of(cls, file: BufferedReader) -> "Source":
        size = file.seek(0, io.SEEK_END)
        file.seek(0)
        start = file.read(4)
        return cls(file, size, "<" if start[:2] == b"II" else ">", b"+" in start[2:])

    @property
    def word(self) -> str:
        """How an offset is stored."""
        return "Q" if self.big else "I"

    @property
    def first(self) -> int:
        """Where the offset of the first directory is."""
        return 8 if self.big else 4

    def unpack(self, kinds: str, at: int) -> tuple[int, ...]:
        """The numbers at an offset; struct.error if the file ends before."""
        length = struct.calcsize(self.order + kinds)
        if at + length > self.size:
            raise struct.error("beyond the end of the file")
        self.file.seek(at)
        return struct.unpack(self.order + kinds, self.file.read(length))

    def directory(self, at: int, wanted: set[int]) -> tuple[dict[int, tuple[int, ...]], int]:
        """The wanted whole-number tags of the directory at an offset, and the offset of the next one.

        Of a tag that comes again, the first counts, as for Pillow.
        """
        count, entry = ("Q", "HHQ") if self.big else ("H", "HHI")
        (length,) = self.unpack(count, at)
        if length > MOST_ENTRIES:
            raise struct.error(f"{length} entries")
        at += struct.calcsize(self.order + count)
        tags = dict[int, tuple[int, ...]]()
        for _ in range(length):
            tag, kind, times = self.unpack(entry, at)
            at += struct.calcsize(self.order + entry)
            if tag in wanted and tag not in tags and kind in TYPES and times:
                if times > MOST_VALUES:
                    raise struct.error(f"{times} values")
                values = f"{times}{TYPES[kind]}"
                inside = struct.calcsize(self.order + values) <= struct.calcsize(self.order + self.word)
                tags[tag] = self.unpack(values, at if inside else self.unpack(self.word, at)[0])
            at += struct.calcsize(self.order + self.word)
        return tags, self.unpack(self.word, at)[0]


def read_deep(file: BufferedReader, page: Page) -> tuple[UInt16[np.ndarray, "h w c"], int]:
    """The samples of a page with 16 bits each (c = 1 or 3), in its orientation, and the value that stands for white.

    White is 65535, or what the file names as its largest value if that is all the bits of a camera (4095 of 12 bits,
    for example): by the specification other values are statistics. CMYK is resolved without colour management; alpha
    is dropped, after pixels that were multiplied by it are divided again.

    Raises:
        ValueError: the colours are neither grey nor RGB nor CMYK, or the file is damaged.
    """
    photometric = page.first(PHOTOMETRIC)
    colours = {0: 1, 1: 1, 2: 3, 5: 4}.get(photometric)
    count, extra = page.first(SAMPLES), page.tags.get(EXTRA, ())
    several = colours == 1 and count > 2 and count - len(extra) > 1  # colours that are marked as grey: one is not all
    if colours is None or count < colours or several:
        raise ValueError(f"it is {page}, {UNSUPPORTED}")
    samples = _samples(file, page)
    white = 65535
    named = max(page.tags.get(LARGEST, (white,)))
    if 255 < named < white and (named + 1) & named == 0 and samples.max() <= named:
        white = named
    values = samples[:, :, : min(colours, 3)]
    for start in range(0, len(samples), ROWS):  # wide numbers for a few rows at a time
        rows = samples[start : start + ROWS].astype(np.uint32)
        light = rows[:, :, :colours]
        if extra[:1] == (1,) and count > colours:
            alpha = np.maximum(rows[:, :, colours : colours + 1], 1)
            light = np.minimum((light * white + alpha // 2) // alpha, white)
        if photometric in (0, 5):
            light = white - light
        if photometric == 5:  # (white - ink) (white - black) / white
            light = (light[:, :, :3] * light[:, :, 3:] + white // 2) // white
        values[start : start + ROWS] = light
    return orient(values, page.first(ORIENTATION)), white


def orient(values: Num[np.ndarray, "h w *c"], orientation: int) -> Num[np.ndarray, "y x *c"]:
    """Bring stored rows and columns into the order of display, by the tag 274 of TIFF and EXIF."""
    if orientation in (5, 6, 7, 8):
        values = values.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        values = values[:, ::-1]
    return values[::-1] if orientation in (3, 4, 7, 8) else values


def _samples(file: BufferedReader, page: Page) -> UInt16[np.ndarray, "h w s"]:
    """All samples as they are stored.

    Pillow reads 16 bits of grey, but not of colour. Pixels of s samples side by side are the same bytes as a grey image
    that is s times as wide, and samples in planes as s grey images: so they get a directory that says so. A file is
    taken in bands of whole strips or rows of tiles, which fill the samples from the top.
    """
    count, width, height = page.first(SAMPLES), page.first(WIDTH), page.first(HEIGHT)
    planes = count if page.first(PLANAR) == 2 else 1
    side = count // planes
    wide, high, blocks = _blocks(file, page, planes)
    down, across = -(-height // high), -(-width // wide)
    samples = np.empty((height, width, count), np.uint16)
    step = max(1, BAND // (side * wide * across * high))  # rows of blocks per band
    for plane in range(planes):
        for row in range(0, down, step):
            taken = blocks[(plane * down + row) * across :][: min(step, down - row) * across]
            band = samples[row * high : (row + step) * high, :, plane * side : (plane + 1) * side]
            tags = {WIDTH: width * side, HEIGHT: len(band)}
            tags |= {TILE_WIDTH: wide * side, TILE_HEIGHT: high} if TILES in page.tags else {ROWS_PER_STRIP: high}
            band[:] = _grey(file, page, tags, taken).reshape(band.shape)
    if page.first(PREDICTOR) == 2:  # every sample is stored as the difference to its left neighbour in strip or tile
        for x in range(0, width, wide):
            np.cumsum(samples[:, x : x + wide], axis=1, dtype=np.uint16, out=samples[:, x : x + wide])
    return samples


def _blocks(file: BufferedReader, page: Page, planes: int) -> tuple[int, int, list[tuple[int, int]]]:
    """Width and height of the strips or tiles, and offset and size of each, plane by plane.

    Strips without sizes go on to the end of the file. One that is not compressed is taken as several.
    """
    count, width, height = page.first(SAMPLES), page.first(WIDTH), page.first(HEIGHT)
    tiled, side = TILES in page.tags, count // planes
    high = page.first(TILE_HEIGHT) if tiled else min(page.first(ROWS_PER_STRIP, height), height)
    wide = page.first(TILE_WIDTH, width) if tiled else width
    offsets = page.tags.get(TILES if tiled else STRIPS, ())
    end = file.seek(0, io.SEEK_END)
    sizes = page.tags.get(TILE_SIZES if tiled else STRIP_SIZES, (end,) * len(offsets))
    row = 2 * side * wide  # bytes
    if not tiled and high == height and page.first(COMPRESSION) == 1:
        high = min(height, max(1, BAND // max(1, side * wide)))
        starts = range(0, height, high)
        sizes = tuple(max(0, size - row * y) for size in sizes[:planes] for y in starts)
        offsets = tuple(at + row * y for at in offsets[:planes] for y in starts)
    if not (high and wide) or min(len(offsets), len(sizes)) < planes * -(-height // high) * -(-width // wide):
        raise ValueError("its directory is damaged")
    if side * wide * high > LARGEST_BLOCK or count * width * height > 5 * limits.MOST_PIXELS:
        raise ValueError(f"it is {page}, compressed as one block of {wide} x {high} pixels: save it in smaller ones")
    most = 2 * row * high + HEAD  # none grows so much by compression
    return wide, high, [(at, min(size, most)) for at, size in zip(offsets, sizes, strict=False)]


def _grey(
    file: BufferedReader, page: Page, tags: Mapping[int, int], blocks: Sequence[tuple[int, int]]
) -> UInt16[np.ndarray, "h w"]:
    """Some blocks of a file as one grey image of 16 bits, whose size the tags tell."""
    data, offsets = bytearray(8), list[int]()
    for at, size in blocks:
        file.seek(at)
        offsets.append(len(data))
        data += file.read(size)
    sizes = [end - start for start, end in zip(offsets, [*offsets[1:], len(data)], strict=True)]
    tiled = TILE_WIDTH in tags
    every: dict[int, Sequence[int]] = {tag: (value,) for tag, value in tags.items()}
    every |= {BITS: (16,), SAMPLES: (1,), PHOTOMETRIC: (1,)}
    every |= {tag: page.tags[tag] for tag in (COMPRESSION, FILL_ORDER) if tag in page.tags}
    every |= {TILES: offsets, TILE_SIZES: sizes} if tiled else {STRIPS: offsets, STRIP_SIZES: sizes}
    with Image.open(io.BytesIO(with_directory(data, every, page.order)), formats=["TIFF"]) as image:
        return np.asarray(image).astype(np.uint16, copy=False)


def with_directory(data: bytearray, tags: Mapping[int, Sequence[int]], order: str) -> bytes:
    """A TIFF of pixels, of which the first 8 bytes are free, and of one directory of 32-bit values."""
    data += bytes(len(data) % 2)
    entries, values = b"", b""
    end = len(data) + 2 + 12 * len(tags) + 4
    for tag, numbers in sorted(tags.items()):
        packed = struct.pack(f"{order}{len(numbers)}I", *numbers)
        if len(numbers) > 1:
            packed, values = struct.pack(order + "I", end + len(values)), values + packed
        entries += struct.pack(order + "HHI", tag, 4, len(numbers)) + packed
    data[:8] = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", len(data))
    return b"".join([data, struct.pack(order + "H", len(tags)), entries, bytes(4), values])
