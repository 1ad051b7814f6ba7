"""TIFF: every depth, byte order, compression, arrangement and kind of colour, against files written by hand."""

import itertools
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from geseg.data import tiff as tiff_file
from geseg.data.images import read_image, read_mask

Tiff = Callable[..., bytes]
MASK = np.array([[True, False, True], [False, False, True]])
NONE, LZW, DEFLATE, PACKBITS = COMPRESSIONS = 1, 5, 8, 32773


def read(path: Path, data: bytes) -> np.ndarray:
    path.write_bytes(data)
    return read_image(path)


def noise(channels: int, dtype: type = np.uint16, shape: tuple[int, int] = (37, 45)) -> np.ndarray:
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max + 1, (*shape, channels), dtype)


def grey(values: np.ndarray) -> np.ndarray:
    return np.repeat(values, 3, axis=2)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_depths_byte_orders_compressions_and_arrangements(
    tmp_path: Path, tiff: Tiff, dtype: type, order: str, channels: int, compression: int
) -> None:
    samples = noise(channels, dtype)
    expected = np.floor(samples[:, :, :3] * (255 / np.iinfo(dtype).max) + 0.5) * np.ones(3)
    for planar, block, predictor in itertools.product([False, True], [None, 7, (16, 32)], [False, True]):
        if (planar and channels == 1) or (predictor and compression in (NONE, PACKBITS)):
            continue
        found = read(tmp_path / "a.tif", tiff(samples, order, compression, planar, block, predictor))
        np.testing.assert_array_equal(found, expected, err_msg=f"{planar=} {block=} {predictor=}")


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_white_may_be_0(tmp_path: Path, tiff: Tiff, order: str, dtype: type) -> None:
    samples, white = noise(1, dtype), np.iinfo(dtype).max
    found = read(tmp_path / "a.tif", tiff(samples, order, tags={262: [0]}))
    np.testing.assert_array_equal(found, grey(np.rint((white - samples.astype(int)) * 255 / white)))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(
    ("named", "brightest", "white"),
    [(4095, 4095, 4095), (1023, 1000, 1023), (4095, 5000, 65535), (3000, 3000, 65535), (255, 200, 65535)],
    ids=["12 bits", "10 bits", "brighter than that", "statistics", "8 bits"],
)
def test_12_bits_in_16_are_scaled_where_the_file_tells(
    tmp_path: Path, tiff: Tiff, order: str, channels: int, named: int, brightest: int, white: int
) -> None:
    samples = noise(channels) % (brightest + 1)
    found = read(tmp_path / "a.tif", tiff(samples, order, tags={281: [named] * channels}))
    np.testing.assert_array_equal(found, np.floor(samples * (255 / white) + 0.5) * np.ones(3))


def test_12_bits_packed(tmp_path: Path, tiff: Tiff) -> None:
    samples = noise(1)[:, :44] % 4096
    pairs = samples.reshape(-1, 2).astype(np.uint32)
    packed = ((pairs[:, 0] << 12 | pairs[:, 1]) << 8).astype(">u4").view(np.uint8).reshape(37, -1, 4)[:, :, :3]
    found = read(tmp_path / "a.tif", tiff(packed.reshape(37, -1, 1), tags={256: [44], 258: [12]}))
    np.testing.assert_array_equal(found, grey(np.floor(samples * (255 / 4095) + 0.5)))


@pytest.mark.parametrize("order", ["<", ">"])
def test_16_bit_grey_with_alpha(tmp_path: Path, tiff: Tiff, order: str) -> None:
    samples = noise(2)
    found = read(tmp_path / "a.tif", tiff(samples, order))
    np.testing.assert_array_equal(found, grey(np.rint(samples[:, :, :1] / 257)))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_colours_that_were_multiplied_by_alpha(tmp_path: Path, tiff: Tiff, order: str, dtype: type) -> None:
    samples = noise(4, dtype)
    samples[:, :, :3] = np.minimum(samples[:, :, :3], samples[:, :, 3:])
    samples[0, 0] = 0
    found = read(tmp_path / "a.tif", tiff(samples, order, tags={338: [1]}))
    expected = samples[:, :, :3] / np.maximum(samples[:, :, 3:], 1) * 255
    assert np.abs(found - expected).max() <= (1 if dtype == np.uint8 else 0.51)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_cmyk(tmp_path: Path, tiff: Tiff, order: str, planar: bool, dtype: type) -> None:
    samples, white = noise(4, dtype), np.iinfo(dtype).max
    found = read(tmp_path / "a.tif", tiff(samples, order, DEFLATE, planar, tags={262: [5], 338: []}))
    light = 1 - samples / white
    expected = light[:, :, :3] * light[:, :, 3:] * 255
    assert np.abs(found - expected).max() < (1 if dtype == np.uint8 else 0.51)


@pytest.mark.parametrize("tags", [{262: [5], 338: []}, {338: [1]}], ids=["CMYK", "alpha"])
def test_16_bits_take_as_much_memory_as_limits_say(
    tmp_path: Path, tiff: Tiff, tags: dict[int, list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiff_file, "BAND", 2**18)  # of an image as large as this would be to the largest
    (tmp_path / "a.tif").write_bytes(tiff(noise(4, shape=(1500, 2000)), tags=tags))
    tracemalloc.start()
    read_image(tmp_path / "a.tif")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 18 * 1500 * 2000


@pytest.mark.parametrize("compression", [NONE, LZW])
def test_ycbcr(tmp_path: Path, tiff: Tiff, compression: int) -> None:
    samples = noise(3, np.uint8, (6, 8))
    found = read(tmp_path / "a.tif", tiff(samples, compression=compression, tags={262: [6], 530: [1, 1]}))
    y, b, r = np.moveaxis(samples.astype(float), -1, 0) - np.array([0, 128, 128]).reshape(3, 1, 1)
    expected = np.stack([y + 1.402 * r, y - 0.344136 * b - 0.714136 * r, y + 1.772 * b], axis=-1).clip(0, 255)
    assert np.abs(found - expected).max() <= 1


def test_jpeg_within_tiff(tmp_path: Path) -> None:
    y, x = np.mgrid[:64, :64]
    colours = np.dstack([2 * y + x, 255 - y, x + 60]).astype(np.uint8)
    Image.fromarray(colours).save(tmp_path / "a.tif", compression="jpeg", quality=98)
    assert np.abs(read_image(tmp_path / "a.tif").astype(int) - colours).max() <= 2


def test_lab(tmp_path: Path, tiff: Tiff) -> None:
    """Against the formulas of CIELab and sRGB (IEC 61966-2-1) with Bradford's adaptation from D50 to D65."""
    lightness, a, b = np.meshgrid([40, 100, 150, 200, 250], [-30, -10, 0, 10, 30], [-30, 0, 30], indexing="ij")
    samples = np.stack([lightness, a % 256, b % 256], axis=-1).reshape(5, 15, 3).astype(np.uint8)
    found = read(tmp_path / "a.tif", tiff(samples, tags={262: [8]}))
    middle = (lightness * 100 / 255 + 16) / 116
    f = np.stack([middle + a / 500, middle, middle - b / 200], axis=-1)
    xyz = np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)) * [0.9642, 1, 0.8249]
    to_rgb = [
        [3.1338561, -1.6168667, -0.4906146],
        [-0.9787684, 1.9161415, 0.0334540],
        [0.0719453, -0.2289914, 1.4052427],
    ]
    linear = xyz @ np.transpose(to_rgb)
    exists = ((linear > 0.005) & (linear < 1)).all(axis=-1).reshape(5, 15)  # other colours are beyond sRGB
    assert exists.sum() > 30
    expected = 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear.clip(0) ** (1 / 2.4) - 0.055)
    assert np.abs(found - expected.reshape(5, 15, 3))[exists].max() <= 2
    assert np.ptp(found[:, 7].astype(int), axis=1).max() <= 1, "a = b = 0 is grey"


@pytest.mark.parametrize("scale", [1, 257], ids=["8 bits by mistake", "16 bits"])
def test_palettes(tmp_path: Path, tiff: Tiff, scale: int) -> None:
    indices = noise(1, np.uint8)
    table = np.random.default_rng(1).integers(0, 256, (3, 256))
    found = read(tmp_path / "a.tif", tiff(indices, tags={262: [3], 320: (scale * table).ravel().tolist()}))
    np.testing.assert_array_equal(found, table.T[indices[:, :, 0]])


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize(("channels", "planar"), [(1, False), (3, False), (3, True)])
def test_orientations(tmp_path: Path, tiff: Tiff, orientation: int, dtype: type, channels: int, planar: bool) -> None:
    """Rows and columns as the specification describes them: where the first row and column belong."""
    stored = noise(channels, dtype, (3, 5))
    found = read(tmp_path / "a.tif", tiff(stored, planar=planar, tags={274: [orientation]}))
    eight = np.rint(stored / (257 if dtype == np.uint16 else 1)) * np.ones(3)
    first_row, first_column = [
        *(("top", "left"), ("top", "right"), ("bottom", "right"), ("bottom", "left")),
        *(("left", "top"), ("right", "top"), ("right", "bottom"), ("left", "bottom")),
    ][orientation - 1]
    sides = {"top": found, "bottom": found[::-1], "left": found.swapaxes(0, 1), "right": found[:, ::-1].swapaxes(0, 1)}
    first = sides[first_row][0]
    np.testing.assert_array_equal(first if first_column in ("top", "left") else first[::-1], eight[0])
    first = sides[first_column][0]
    np.testing.assert_array_equal(first if first_row in ("top", "left") else first[::-1], eight[:, 0])


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("low_high", [(0, 1), (0, 255), (0, 65535), (300, 400)])
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_labels_of_16_bits(tmp_path: Path, tiff: Tiff, order: str, low_high: tuple[int, int], channels: int) -> None:
    low, high = low_high
    samples = np.repeat(np.where(MASK, high, low)[:, :, None], channels, axis=2).astype(np.uint16)
    if channels in (2, 4):
        samples[:, :, -1] = 65535  # opaque
    (tmp_path / "a.tif").write_bytes(tiff(samples, order, LZW))
    np.testing.assert_array_equal(read_mask(tmp_path / "a.tif"), MASK)
