"""The quick start's own commands, on a smaller data set and for a moment (the script itself also installs); and the
contact sheet as it is typed."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from geseg.cli.app import app
from geseg.data import drawn
from geseg.files import sha256

EXAMPLES = Path(__file__).parents[1] / "examples"
SCRIPT = EXAMPLES / "quickstart.sh"
SHORTER = {
    "--train 10": "--train 3",
    "--size 320": "--size 96",
    "--minutes 2.5": "--epochs 1 --widths 1,2",
    '-o "$out/drive.h5"': '-o "$out/drive.h5" --patches-per-image 8',
}


def test_the_quick_start_ends_in_masks_and_overlays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    script = SCRIPT.read_text()
    commands = re.search(r"set -x\n(.*)set \+x", script, re.DOTALL)
    assert commands
    text = commands[1]
    for given, shorter in SHORTER.items():
        assert given in text
        text = text.replace(given, shorter)
    for line in text.replace("$out", "quickstart").splitlines():
        program, *arguments = shlex.split(line)
        if program == "geseg":
            result = CliRunner().invoke(app, arguments)
            assert result.exit_code == 0, (line, result.output)
        else:
            subprocess.run([sys.executable, *arguments], check=True)
    for folder in ("masks", "overlays"):
        names = sorted(path.name for path in Path("quickstart", folder).glob("*.png"))
        assert names == [f"{number:02}_test.png" for number in range(1, 5)]


@pytest.mark.parametrize("name", ["examples/quickstart.sh", "examples/slurm_train.sh", "tests/run.sh", ".ci/run"])
def test_shell_scripts_parse(name: str) -> None:
    subprocess.run(["sh", "-n", SCRIPT.parents[1] / name], check=True)


def contact_sheet(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, EXAMPLES / "contact_sheet.py", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_contact_sheet_shows_every_image_in_four_panels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    drawn.write_dataset(Path("drive"), "drive", train=3, test=2, seed=0, height=240, width=360)
    Path("drive/test/1st_manual/02_manual1.gif").unlink()
    for line in ("prepare drive --patch-size 64 --patches-per-image 4", "train --widths 1,2 --epochs 1 --batch-size 4"):
        assert CliRunner().invoke(app, shlex.split(line)).exit_code == 0

    first, second, usage = contact_sheet("patches.h5"), contact_sheet("patches.h5", "runs/drive-d4"), contact_sheet()

    assert (first.returncode, first.stdout, first.stderr) == (0, "sheet-drive.png: 3 images\n", "")
    refusal = "geseg: sheet-drive.png exists already: move or remove it\n"
    assert (second.returncode, second.stderr) == (1, refusal)
    assert usage.returncode == 2
    assert "required: patches" in usage.stderr
    sheet = np.asarray(Image.open("sheet-drive.png"))
    assert sheet.shape == (3 * (14 + 160 + 6), 4 * (240 + 6), 3), "rows are as high as the photographs, made smaller"
    for number in range(3):
        panels = [sheet[180 * number :, 246 * place :][14:174, :240] for place in range(4)]
        photograph, label, view, probability = panels
        assert all((panel == panel[:, :, :1]).all() for panel in (label, view, probability)), "grey"
        assert np.ptp(photograph[80, 80:160], axis=0).all()
        assert (view.min(), view.max()) == (0, 255)
        assert (label.min(), label.max()) == ((0, 255) if number < 2 else (90, 90)), "the last image has no label"
        assert np.ptp(probability[view == 255]) > 5
        assert not probability[view == 0].any()


def test_a_recipe_without_data_is_one_line(tmp_path: Path) -> None:
    command = [sys.executable, str(EXAMPLES / "train_weights.py"), "nowhere", "-o", str(tmp_path / "weights")]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == "geseg: nowhere does not exist; give the folder of a data set\n"


def test_the_recipe_of_the_weights_that_ship(tmp_path: Path) -> None:
    """On two drawn data sets, for a moment; the same command again ends with the same model."""
    for name in ("one", "two"):
        drawn.write_dataset(tmp_path / name, "generic", train=3, test=1, seed=ord(name[0]), height=96, width=96)
    sources = [str(tmp_path / name) for name in ("one", "two")]
    command = [sys.executable, str(EXAMPLES / "train_weights.py"), *sources, "-o", str(tmp_path / "weights")]
    models = set()
    for _ in range(2):
        subprocess.run([*command, "--patches-per-image", "2", "--epochs", "1", "1", "--camera-epochs", "1"], check=True)
        models.add(sha256(tmp_path / "weights" / "model.safetensors"))
        assert (tmp_path / "weights" / "model.onnx").is_file()
    assert len(models) == 1
