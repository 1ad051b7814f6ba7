"""Every kind of pixel comes in as 8-bit RGB or as booleans, and goes out and back unchanged."""

import io
import struct
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from geseg.data.images import read_image, read_mask, write_mask, write_overlay, write_probability
from geseg.errors import ImageError

COLOURS = {1: 0, 2: 4, 3: 2, 4: 6}
"""PNG's colour type for a number of channels."""


def png16(values: np.ndarray) -> bytes:
    """A PNG with 16 bits per channel, which Pillow cannot write in colour; written from the specification."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    height, width, channels = values.shape
    head = struct.pack(">IIBBBBB", width, height, 16, COLOURS[channels], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def tiff16(values: np.ndarray, order: str) -> bytes:
    """An uncompressed RGB TIFF with 16 bits per channel in a byte order, "<" or ">"."""
    height, width, _ = values.shape
    data = values.astype(order + "u2").tobytes()
    tags = [
        (256, width),
        (257, height),
        (258, 8),
        (259, 1),
        (262, 2),
        (273, 14),
        (277, 3),
        (278, height),
        (279, len(data)),
    ]
    bits, entries = struct.pack(order + "3H", 16, 16, 16), b""
    for tag, value in tags:
        count = 3 if tag == 258 else 1
        entries += struct.pack(order + "HHII", tag, 3 if tag == 258 else 4, count, value)
    start = {"<": b"II*\0", ">": b"MM\0*"}[order] + struct.pack(order + "I", 14 + len(data))
    return start + bits + data + struct.pack(order + "H", len(tags)) + entries + bytes(4)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.mark.parametrize("suffix", ["png", "tif", "bmp", "ppm", "GIF"])
def test_grey_becomes_three_equal_channels(tmp_path: Path, rng: np.random.Generator, suffix: str) -> None:
    grey = rng.integers(0, 256, (5, 7), np.uint8)
    Image.fromarray(grey).save(tmp_path / f"a.{suffix}")
    np.testing.assert_array_equal(read_image(tmp_path / f"a.{suffix}"), np.dstack([grey] * 3))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "1"])
def test_alpha_and_palettes_are_resolved(tmp_path: Path, rng: np.random.Generator, mode: str) -> None:
    levels = np.array([0, 255], np.uint8) if mode == "1" else np.arange(256, dtype=np.uint8)
    colours = np.repeat(rng.choice(levels, (6, 9, 1)), 3, axis=2) if mode in "1LA" else rng.choice(levels, (6, 9, 3))
    image = Image.fromarray(colours).quantize(64) if mode == "P" else Image.fromarray(colours).convert(mode)
    if mode in ("RGBA", "LA"):
        image.putalpha(Image.fromarray(rng.integers(0, 256, (6, 9), np.uint8)))
    image.save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), colours)


def test_cmyk(tmp_path: Path) -> None:
    Image.new("CMYK", (4, 3), (0, 255, 255, 0)).save(tmp_path / "a.tif")
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), np.full((3, 4, 3), (255, 0, 0)))


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_16_bit_png_is_divided_by_257(tmp_path: Path, rng: np.random.Generator, channels: int) -> None:
    values = rng.integers(0, 2**16, (30, 20, channels))
    (tmp_path / "a.png").write_bytes(png16(values))
    expected = np.rint(values[:, :, :3] / 257) * np.ones(3)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), expected)


def test_16_bit_grey_with_alpha_is_off_by_one_at_most(tmp_path: Path, rng: np.random.Generator) -> None:
    values = rng.integers(0, 2**16, (30, 20, 2))
    (tmp_path / "a.png").write_bytes(png16(values))
    assert np.abs(read_image(tmp_path / "a.png") - values[:, :, :1] / 257).max() <= 1


@pytest.mark.parametrize("order", ["<", ">"])
def test_16_bit_tiff_of_both_byte_orders(tmp_path: Path, rng: np.random.Generator, order: str) -> None:
    values = rng.integers(0, 2**16, (30, 20, 3))
    (tmp_path / "a.tif").write_bytes(tiff16(values, order))
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), np.rint(values / 257))


def test_16_bit_pgm(tmp_path: Path) -> None:
    (tmp_path / "a.pgm").write_bytes(b"P5 3 1 65535\n" + np.array([0, 300, 65535], ">u2").tobytes())
    assert read_image(tmp_path / "a.pgm")[0, :, 0].tolist() == [0, 1, 255]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("deep", [False, True])
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int, deep: bool) -> None:
    stored = np.arange(6, dtype=np.uint8).reshape(2, 3)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(stored.astype(np.uint16) * np.uint16(257) if deep else stored).save(tmp_path / "a.png", exif=exif)
    turned = np.rot90(stored, {3: 2, 4: 2, 5: 3, 6: 3, 7: 1, 8: 1}.get(orientation, 0))
    expected = turned[:, ::-1] if orientation in (2, 4, 5, 7) else turned
    np.testing.assert_array_equal(read_image(tmp_path / "a.png")[:, :, 0], expected)


@pytest.mark.parametrize("values", [(0, 255), (0, 1), (1, 2), (200, 255)])
def test_the_larger_of_two_values_is_true(tmp_path: Path, values: tuple[int, int]) -> None:
    mask = np.array([[True, False, True], [False, False, True]])
    Image.fromarray(np.where(mask, values[1], values[0]).astype(np.uint8)).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png"), mask)


@pytest.mark.parametrize("palette", [[0, 0, 0, 255, 255, 255], [0, 0, 0, 1, 1, 1], [0, 0, 0, 255, 0, 0]])
def test_palette_gif_with_indices_0_and_1_like_the_second_observer_of_drive(tmp_path: Path, palette: list[int]) -> None:
    mask = np.array([[True, False, True], [False, False, True]])
    image = Image.fromarray(mask.astype(np.uint8)).convert("P")
    image.putpalette(palette)
    image.save(tmp_path / "a.gif")
    np.testing.assert_array_equal(read_mask(tmp_path / "a.gif"), mask)


@pytest.mark.parametrize("mode", ["1", "L", "RGB", "RGBA", "LA", "I;16", "F"])
def test_masks_of_any_mode(tmp_path: Path, mode: str) -> None:
    mask = np.array([[True, False, True], [False, False, True]])
    image = Image.fromarray(mask.astype(np.uint16)) if mode == "I;16" else Image.fromarray(mask).convert(mode)
    image.save(tmp_path / "a.tif")
    np.testing.assert_array_equal(read_mask(tmp_path / "a.tif"), mask)


@pytest.mark.parametrize(("value", "expected"), [(0, False), (1, True), (255, True)])
def test_a_single_value_is_true_unless_it_is_0(tmp_path: Path, value: int, expected: bool) -> None:
    Image.new("L", (3, 2), value).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png"), np.full((2, 3), expected))


def test_a_jpeg_mask_is_cut_at_half_of_its_maximum(tmp_path: Path) -> None:
    mask = np.zeros((40, 40), bool)
    mask[10:30, 5:20] = True
    Image.fromarray(mask.astype(np.uint8) * np.uint8(255)).save(tmp_path / "a.jpg", quality=60)
    np.testing.assert_array_equal(read_mask(tmp_path / "a.jpg"), mask)


@given(height=st.integers(1, 9), width=st.integers(1, 9), seed=st.integers(0, 99))
def test_written_masks_and_probabilities_come_back(
    tmp_path_factory: pytest.TempPathFactory, height: int, width: int, seed: int
) -> None:
    folder, rng = tmp_path_factory.mktemp("a"), np.random.default_rng(seed)
    mask, probability = rng.random((height, width)) < 0.5, rng.random((height, width))
    probability.flat[0] = 1.0
    write_mask(folder / "mask.tif", mask)  # whatever the suffix says, it is a PNG
    write_probability(folder / "new" / "probability.png", probability)
    np.testing.assert_array_equal(read_mask(folder / "mask.tif"), mask)
    with Image.open(folder / "mask.tif") as image:
        assert (image.format, image.mode) == ("PNG", "L")
    with Image.open(folder / "new" / "probability.png") as image:
        np.testing.assert_array_equal(np.asarray(image), np.rint(probability * 65535))


def test_an_overlay_changes_the_mask_alone(tmp_path: Path) -> None:
    image, mask = np.full((9, 9, 3), (200, 90, 40), np.uint8), np.zeros((9, 9), bool)
    mask[2:7, 2:7] = True
    write_overlay(tmp_path / "a.png", image, mask)
    overlay = read_image(tmp_path / "a.png").astype(int)
    np.testing.assert_array_equal(overlay[~mask], image[~mask])
    assert overlay[4, 4, 2] - 40 > 50, "tinted inside"
    assert overlay[2, 4, 2] > overlay[4, 4, 2], "and more on the outline"


def error_of(path: Path) -> str:
    with pytest.raises(ImageError) as caught:
        read_image(path)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_unreadable_images(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("hello")
    (tmp_path / "empty.png").touch()
    for name in ("text.png", "empty.png"):
        assert error_of(tmp_path / name) == (
            f"{tmp_path / name} cannot be read as an image: it has no known format; replace or remove it"
        )
    assert error_of(tmp_path / "none.png") == f"{tmp_path / 'none.png'} does not exist; expected an image"
    assert error_of(tmp_path) == f"{tmp_path} cannot be read as an image: Is a directory; replace or remove it"


@pytest.mark.parametrize("suffix", ["png", "jpg", "gif", "tif", "bmp"])
def test_files_cut_short(tmp_path: Path, rng: np.random.Generator, suffix: str) -> None:
    buffer, path = io.BytesIO(), tmp_path / f"a.{suffix}"
    Image.fromarray(rng.integers(0, 256, (60, 60), np.uint8)).save(
        buffer, {"jpg": "jpeg", "tif": "tiff"}.get(suffix, suffix)
    )
    path.write_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 2])
    assert error_of(path).startswith(f"{path} cannot be read as an image: ")


@pytest.mark.parametrize("pixels", [np.array([[0, 70000]], np.int32), np.array([[-1, 1]], np.int32)])
def test_more_than_16_bits(tmp_path: Path, pixels: np.ndarray) -> None:
    Image.fromarray(pixels).save(tmp_path / "a.tif")
    assert error_of(tmp_path / "a.tif") == (
        f"{tmp_path / 'a.tif'} cannot be read as an image: it has 32-bit pixels from {pixels.min()} to {pixels.max()}, "
        "expected 16 bits at most; replace or remove it"
    )


def test_photographs_in_floating_point(tmp_path: Path) -> None:
    Image.fromarray(np.ones((2, 2), np.float32)).save(tmp_path / "a.tif")
    assert error_of(tmp_path / "a.tif") == (
        f"{tmp_path / 'a.tif'} has float32 pixels; expected 8 or 16 bits per channel: convert it"
    )


def test_decompression_bombs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("L", (30, 30)).save(tmp_path / "a.png")
    for limit in (500, 100):  # Pillow warns up to twice its limit, and refuses beyond
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        assert "decompression bomb" in error_of(tmp_path / "a.png")


def test_real_photographs_are_read_quickly(real_data: Path) -> None:
    path = real_data / "DRIVE" / "training" / "images" / "21_training.tif"
    start = time.perf_counter()
    assert read_image(path).shape == (584, 565, 3)
    assert time.perf_counter() - start < 1, "0.005 s on a usual computer"


def test_real_labels(real_data: Path) -> None:
    for path, share in [
        ("DRIVE/training/1st_manual/21_manual1.gif", 0.0747303),  # 8 bits, {0, 255}
        ("CHASEDB1/Image_01L_1stHO.png", 0.0697416),  # 1 bit
        ("HRF/mask/01_h_mask.tif", 0.8446539),  # RGB
    ]:
        assert read_mask(real_data / path).mean() == pytest.approx(share, abs=1e-7)
