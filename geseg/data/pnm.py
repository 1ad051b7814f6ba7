"""PBM, PGM and PPM files, also gzipped: at any depth, and without ever reading more than their headers announce.

Formats P1 to P6 of https://netpbm.sourceforge.net/doc/ (pbm.html, pgm.html, ppm.html). Pillow rounds more than 8 bits
per colour, needs seconds for a maximum other than 255, and does not open gzipped files.
"""

import gzip
import math
import re
import warnings
from contextlib import nullcontext
from io import BufferedIOBase
from pathlib import Path

import numpy as np
from jaxtyping import UInt8, UInt16
from PIL import Image

GZIP = b"\x1f\x8b"
MAGIC = tuple(b"P%d" % kind for kind in range(1, 7))
HEAD = 2**16
"""Bytes within which a header must end; also how far a file is followed beyond its pixels."""
PLAIN_SAMPLE = 16
"""Bytes that one number of a plain (decimal) file may take, with the spaces around it."""

GAP = rb"(?:\s|#[^\n]*\n)+"
HEADER = re.compile(rb"P([1-6])" + GAP + rb"(\d{1,9})" + GAP + rb"(\d{1,9})")
LARGEST = re.compile(GAP + rb"(\d{1,9})")


def is_pnm(start: bytes) -> bool:
    """Whether a file that starts with these two bytes is for `read`."""
    return start == GZIP or start in MAGIC


def read(path: Path) -> tuple[UInt8[np.ndarray, "h w c"] | UInt16[np.ndarray, "h w c"], int]:
    """The samples of a file (c = 1 or 3), and the value that stands for white.

    Raises:
        ValueError: what is wrong with the file.
        OSError, EOFError, zlib.error: it cannot be read or unpacked.
    """
    with path.open("rb") as file:
        packed = file.read(2) == GZIP
        file.seek(0)
        with gzip.GzipFile(fileobj=file) if packed else nullcontext(file) as stream:
            return _read(stream)


def _read(stream: BufferedIOBase) -> tuple[UInt8[np.ndarray, "h w c"] | UInt16[np.ndarray, "h w c"], int]:
    head = stream.read(HEAD)
    if not (header := HEADER.match(head)):
        raise ValueError("it holds no PBM, PGM or PPM, or one with a damaged header")
    kind, width, height = (int(number) for number in header.groups())
    end, white = header.end(), 1
    if kind not in (1, 4):
        if not (largest := LARGEST.match(head, end)):
            raise ValueError("it names no largest value in its header")
        end, white = largest.end(), int(largest[1])
    _check(width, height, white)
    shape = (height, width, 3 if kind in (3, 6) else 1)
    rest = Rest(head[end + 1 :], stream)  # one white-space character ends the header
    samples = _plain(rest, shape, kind) if kind < 4 else _binary(rest, shape, kind, white)
    if samples.max() > white:
        raise ValueError(f"it has a value of {samples.max()}, above the largest of its header, {white}")
    return samples.astype(np.min_scalar_type(white), copy=False), white


def _check(width: int, height: int, white: int) -> None:
    if not 0 < white < 2**16:
        raise ValueError(f"the largest value in its header is {white}, expected 1 to 65535")
    if not width * height:
        raise ValueError(f"it has {width} x {height} pixels")
    if Image.MAX_IMAGE_PIXELS is not None and width * height > Image.MAX_IMAGE_PIXELS:
        raise ValueError(f"it announces {width} x {height} pixels, could be a decompression bomb")


class Rest:
    """What follows a header: the bytes that were read along with it, then the stream."""

    def __init__(self, start: bytes, stream: BufferedIOBase) -> None:
        self.start, self.stream = start, stream

    def read(self, size: int) -> bytes:
        start, self.start = self.start[:size], self.start[size:]
        return start + self.stream.read(size - len(start))


def _binary(
    rest: Rest, shape: tuple[int, int, int], kind: int, white: int
) -> UInt8[np.ndarray, "h w c"] | UInt16[np.ndarray, "h w c"]:
    height, width, channels = shape
    dtype = np.dtype(">u2" if white > 255 else np.uint8)
    size = height * (-(-width // 8) if kind == 4 else width * channels * dtype.itemsize)
    data = rest.read(size)
    if len(data) < size:
        raise ValueError(f"it ends after {len(data)} of its {size} bytes of pixels")
    if rest.read(HEAD).strip():  # reads on to the checksum of a gzipped file, too
        raise ValueError("it goes on after its pixels; expected one image per file")
    if kind == 4:  # rows of bits, filled up to whole bytes; 1 is black
        bits = np.unpackbits(np.frombuffer(data, np.uint8).reshape(height, -1), axis=1, count=width)
        return (1 - bits)[:, :, None]
    return np.frombuffer(data, dtype).reshape(shape).astype(dtype.newbyteorder("="), copy=False)


def _plain(rest: Rest, shape: tuple[int, int, int], kind: int) -> UInt16[np.ndarray, "h w c"]:
    count = math.prod(shape)
    text = rest.read(count * PLAIN_SAMPLE + HEAD)
    text = re.sub(rb"#[^\n]*", b"", text)
    if kind == 1:  # its digits need no space between them
        text = b" ".join(re.findall(rb"\S", text))
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)  # numpy's word for what is no number
        numbers = np.fromstring(text.decode("ascii"), np.int64, sep=" ")
    if len(numbers) != count or numbers.min() < 0 or numbers.max() >= 2**16:
        raise ValueError(f"it has {len(numbers)} numbers, expected {count} from 0 to 65535")
    samples = numbers.astype(np.uint16).reshape(shape)
    return 1 - samples if kind == 1 else samples
