"""The weights that ship: `geseg predict` without a model, symmetric to the pixel, small, and with their papers."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import geseg
from geseg.cli.app import app
from geseg.data import images
from geseg.data.drawn import draw
from geseg.metrics import overlap
from geseg.model.modelheader import read_header
from geseg.steps import models

MOVES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "straight": lambda a: a,
    "turned1": lambda a: np.rot90(a, 1),
    "turned2": lambda a: np.rot90(a, 2),
    "turned3": lambda a: np.rot90(a, 3),
    "mirrored": lambda a: a[:, ::-1],
    "mirrored-turned": lambda a: np.rot90(a[:, ::-1], 1),
}


def check_moves(photograph: np.ndarray, folder: Path) -> None:
    """Masks of the moved photograph, through the command line, against the moved mask."""
    for name, move in MOVES.items():
        path = folder / "in" / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(np.ascontiguousarray(move(photograph))).save(path)
    result = CliRunner().invoke(app, ["predict", str(folder / "in"), "-o", str(folder / "out"), "-q"])
    assert result.exit_code == 0, result.output
    masks = {name: images.read_mask(folder / "out" / f"{name}.png") for name in MOVES}
    straight = masks["straight"]
    assert 0.01 < straight.mean() < 0.3
    for name, move in MOVES.items():
        moved = np.ascontiguousarray(move(straight)).astype(np.float64)
        assert overlap.dice(overlap.count(moved, masks[name], np.ones_like(masks[name]))) >= 0.9999, name


@pytest.mark.parametrize(("height", "width"), [(301, 288), (584, 565)])
def test_drawn_photographs(tmp_path: Path, height: int, width: int) -> None:
    check_moves(draw(7, height, width).image, tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        "DRIVE/test/images/01_test.tif",
        pytest.param("CHASEDB1/Image_01L.jpg", marks=pytest.mark.slow),
        pytest.param("HRF/images/03_dr.JPG", marks=pytest.mark.slow),
    ],
)
def test_real_photographs(real_data: Path, tmp_path: Path, name: str) -> None:
    """HRF is reduced to the scale that the weights know, and its map brought back."""
    check_moves(images.read_image(real_data / name), tmp_path)


def flipped_when_moved(photograph: np.ndarray, by: int) -> float:
    """Share of the field of view where the mask differs once there are black pixels to the left and above."""
    model, masks = geseg.load(device="cpu"), []
    moved = np.pad(photograph, ((by, 0), (by, 0), (0, 0)))
    for image in (photograph, moved):
        masks.append((model.segment(image) >= model.threshold) & geseg.find_fov(image))
    return float(np.mean((masks[0] != masks[1][by:, by:])[geseg.find_fov(photograph)]))


def test_shifts_change_a_mask_a_little_unless_by_the_divisor() -> None:
    photograph = draw(7, 584, 565).image
    off_the_grid = flipped_when_moved(photograph, 5)
    assert 0.003 < off_the_grid < 0.006
    assert flipped_when_moved(photograph, 8) < off_the_grid / 40, "pooling sees the same grid, tiles lie otherwise"


def test_a_shift_of_a_real_photograph_is_as_the_readme_says(real_data: Path) -> None:
    photograph = images.read_image(real_data / "DRIVE/test/images/08_test.tif")
    percent = {by: 100 * flipped_when_moved(photograph, by) for by in range(1, 9)}
    readme = Path(__file__).parents[2].joinpath("README.md").read_text()
    assert f"{percent[5]:.1f} % of the pixels inside the field of" in readme
    at_eight = percent.pop(8)
    least, most = min(percent.values()), max(percent.values())
    assert f"5 pixels, {least:.1f} to {most:.1f} % after 1 to 7, and {at_eight:.3f} % after 8, where" in readme


def test_drawn_vessels_are_found() -> None:
    drawing, model = draw(11), geseg.load()
    probability = model.segment(drawing.image)
    assert overlap.dice(overlap.count(probability, drawing.label, drawing.fov, model.threshold)) > 0.6


def test_the_folder_holds_what_it_should() -> None:
    names = {path.name for path in models.FOLDER.iterdir()}
    assert names == {"model.onnx", "model.safetensors", "README.md", "LICENSE", "EXPERIMENTS.md"}
    assert sum((models.FOLDER / name).stat().st_size for name in ("model.onnx", "model.safetensors")) < 8e6


def test_they_know_the_scales_of_all_cameras() -> None:
    header = read_header(models.find_weights(models.SHIPPED))
    assert header.group == "d4"
    assert header.diameters is not None
    assert header.diameters[0] < 560
    assert header.diameters[1] > 1500
    text = json.dumps(header.training)
    assert "/" not in text.replace('"drive/', "").replace('"stare/', "").replace('"chasedb1/', "").replace('"hrf/', "")


def test_a_folder_of_that_name_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert models.place(models.SHIPPED) == models.FOLDER
    monkeypatch.chdir(tmp_path)
    Path("shipped").mkdir()
    assert models.place(models.SHIPPED) == models.SHIPPED
