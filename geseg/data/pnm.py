"""PBM, PGM and PPM files, also gzipped: at any depth, and without ever reading more than their headers announce.

Formats P1 to P6 of https://netpbm.sourceforge.net/doc/ (pbm.html, pgm.html, ppm.html). Pillow rounds more than 8 bits
per colour, needs seconds for a maximum other than 255, and does not open gzipped files.
"""

import gzip
import math
import re
from collections.abc import Iterator
from contextlib import nullcontext
from io import BufferedReader

import numpy as np
from jaxtyping import Int64, UInt8, UInt16

from geseg.data import limits

GZIP = b"\x1f\x8b"
MAGIC = tuple(b"P%d" % kind for kind in range(1, 7))
HEAD = 2**16
"""Bytes within which a header must end; also how far a file is followed beyond its pixels."""
BLOCK = 2**20
"""Bytes that are read at once."""
PLAIN_SAMPLE = 16
"""Bytes that one number of a plain (decimal) file may take, with the spaces around it."""
LONGEST_NUMBER = 64
"""Digits; only zeros in front make one so long."""
SPACES = (b" ", b"\n", b"\t", b"\r", b"\v", b"\f")

GAP = rb"(?:\s|#[^\n]*\n)+"
HEADER = re.compile(rb"P([1-6])" + GAP + rb"(\d{1,9})" + GAP + rb"(\d{1,9})")
LARGEST = re.compile(GAP + rb"(\d{1,9})")


def is_pnm(start: bytes) -> bool:
    """Whether a file that starts with these two bytes is for `read`."""
    return start == GZIP or start in MAGIC


def read(file: BufferedReader) -> tuple[UInt8[np.ndarray, "h w c"] | UInt16[np.ndarray, "h w c"], int]:
    """The samples of an open file (c = 1 or 3), and the value that stands for white.

    Raises:
        ValueError: what is wrong with the file.
        OSError, EOFError, zlib.error: it cannot be read or unpacked.
    """
    file.seek(0)
    packed = file.read(2) == GZIP
    file.seek(0)
    with gzip.GzipFile(fileobj=file) if packed else nullcontext(file) as stream:
        return _read(stream)


def _read(
    stream: gzip.GzipFile | BufferedReader,
) -> tuple[UInt8[np.ndarray, "h w c"] | UInt16[np.ndarray, "h w c"], int]:
    head = stream.read(HEAD)
    if not (header := HEADER.match(head)):
        raise ValueError("it holds no PBM, PGM or PPM, or one with a damaged header")
    kind, width, height = (int(number) for number in header.groups())
    end, white = header.end(), 1
    if kind not in (1, 4):
        if not (largest := LARGEST.match(head, end)):
            raise ValueError("it names no largest value in its header")
        end, white = largest.end(), int(largest[1])
    if not 0 < white < 2**16:
        raise ValueError(f"the largest value in its header is {white}, expected 1 to 65535")
    limits.check_pixels(width, height)
    shape = (height, width, 3 if kind in (3, 6) else 1)
    rest = Rest(head[end + 1 :], stream)  # one white-space character ends the header
    samples = _plain(rest, shape, kind) if kind < 4 else _binary(rest, shape, kind, white)
    if samples.max() > white:
        raise ValueError(f"it has a value of {samples.max()}, above the largest of its header, {white}")
    return samples.astype(np.min_scalar_type(white), copy=False), white


class Rest:
    """What follows a header: the bytes that were read along with it, then the stream."""

    def __init__(self, start: bytes, stream: gzip.GzipFile | BufferedReader) -> None:
        self.start, self.stream = start, stream

    def read(self, size: int) -> bytearray:
        """As many bytes, or all that there are, without making room for more than these."""
        data = bytearray(self.start[:size])
        self.start = self.start[size:]
        while len(data) < size and (block := self.stream.read(min(BLOCK, size - len(data)))):
            data += block
        return data


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
    samples, done, fit = np.empty(math.prod(shape), np.uint16), 0, True
    for text in _texts(rest, samples.size * PLAIN_SAMPLE + HEAD, kind):
        numbers = _numbers(text, kind)
        fit = fit and not ((numbers < 0) | (numbers >= 2**16)).any()
        part = samples[done : done + len(numbers)]
        part[:] = numbers[: len(part)]
        done += len(numbers)
        if done > samples.size:
            break
    if done != samples.size or not fit:
        raise ValueError(f"it has {done} numbers, expected {samples.size} from 0 to 65535")
    return 1 - samples.reshape(shape) if kind == 1 else samples.reshape(shape)


def _texts(rest: Rest, most: int, kind: int) -> Iterator[bytes]:
    """What follows, up to so many bytes, in parts of whole numbers; without comments, from # to the end of a line."""
    begun, comment = b"", False
    while most > 0 and (block := bytes(rest.read(min(BLOCK, most)))):
        most -= len(block)
        if comment:
            block = block[block.find(b"\n") :] if b"\n" in block else b""
        text, mark, _ = re.sub(rb"#[^\n]*\n", b"\n", block).partition(b"#")
        comment = bool(mark) or (comment and not block)
        text = begun + text
        cut = len(text) if kind == 1 or comment else max(text.rfind(space) for space in SPACES) + 1
        begun = text[cut:]
        if len(begun) > LONGEST_NUMBER:
            raise ValueError(f"it has a number of more than {LONGEST_NUMBER} digits")
        yield text[:cut]
    yield begun


def _numbers(text: bytes, kind: int) -> Int64[np.ndarray, " n"]:
    if kind == 1:  # its digits need no space between them
        digits = text.translate(None, b"".join(SPACES))
        if digits.strip(b"01"):
            raise ValueError("it has other characters than 0 and 1")
        return np.frombuffer(digits, np.uint8).astype(np.int64) - ord("0")
    if text.translate(None, b"0123456789" + b"".join(SPACES)):
        raise ValueError("it has other characters than digits")
    return np.fromstring(text.decode("ascii"), np.int64, sep=" ") if text.strip() else np.empty(0, np.int64)
