"""Every kind of pixel comes in as 8-bit RGB or as booleans, and goes out and back unchanged."""

import io
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms

from geseg.data import limits
from geseg.data.images import read_image, read_mask, split_suffix, write_mask, write_overlay, write_probability
from geseg.errors import ImageError


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


@pytest.mark.parametrize("suffix", ["png", "gif"])
@pytest.mark.parametrize("transparency", [0, 3])
def test_a_transparent_colour_of_a_palette_keeps_its_colour(
    tmp_path: Path, rng: np.random.Generator, suffix: str, transparency: int
) -> None:
    indices, palette = rng.integers(0, 5, (6, 9), np.uint8), rng.integers(0, 256, (5, 3), np.uint8)
    image = Image.fromarray(indices).convert("P")
    image.putpalette(palette.tobytes())
    image.save(tmp_path / f"a.{suffix}", transparency=transparency)
    np.testing.assert_array_equal(read_image(tmp_path / f"a.{suffix}"), palette[indices])


def test_cmyk_jpeg(tmp_path: Path) -> None:
    """Stored as Adobe does, inverted: 255 is no ink."""
    Image.new("CMYK", (16, 16), (40, 120, 200, 60)).save(tmp_path / "a.jpg", quality=100)
    assert b"\xff\xee\x00\x0eAdobe" in (tmp_path / "a.jpg").read_bytes()
    light = 1 - np.array([40, 120, 200, 60]) / 255
    assert np.abs(read_image(tmp_path / "a.jpg") - 255 * light[:3] * light[3]).max() <= 2


@pytest.mark.parametrize("suffix", ["gif", "png"])
def test_animations_are_refused(tmp_path: Path, suffix: str) -> None:
    frames = [Image.new("L", (5, 4), value) for value in (0, 99, 200)]
    frames[0].save(tmp_path / f"a.{suffix}", save_all=True, append_images=frames[1:])
    reason = "it holds 3 frames, expected one: save the right one as a file of its own"
    path = tmp_path / f"a.{suffix}"
    assert error_of(path) == f"{path} cannot be read as an image: {reason}; replace or remove it"


def test_of_the_pictures_of_a_camera_the_first_counts(tmp_path: Path) -> None:
    photograph, preview = Image.new("RGB", (16, 24), (200, 90, 40)), Image.new("RGB", (8, 8))
    photograph.save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=[preview])
    with Image.open(tmp_path / "a.jpg") as image:
        assert (image.format, image.n_frames) == ("MPO", 2)  # type: ignore[attr-defined]
    assert np.abs(read_image(tmp_path / "a.jpg").astype(int) - (200, 90, 40)).max() <= 2


def test_colour_profiles_are_ignored(tmp_path: Path, rng: np.random.Generator) -> None:
    values = rng.integers(0, 256, (6, 9, 3), np.uint8)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("XYZ")).tobytes()
    for suffix in ("png", "tif"):
        Image.fromarray(values).save(tmp_path / f"a.{suffix}", icc_profile=profile)
        np.testing.assert_array_equal(read_image(tmp_path / f"a.{suffix}"), values)


@pytest.mark.parametrize("suffix", ["jpg", "png"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_of_colour_photographs(tmp_path: Path, suffix: str, orientation: int) -> None:
    """A red top left corner of the displayed photograph, wherever it is stored."""
    shown = np.full((32, 48, 3), 60, np.uint8)
    shown[:8, :16] = 200, 0, 0
    back = {1: shown, 2: shown[:, ::-1], 3: np.rot90(shown, 2), 4: shown[::-1], 5: shown.swapaxes(0, 1)}
    back |= {6: np.rot90(shown), 7: np.rot90(shown.swapaxes(0, 1), 2), 8: np.rot90(shown, -1)}
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(np.ascontiguousarray(back[orientation]))
    stored.save(tmp_path / f"a.{suffix}", exif=exif, **({"quality": 100, "subsampling": 0} if suffix == "jpg" else {}))
    found = read_image(tmp_path / f"a.{suffix}")
    assert found.shape == shown.shape
    assert np.abs(found.astype(int) - shown).max() <= 3


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("eye.png", ("eye", ".png")),
        ("eye.v2.JPG", ("eye.v2", ".jpg")),
        ("im0001.ppm.gz", ("im0001", ".ppm.gz")),
        ("im0001.ah.PGM.Gz", ("im0001.ah", ".pgm.gz")),
        ("a/b.c/im.pbm.gz", ("a/b.c/im", ".pbm.gz")),
        ("a/im.ppm", ("a/im", ".ppm")),
        ("im.png.gz", ("im.png.gz", "")),
        ("im.gz", ("im.gz", "")),
        ("notes.txt", ("notes.txt", "")),
        ("png", ("png", "")),
        (".png", (".png", "")),
        ("a/.ppm.gz", ("a/.ppm.gz", "")),
        ("", ("", "")),
    ],
)
def test_split_suffix(name: str, parts: tuple[str, str]) -> None:
    assert split_suffix(name) == parts


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


@pytest.mark.parametrize("colour", [(255, 255, 255), (255, 0, 0), (0, 0, 128)])
@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "ppm"])
def test_masks_in_colour(tmp_path: Path, colour: tuple[int, int, int], suffix: str) -> None:
    mask = np.array([[True, False, True], [False, False, True]])
    Image.fromarray(mask[:, :, None] * np.array(colour, np.uint8)).save(tmp_path / f"a.{suffix}")
    np.testing.assert_array_equal(read_mask(tmp_path / f"a.{suffix}"), mask)


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
    monkeypatch.setattr(limits, "MOST_PIXELS", 899)
    assert "it has 30 x 30 pixels, more than the 0 megapixels" in error_of(tmp_path / "a.png")
    monkeypatch.setattr(limits, "MOST_PIXELS", 900)
    for limit in (500, 450):  # Pillow warns up to twice its limit, and refuses beyond
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        assert read_image(tmp_path / "a.png").shape == (30, 30, 3)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
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


def test_threads_that_read_leave_the_warnings_of_python_alone(tmp_path: Path) -> None:
    """Its filters are global: two that put back what they found would leave those of the other."""
    names = [tmp_path / "a.png", tmp_path / "a.ppm"]
    Image.fromarray(np.zeros((40, 50, 3), np.uint8)).save(names[0])
    names[1].write_bytes(b"P3 2 1 255\n" + b"1 2 3 " * 2)
    before = list(warnings.filters)
    with ThreadPoolExecutor(4) as pool:
        for image in pool.map(read_image, names * 200):
            assert image.shape[2] == 3
    assert warnings.filters == before


@pytest.mark.parametrize(("values", "named"), [((0, 1, 2), "0, 1, 2"), ((1, 2, 3, 15), "1, 2, 3, 15")])
def test_masks_of_numbers_of_classes(tmp_path: Path, values: tuple[int, ...], named: str) -> None:
    Image.fromarray(np.array([values], np.uint8)).save(tmp_path / "a.png")
    with pytest.raises(ImageError) as caught:
        read_mask(tmp_path / "a.png")
    assert str(caught.value) == (
        f"{tmp_path / 'a.png'} has the values {named}, which look like numbers of classes; expected two values: save "
        "it with 255 where it is true, and 0 elsewhere"
    )


@pytest.mark.parametrize("values", [(0, 1, 16), (0, 100, 255)])
def test_grey_levels_of_a_mask_are_no_classes(tmp_path: Path, values: tuple[int, ...]) -> None:
    Image.fromarray(np.array([values], np.uint8)).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png"), [[False, False, True]])


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
def test_jpeg_2000_of_8_bits(tmp_path: Path, rng: np.random.Generator, mode: str) -> None:
    colours = rng.integers(0, 256, (32, 40, len(mode)), np.uint8)
    Image.fromarray(colours.squeeze()).save(tmp_path / "a.jp2")
    expected = colours[:, :, [0, 0, 0] if mode == "L" else [0, 1, 2]]
    np.testing.assert_array_equal(read_image(tmp_path / "a.jp2"), expected)


@pytest.mark.parametrize(("depth", "bits"), [(11, 12), (15, 16), (0x80 | 15, 16)])
def test_jpeg_2000_of_more_than_8_bits_per_colour(tmp_path: Path, depth: int, bits: int) -> None:
    """Pillow reads their white as black."""
    Image.new("RGB", (32, 40)).save(tmp_path / "a.jp2")
    head, marker, siz = (tmp_path / "a.jp2").read_bytes().partition(b"\xff\x4f\xff\x51")
    deep = bytearray(siz)
    deep[38:47:3] = bytes([depth] * 3)
    (tmp_path / "a.jp2").write_bytes(head + marker + deep)
    with pytest.raises(ImageError, match=f"it is a JPEG 2000 with {bits} bits per colour, expected 8: save it as PNG"):
        read_image(tmp_path / "a.jp2")
