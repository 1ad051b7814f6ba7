import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage

from geseg.data.drawn import Drawing, draw, write_dataset
from geseg.data.fov import find_fov
from geseg.data.trees import Vessel, grow, random_eye, rasterise
from geseg.errors import ConfigError, OutputError


def same(a: Drawing, b: Drawing) -> bool:
    return all(np.array_equal(getattr(a, part), getattr(b, part)) for part in ("image", "label", "fov"))


def test_a_seed_gives_the_same_bytes_and_another_seed_another_eye() -> None:
    assert same(draw(5, 96, 90), draw(5, 96, 90))
    other = draw(6, 96, 90)
    assert not np.array_equal(draw(5, 96, 90).label, other.label)
    assert not np.array_equal(draw(5, 96, 90).image, other.image)


def test_the_default_is_the_size_of_drive() -> None:
    drawing = draw(0)
    assert drawing.image.shape == (584, 565, 3)
    assert drawing.label.shape == drawing.fov.shape == (584, 565)
    assert drawing.fov.mean() == pytest.approx(0.69, abs=0.02)  # DRIVE: 0.68 to 0.69


@pytest.mark.parametrize(("height", "width"), [(584, 565), (384, 384), (128, 128), (97, 140)])
@pytest.mark.parametrize("seed", range(3))
def test_vessels_lie_in_the_view_and_cover_as_much_as_in_drive(seed: int, height: int, width: int) -> None:
    drawing = draw(seed, height, width)
    assert not np.any(drawing.label & ~drawing.fov)
    assert 0.08 < drawing.label[drawing.fov].mean() < 0.17  # DRIVE: 0.087 to 0.168


def test_the_same_seed_is_the_same_eye_at_another_size() -> None:
    small, large = draw(3, 200, 200).label, draw(3, 400, 400).label
    near = ndimage.binary_dilation(small, iterations=2).repeat(2, 0).repeat(2, 1)
    assert near[large].mean() > 0.8  # the rest are vessels too thin for the small one


@pytest.mark.parametrize("size", [96, 320, 584])
def test_the_field_of_view_is_the_one_that_is_found(size: int) -> None:
    """Where it were smaller, nets would not know the rim that `predict` shows them."""
    drawing = draw(2, size, size)
    found = find_fov(drawing.image)
    radii = [np.sqrt(fov.sum() / np.pi) for fov in (drawing.fov, found)]
    assert abs(radii[0] - radii[1]) < 0.6


def test_the_view_is_lit_and_its_surround_is_dark() -> None:
    drawing = draw(1, 256, 256)
    well_inside = ndimage.binary_erosion(drawing.fov, iterations=4)
    well_outside = ~ndimage.binary_dilation(drawing.fov, iterations=4)
    assert drawing.image[..., 0][well_inside].min() > 50
    assert drawing.image[well_outside].max() < 20
    red, green, blue = drawing.image[well_inside].mean(axis=0)
    assert red > green > blue


@pytest.mark.parametrize("seed", range(4))
def test_vessels_are_darker_than_what_surrounds_them_most_so_the_wide_ones(seed: int) -> None:
    drawing = draw(seed)
    inside = ndimage.binary_erosion(drawing.fov, iterations=20)
    green = drawing.image[..., 1].astype(float)
    contrast = ndimage.uniform_filter(green, 25) - green
    half_width = ndimage.maximum_filter(ndimage.distance_transform_edt(drawing.label), 5)
    thin, wide = (drawing.label & inside & part for part in (half_width <= 1, half_width >= 3))
    assert 1 < contrast[thin].mean() < 0.5 * contrast[wide].mean()


def test_a_size_too_small_for_vessels_is_an_error() -> None:
    with pytest.raises(ConfigError, match="a drawing of 31x90 pixels is too small for vessels: choose at least 32"):
        draw(0, 31, 90)


def test_a_straight_vessel_covers_exactly_its_pixels() -> None:
    vessel = Vessel(np.array([[5.0, 10.0], [25.0, 10.0]]), np.array([3.0, 3.0]), artery=False)
    expected = np.zeros((20, 30), bool)
    expected[9:12, 5:26] = True  # distances 0 and 1 from the line lie within 1.5 ...
    expected[9:12, [4, 26]] = True  # ... and so do 1 and √2 from its round ends
    np.testing.assert_array_equal(rasterise([vessel], 20, 30).depth >= 0, expected)


@given(st.integers(0, 2**16), st.integers(2, 6))
def test_the_mask_is_what_lies_within_half_a_width(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    points, widths = rng.uniform(-5, 35, (n, 2)), np.full(n, rng.uniform(1, 9))
    depth = rasterise([Vessel(points, widths, artery=True)], 24, 31).depth
    for y, x in np.ndindex(24, 31):
        steps = np.linspace(0, 1, 400)[:, None, None]
        if y % 6 == x % 6 == 0:  # a slower, independent way for a part of the pixels: the line as many points
            line = points[:-1] + steps * np.diff(points, axis=0)
            distance = np.linalg.norm(line - (x, y), axis=-1).min()
            if abs(widths[0] / 2 - distance) > 0.02:
                assert (depth[y, x] >= 0) == (distance < widths[0] / 2)


@given(st.floats(0, 2 * np.pi))
def test_a_line_of_one_pixel_stays_connected(angle: float) -> None:
    way = 40 * np.array([np.cos(angle), np.sin(angle)])
    vessel = Vessel(np.stack([50 - way, 50 + way]), np.full(2, 1.1), artery=True)
    mask = rasterise([vessel], 101, 101).depth >= 0
    assert ndimage.label(mask, np.ones((3, 3)))[1] == 1


def test_nearly_all_vessels_of_a_photograph_are_connected() -> None:
    drawing = draw(2)
    pieces, _ = ndimage.label(drawing.label, np.ones((3, 3)))
    assert np.bincount(pieces[drawing.label]).max() > 0.97 * drawing.label.sum()  # the rim may cut off a loop


def test_vessels_only_become_thinner() -> None:
    rng = np.random.default_rng(0)
    vessels = grow(random_eye(rng), rng)
    assert {vessel.artery for vessel in vessels} == {True, False}
    assert all(np.all(np.diff(vessel.widths) <= 0) for vessel in vessels)
    widths = 270 * np.concatenate([vessel.widths for vessel in vessels])  # pixels of DRIVE
    assert 6.5 < widths.max() < 10
    assert 0.9 < widths.min() < 1.2  # about one


def test_a_folder_like_drive(tmp_path: Path) -> None:
    write_dataset(tmp_path / "d", "drive", train=2, test=1, seed=0, height=64, width=60)
    files = sorted(file.relative_to(tmp_path / "d").as_posix() for file in (tmp_path / "d").rglob("*.*"))
    assert files == [
        "test/1st_manual/01_manual1.gif",
        "test/images/01_test.tif",
        "test/mask/01_test_mask.gif",
        "training/1st_manual/21_manual1.gif",
        "training/1st_manual/22_manual1.gif",
        "training/images/21_training.tif",
        "training/images/22_training.tif",
        "training/mask/21_training_mask.gif",
        "training/mask/22_training_mask.gif",
    ]
    for file in files:
        with Image.open(tmp_path / "d" / file) as image:
            assert (image.mode, image.size) == ("RGB" if file.endswith(".tif") else "L", (60, 64))
            assert file.endswith(".tif") or set(np.unique(np.asarray(image))) == {0, 255}


def test_a_generic_folder_holds_what_was_drawn(tmp_path: Path) -> None:
    write_dataset(tmp_path, "generic", train=1, test=1, seed=4, height=64, width=64)
    assert sorted(file.relative_to(tmp_path).as_posix() for file in tmp_path.rglob("*.*")) == [
        *("fov/01.png", "fov/02.png", "images/01.png", "images/02.png", "masks/01.png", "masks/02.png")
    ]
    drawing = draw(int(np.random.SeedSequence(4).generate_state(2)[1]), 64, 64)
    for part, pixels in (("images", drawing.image), ("masks", drawing.label * 255), ("fov", drawing.fov * 255)):
        with Image.open(tmp_path / part / "02.png") as image:
            np.testing.assert_array_equal(np.asarray(image), pixels)


def test_nothing_is_written_into_a_folder_in_use(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match=re.escape(f"{tmp_path} holds something already; drawn data goes into a new")):
        write_dataset(tmp_path, "generic", train=1, test=0, seed=0, height=64, width=64)
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    ("train", "test", "seed", "reason"),
    [
        (1, 21, 0, "names like DRIVE's are enough for 79 and 20"),
        (80, 0, 0, "names like DRIVE's are enough for 79 and 20"),
        (0, 0, 0, "expected none below 0, and an image"),
        (1, -1, 0, "expected none below 0"),
        (1, 1, -1, "expected none below 0"),
    ],
)
def test_numbers_that_cannot_be(tmp_path: Path, train: int, test: int, seed: int, reason: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(reason)):
        write_dataset(tmp_path / "d", "drive", train, test, seed, height=64, width=64)
    assert not (tmp_path / "d").exists()


def test_the_module_runs_as_a_program(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "geseg.data.drawn", str(tmp_path / "d"), "--train", "1", "--test", "1"]
    command += ["--seed", "0", "--size", "64"]
    subprocess.run(command, check=True)
    assert (tmp_path / "d/test/images/01_test.tif").is_file()
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert again.returncode == 1
    assert again.stderr.startswith("geseg: ")
    assert again.stderr.count("\n") == 1
