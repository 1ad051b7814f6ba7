"""PNG of 1 to 16 bits, against files written by hand."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from geseg.data.images import read_image, read_mask

COLOURS = {1: 0, 2: 4, 3: 2, 4: 6}
"""PNG's colour type for a number of channels."""


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(head: bytes, rows: np.ndarray, palette: bytes = b"") -> bytes:
    """A PNG by its specification: the contents of its header, and the bytes of its rows, none of them filtered."""
    data = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row.tobytes() for row in rows)))
    colours = chunk(b"PLTE", palette) if palette else b""
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + colours + data + chunk(b"IEND", b"")


def png16(values: np.ndarray) -> bytes:
    """A PNG with 16 bits per channel, which Pillow cannot write in colour."""
    height, width, channels = values.shape
    return png(struct.pack(">IIBBBBB", width, height, 16, COLOURS[channels], 0, 0, 0), values.astype(">u2"))


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_16_bit_png_is_divided_by_257(tmp_path: Path, rng: np.random.Generator, channels: int) -> None:
    values = rng.integers(0, 2**16, (30, 20, channels))
    (tmp_path / "a.png").write_bytes(png16(values))
    expected = np.rint(values[:, :, :3] / 257) * np.ones(3)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), expected)


def test_16_bit_grey_with_alpha(tmp_path: Path, rng: np.random.Generator) -> None:
    values = rng.integers(0, 2**16, (30, 20, 2))
    (tmp_path / "a.png").write_bytes(png16(values))
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), np.rint(values[:, :, :1] / 257) * np.ones(3))


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_png_of_few_bits(tmp_path: Path, rng: np.random.Generator, bits: int) -> None:
    """Grey values fill the range; indices of a palette do not."""
    values = rng.integers(0, 2**bits, (5, 8))
    shifts = np.arange(8 - bits, -1, -bits)
    rows = (values.reshape(5, -1, 8 // bits) << shifts).sum(axis=2).astype(np.uint8)
    for colour_type, palette in ((0, b""), (3, rng.integers(0, 256, 3 * 2**bits, np.uint8).tobytes())):
        head = struct.pack(">IIBBBBB", 8, 5, bits, colour_type, 0, 0, 0)
        (tmp_path / "a.png").write_bytes(png(head, rows, palette))
        expected = np.frombuffer(palette, np.uint8).reshape(-1, 3)[values] if palette else values * 255 // (2**bits - 1)
        np.testing.assert_array_equal(
            read_image(tmp_path / "a.png"), expected if palette else np.dstack([expected] * 3)
        )


def test_16_bit_grey_with_alpha_is_turned(tmp_path: Path, rng: np.random.Generator) -> None:
    values = rng.integers(0, 2**16, (3, 5, 2))
    exif = Image.Exif()
    exif[0x0112] = 6
    data = png16(values)
    (tmp_path / "a.png").write_bytes(data[:33] + chunk(b"eXIf", exif.tobytes().removeprefix(b"Exif\0\0")) + data[33:])
    expected = np.rot90(np.rint(values[:, :, 0] / 257), -1)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png")[:, :, 0], expected)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("high", [1, 65535])
def test_16_bit_labels(tmp_path: Path, channels: int, high: int) -> None:
    mask = np.array([[True, False, True], [False, False, True]])
    values = np.repeat(np.where(mask, high, 0)[:, :, None], channels, axis=2)
    if channels in (2, 4):
        values[:, :, -1] = 65535  # opaque
    (tmp_path / "a.png").write_bytes(png16(values))
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png"), mask)
