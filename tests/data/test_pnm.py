"""PBM, PGM and PPM: every kind and depth, gzipped too, and nothing read beyond what a header announces."""

import gzip
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from geseg.data import pnm
from geseg.data.images import read_image, read_mask, read_pixels
from geseg.errors import ImageError


def pnm_bytes(samples: np.ndarray, white: int, plain: bool, comment: bytes = b"") -> bytes:
    """A PGM or PPM by its specification; `samples` has the shape (h, w, 1 or 3)."""
    height, width, channels = samples.shape
    kind = (2 if channels == 1 else 3) + (0 if plain else 3)
    head = b"P%d\n%s%d %d\n%d\n" % (kind, comment, width, height, white)
    if plain:
        return head + b"\n".join(b" ".join(b"%d" % value for value in row) for row in samples.reshape(height, -1))
    return head + samples.astype(">u2" if white > 255 else "u1").tobytes()


@given(
    shape=st.tuples(st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3])),
    white=st.sampled_from([1, 15, 100, 255, 256, 1023, 4095, 65534, 65535]),
    plain=st.booleans(),
    packed=st.booleans(),
    seed=st.integers(0, 99),
)
def test_every_kind_is_scaled_by_its_largest_value(
    tmp_path_factory: pytest.TempPathFactory,
    shape: tuple[int, int, int],
    white: int,
    plain: bool,
    packed: bool,
    seed: int,
) -> None:
    samples = np.random.default_rng(seed).integers(0, white + 1, shape)
    data = pnm_bytes(samples, white, plain, b"# by hand, 3 4 5\n")
    path = tmp_path_factory.mktemp("a") / "a.ppm"
    path.write_bytes(gzip.compress(data) if packed else data)
    expected = np.floor(samples * 255 / white + 0.5) * np.ones(3)
    np.testing.assert_array_equal(read_image(path), expected)
    full = 255 if white == 255 else 65535
    np.testing.assert_array_equal(read_pixels(path), np.floor(samples * full / white + 0.5))


@pytest.mark.parametrize("width", [1, 7, 8, 9, 17])
@pytest.mark.parametrize("plain", [False, True])
def test_bitmaps_have_black_ones(tmp_path: Path, width: int, plain: bool) -> None:
    black = np.random.default_rng(0).random((3, width)) < 0.5
    black[0, 0], black[1, 0] = True, False
    digits = b"\n".join(bytes(48 + row) for row in black.astype(np.uint8))  # the format needs no spaces
    raster = digits if plain else np.packbits(black, axis=1).tobytes()
    (tmp_path / "a.pbm").write_bytes(b"P%d %d 3\n" % (1 if plain else 4, width) + raster)
    np.testing.assert_array_equal(read_image(tmp_path / "a.pbm")[:, :, 1], np.where(black, 0, 255))
    np.testing.assert_array_equal(read_mask(tmp_path / "a.pbm"), ~black)


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "I;16"])
def test_files_of_pillow(tmp_path: Path, mode: str) -> None:
    """Written by another program: 1 bit, 8 bits grey and colour, 16 bits grey."""
    grey = np.random.default_rng(0).integers(0, 256, (5, 9), np.uint8)
    if mode == "I;16":
        Image.fromarray(grey.astype(np.uint16) * np.uint16(257)).save(tmp_path / "a.pgm")
    else:
        Image.fromarray(grey).convert(mode, dither=Image.Dither.NONE).save(tmp_path / "a.ppm")
    (path,) = tmp_path.iterdir()
    expected = np.where(grey > 127, 255, 0) if mode == "1" else grey
    np.testing.assert_array_equal(read_image(path), np.dstack([expected] * 3))


@pytest.mark.parametrize("values", [(0, 1), (0, 255), (0, 7)])
def test_labels(tmp_path: Path, values: tuple[int, int]) -> None:
    mask = np.array([[True, False, True], [False, False, True]])
    data = pnm_bytes(np.where(mask, *values[::-1])[:, :, None], 255, plain=False)
    (tmp_path / "a.pgm.gz").write_bytes(gzip.compress(data))
    np.testing.assert_array_equal(read_mask(tmp_path / "a.pgm.gz"), mask)


GREY = b"P5 3 2 255\n"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (GREY + b"12345", "it ends after 5 of its 6 bytes of pixels"),
        (GREY + b"123456 P5", "it goes on after its pixels; expected one image per file"),
        (GREY + b"123456" + GREY + b"123456", "it goes on after its pixels; expected one image per file"),
        (b"P5 3 2\n", "it names no largest value in its header"),
        (b"P5 3 2 0\n123456", "the largest value in its header is 0, expected 1 to 65535"),
        (b"P5 3 2 70000\n123456", "the largest value in its header is 70000, expected 1 to 65535"),
        (b"P5 0 2 255\n", "it has 0 x 2 pixels"),
        (b"P5 -1 2 255\n", "it holds no PBM, PGM or PPM, or one with a damaged header"),
        (b"P5 3 2 100\n" + b"\x01\x02\xc8\x01\x01\x01", "it has a value of 200, above the largest of its header, 100"),
        (b"P2 3 2 255\n1 2 3 4 5", "it has 5 numbers, expected 6 from 0 to 65535"),
        (b"P2 3 2 255\n1 2 3 4 5 6 7", "it has 7 numbers, expected 6 from 0 to 65535"),
        (b"P2 3 2 255\n1 2 3 4 5 -6", "it has other characters than digits"),
        (b"P2 3 2 255\n1 2 3 4 5 x", "it has other characters than digits"),
        (b"P5 99999999 99999999 255\n", "it has 99999999 x 99999999 pixels, more than the 120 megapixels"),
        (b"P6" + b" " * 70000 + b"3 2 255\n", "it holds no PBM, PGM or PPM, or one with a damaged header"),
    ],
)
@pytest.mark.parametrize("packed", [False, True])
def test_damaged_files(tmp_path: Path, data: bytes, reason: str, packed: bool) -> None:
    path = tmp_path / "a.pgm"
    path.write_bytes(gzip.compress(data) if packed else data)
    with pytest.raises(ImageError) as caught:
        read_image(path)
    assert str(caught.value).startswith(f"{path} cannot be read as an image: {reason}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda data: data[:-12], "Compressed file ended before the end-of-stream marker was reached"),
        (lambda data: data[: len(data) // 2], "Compressed file ended before the end-of-stream marker was reached"),
        (lambda data: data[:-8] + bytes(8), "CRC check failed"),
        (lambda data: gzip.compress(b"GIF89a" + data), "it holds no PBM, PGM or PPM, or one with a damaged header"),
    ],
    ids=["without its end", "half", "another checksum", "another format"],
)
def test_damaged_gzip(tmp_path: Path, change: object, reason: str) -> None:
    data = gzip.compress(pnm_bytes(np.random.default_rng(0).integers(0, 256, (50, 60, 3)), 255, plain=False))
    (tmp_path / "a.ppm.gz").write_bytes(change(data))  # type: ignore[operator]
    with pytest.raises(ImageError, match=reason):
        read_image(tmp_path / "a.ppm.gz")


@pytest.mark.parametrize("kind", [b"P5", b"P2"])
def test_a_bomb_is_not_unpacked(tmp_path: Path, kind: bytes) -> None:
    """20 MB in 20 kB."""
    (tmp_path / "a.pgm.gz").write_bytes(gzip.compress(kind + b" 9 9 255\n" + b"0 " * 10_000_000, 6))
    tracemalloc.start()
    with pytest.raises(ImageError):
        read_image(tmp_path / "a.pgm.gz")
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 2e6


def test_what_is_recognised() -> None:
    assert all(pnm.is_pnm(b"P%d" % kind) for kind in range(1, 7))
    assert not any(map(pnm.is_pnm, (b"P7", b"P0", b"PN", b"", b"P")))


def test_large_files_are_read_quickly(tmp_path: Path) -> None:
    """Pillow scales by a largest value other than 255 pixel by pixel, in Python."""
    samples = np.random.default_rng(0).integers(0, 4096, (1500, 2000, 3))
    (tmp_path / "a.ppm").write_bytes(pnm_bytes(samples, 4095, plain=False))
    start = time.perf_counter()
    read_image(tmp_path / "a.ppm")
    assert time.perf_counter() - start < 1, "0.1 s on a usual computer"


def test_photographs_of_stare(real_data: Path) -> None:
    path = real_data / "STARE" / "stare-images" / "im0001.ppm.gz"
    raw = gzip.decompress(path.read_bytes())
    expected = np.frombuffer(raw[-605 * 700 * 3 :], np.uint8).reshape(605, 700, 3)
    np.testing.assert_array_equal(read_image(path), expected)
    assert 0.05 < read_mask(real_data / "STARE" / "labels-ah" / "im0001.ah.ppm.gz").mean() < 0.15
