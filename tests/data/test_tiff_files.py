"""TIFF files as wholes: several pages, damage, what is refused, and how large and slow it may be."""

import struct
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from geseg.data import limits
from geseg.data.images import read_image
from geseg.errors import ImageError

Tiff = Pages = Callable[..., bytes]
NONE, LZW, DEFLATE, PACKBITS = COMPRESSIONS = 1, 5, 8, 32773


def read(path: Path, data: bytes) -> np.ndarray:
    path.write_bytes(data)
    return read_image(path)


def refused(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    with pytest.raises(ImageError) as caught:
        read_image(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def noise(channels: int, dtype: type = np.uint16, shape: tuple[int, int] = (37, 45)) -> np.ndarray:
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max + 1, (*shape, channels), dtype)


@pytest.fixture
def pages(tiff: Tiff) -> Callable[..., bytes]:
    """Gives pages of constant brightness 10, 20, ... with marks for the tag that says what a page is to the others."""

    def make(*marks: int) -> bytes:
        data, link = b"", 4
        for number, mark in enumerate(marks):
            samples = np.full((2, 3, 1), 10 * (number + 1), np.uint8)
            page = tiff(samples, tags={254: [mark], 273: [len(data) + 8]})
            (at,) = struct.unpack_from("<I", page, 4)
            data = data[:link] + struct.pack("<I", len(data) + at) + data[link + 4 :] if data else data
            end = len(data) + at + 2 + 12 * struct.unpack_from("<H", page, at)[0]
            data, link = data + page, end
        return data

    return make


def test_of_several_pages_one_must_be_the_photograph(tmp_path: Path, pages: Pages) -> None:
    assert (read(tmp_path / "a.tif", pages(0)) == 10).all()
    assert (read(tmp_path / "a.tif", pages(0, 1, 4, 5)) == 10).all(), "a small copy, a mask, and both"
    assert (read(tmp_path / "a.tif", pages(1, 0)) == 20).all(), "a thumbnail first"
    assert (read(tmp_path / "a.tif", pages(1)) == 10).all(), "nothing else there"
    for marks in [(0, 0), (0, 0, 1), (0, 2)]:
        assert "it holds 2 pages, expected one: save the right one as a file of its own" in refused(
            tmp_path / "a.tif", pages(*marks)
        )
    Image.new("L", (4, 4)).save(tmp_path / "b.tif", save_all=True, append_images=[Image.new("L", (4, 4))] * 2)
    assert "it holds 3 pages" in refused(tmp_path / "b.tif", (tmp_path / "b.tif").read_bytes())


def test_what_follows_the_first_page_may_be_damaged(tmp_path: Path, pages: Pages) -> None:
    data = pages(0, 1)
    for cut in (1, 20, 100):
        assert (read(tmp_path / "a.tif", data[:-cut]) == 10).all()


def test_pages_in_a_circle_come_to_an_end(tmp_path: Path, pages: Pages) -> None:
    data = pages(0)
    (at,) = struct.unpack_from("<I", data, 4)
    end = at + 2 + 12 * struct.unpack_from("<H", data, at)[0]
    assert (read(tmp_path / "a.tif", data[:end] + struct.pack("<I", at) + data[end + 4 :]) == 10).all()


def test_big_tiff(tmp_path: Path, tiff: Tiff) -> None:
    samples = noise(3, np.uint8)
    Image.fromarray(samples).save(tmp_path / "a.tif", big_tiff=True)
    assert (tmp_path / "a.tif").read_bytes()[:4] == b"II+\0"
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), samples)
    deep = noise(1)[:, :, 0]
    Image.fromarray(deep).save(tmp_path / "a.tif", big_tiff=True, compression="tiff_lzw")
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif")[:, :, 0], np.rint(deep / 257))


@pytest.mark.parametrize(
    ("channels", "dtype", "tags", "reason"),
    [
        (1, np.float32, {339: [3]}, "has float32 pixels; expected 8 or 16 bits per channel: convert it"),
        (
            3,
            np.float32,
            {339: [3] * 3},
            "it is a TIFF of 32+32+32 floating-point bits, RGB, compression 1",
        ),
        (1, np.float64, {339: [3]}, "it is a TIFF of 64 floating-point bits, grey, compression 1"),
        (1, np.float16, {339: [3]}, "it is a TIFF of 16 floating-point bits, grey, compression 1"),
        (3, np.uint16, {262: [8]}, "it is a TIFF of 16+16+16 bits, Lab, compression 1, which is not supported"),
        (1, np.uint16, {262: [3]}, "it is a TIFF of 16 bits, palette, compression 1"),
        (1, np.uint16, {262: [32803]}, "it is a TIFF of 16 bits, photometric 32803, compression 1"),
        (
            3,
            np.uint16,
            {262: [1], 338: []},
            "it is a TIFF of 16+16+16 bits, grey, compression 1, which is not supported",
        ),
        (
            3,
            np.uint16,
            {262: [], 338: []},
            "it is a TIFF of 16+16+16 bits, grey, compression 1, which is not supported",
        ),
        (3, np.uint8, {259: [34712]}, "it is a TIFF of 8+8+8 bits, RGB, compression 34712"),
        (3, np.uint16, {259: [34712]}, "it is a TIFF of 16+16+16 bits, RGB, compression 34712"),
    ],
)
def test_kinds_that_are_refused(
    tmp_path: Path, tiff: Tiff, channels: int, dtype: type, tags: dict[int, list[int]], reason: str
) -> None:
    assert reason in refused(tmp_path / "a.tif", tiff(noise(channels).astype(dtype), tags=tags))


def test_files_without_a_page(tmp_path: Path) -> None:
    assert "its directory is damaged" in refused(tmp_path / "a.tif", b"II*\0" + b"\xff" * 50)
    assert "it holds no page" in refused(tmp_path / "a.tif", b"II*\0" + bytes(50))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_pixels_that_end_early(tmp_path: Path, tiff: Tiff, dtype: type, compression: int) -> None:
    """The strip begins 100 bytes before the end of the file."""
    samples = noise(3, dtype)
    whole = tiff(samples, compression=compression)
    reason = refused(tmp_path / "a.tif", tiff(samples, compression=compression, tags={273: [len(whole) - 100]}))
    assert "its compressed pixels are damaged" in reason or "image file is truncated" in reason


def test_bombs(tmp_path: Path, tiff: Tiff, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MOST_PIXELS", 37 * 45)
    for dtype in (np.uint8, np.uint16):
        read(tmp_path / "a.tif", tiff(noise(3, dtype)))
    monkeypatch.setattr(limits, "MOST_PIXELS", 37 * 45 - 1)
    for dtype in (np.uint8, np.uint16):
        assert "decompression bomb" in refused(tmp_path / "a.tif", tiff(noise(3, dtype)))


def test_deep_photographs_are_read_quickly(tmp_path: Path, tiff: Tiff) -> None:
    (tmp_path / "a.tif").write_bytes(tiff(noise(3, shape=(1500, 2000)), compression=DEFLATE, block=64))
    start = time.perf_counter()
    read_image(tmp_path / "a.tif")
    assert time.perf_counter() - start < 2, "0.3 s on a usual computer"
