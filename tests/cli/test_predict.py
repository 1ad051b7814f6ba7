"""The promise of the package, through the command line: the mask of a turned photograph is the turned mask."""

import gzip
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from geseg.cli.app import app
from geseg.data import drawn
from geseg.model.group import SYMMETRIES

SIZES = [(40, 40), (41, 40), (71, 52), (33, 57), (9, 150), (1, 1), (131, 300), (300, 261)]
"""Odd and even, smaller and larger than a tile; 300 takes several."""


def predict(*arguments: object) -> str:
    result = CliRunner().invoke(app, ["predict", *map(str, arguments), "--quiet"])
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.mark.parametrize("engine", ["native", "onnx", "torch"])
def test_the_mask_of_a_moved_photograph_is_the_moved_mask(
    run_folder: Path, tmp_path: Path, engine: str, request: pytest.FixtureRequest
) -> None:
    if engine == "native":
        request.getfixturevalue("needs_kernel")
    for h, w in SIZES:
        image = drawn.draw(7, max(h, 32), max(w, 32)).image[:h, :w]
        for number, element in enumerate(SYMMETRIES):
            path = tmp_path / "photos" / f"{h}x{w}-{number}.png"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(np.ascontiguousarray(np.moveaxis(element(np.moveaxis(image, -1, 0)), 0, -1))).save(path)
    predict(tmp_path / "photos", "-o", tmp_path / "masks", "--model", run_folder, "--engine", engine)
    vessels = 0
    for h, w in SIZES:
        masks = [np.asarray(Image.open(tmp_path / "masks" / f"{h}x{w}-{number}.png")) > 0 for number in range(8)]
        assert masks[0].shape == (h, w)
        vessels += int(masks[0].sum())
        for element, mask in zip(SYMMETRIES, masks, strict=True):
            assert (mask != element(masks[0])).sum() <= 1e-4 * mask.size, (h, w, element)
    assert vessels > 1000, "a net that finds nothing commutes with everything"


RAN = {
    "native": r"safetensors on cpu \(geseg's kernel\)",
    "onnx": r"onnx on cpu \(onnxruntime CPUExecutionProvider\)",
}


def test_it_says_what_ran_and_what_it_wrote(
    run_folder: Path, patch_file: Path, tmp_path: Path, auto_engine: Callable[[str], str]
) -> None:
    photos = patch_file.parent / "eyes" / "test" / "images"
    stdout = predict(photos, "-o", tmp_path / "m", "--model", run_folder, "--device", "cpu")
    pattern = rf"(.*): 2 masks at threshold 0\.\d+, by .*model\.{RAN[auto_engine('cpu')]}\n"
    assert (match := re.fullmatch(pattern + r".*report\.json: \d of 2 photographs need a look\n", stdout)), stdout
    assert match[1] == str(tmp_path / "m")


def test_a_bad_image_is_reported_at_the_end(run_folder: Path, draw_eye: Callable, tmp_path: Path) -> None:  # type: ignore[type-arg]
    (tmp_path / "photos").mkdir()
    Image.fromarray(draw_eye(0)[0]).save(tmp_path / "photos" / "b.png")
    (tmp_path / "photos" / "a.png").write_text("no image")
    arguments = ["predict", str(tmp_path / "photos"), "-o", str(tmp_path / "m"), "--model", str(run_folder), "-q"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1
    assert "1 masks" in result.stdout
    assert f"geseg: {tmp_path / 'photos' / 'a.png'} cannot be read as an image: it has no known format" in result.stderr
    assert (tmp_path / "m" / "b.png").is_file()


def test_a_folder_as_stare_has_it(run_folder: Path, draw_eye: Callable, tmp_path: Path) -> None:  # type: ignore[type-arg]
    (tmp_path / "photos").mkdir()
    photograph = draw_eye(0, 40, 51)[0]
    data = gzip.compress(b"P6 51 40 255\n" + photograph.tobytes())
    (tmp_path / "photos" / "im0001.ppm.gz").write_bytes(data)
    (tmp_path / "photos" / "im0002.ppm.gz").write_bytes(data[:-20])
    arguments = ["predict", str(tmp_path / "photos"), "-o", str(tmp_path / "m"), "--model", str(run_folder), "-q"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 1
    assert "1 masks" in result.stdout
    assert "im0002.ppm.gz cannot be read as an image: Compressed file ended before the end" in result.stderr
    assert [path.name for path in (tmp_path / "m").glob("*.png")] == ["im0001.png"]
