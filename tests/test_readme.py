"""The README keeps its word: its commands run, its Python runs, its figures are those of the committed results."""

import json
import re
import shlex
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from geseg.cli.app import app
from geseg.data import drawn

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
QUICK = {"prepare": "--patch-size 64 --patches-per-image 4", "train": "--widths 1,2 --epochs 1 --batch-size 4"}
"""What is added to a command so that it takes a moment."""


def section(title: str) -> str:
    return README.partition(f"## {title}\n")[2].partition("\n## ")[0]


def test_the_commands_and_the_python_run_as_they_stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    drawn.write_dataset(Path("drive"), "drive", train=5, test=2, seed=0, height=96, width=90)
    commands = re.findall(r"^    (geseg .*)$", section("From a data set to masks"), re.MULTILINE)
    assert [command.split()[1] for command in commands] == ["prepare", "train", "eval", "export", "predict"]
    shutil.copytree("drive/test/images", "images")
    for command in commands:
        words = [*shlex.split(command)[1:], *shlex.split(QUICK.get(command.split()[1], ""))]
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 0, (command, result.output)
    assert sorted(path.name for path in Path("masks").iterdir()) == ["01_test.png", "02_test.png"]
    (python,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    shutil.copy("images/01_test.tif", "eye.png")
    exec(python, {})
    assert Path("mask.png").read_bytes() == Path("masks/01_test.png").read_bytes()


def test_the_one_line_that_must_work_as_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    drawn.write_dataset(Path("drive"), "drive", train=9, test=0, seed=0, height=96, width=90)
    for words in ("prepare drive/", "train --group d4 --fraction 0.25"):
        assert f"geseg {words}" in README
        extra = QUICK[words.split()[0]]
        assert CliRunner().invoke(app, shlex.split(f"{words} {extra}")).exit_code == 0
    assert Path("runs/drive-d4-0.25/model.safetensors").is_file()


def test_the_figures_are_those_of_the_results() -> None:
    values = json.loads((ROOT / "examples" / "results" / "drive-d4.json").read_text())
    assert values["split"] == "val"
    rows = re.findall(r"^\| ([^|]+) \| ([\d. |]+) \|$", section("Results"), re.MULTILINE)
    assert len(rows) == len(values["thresholds"])
    columns = ["dice", "iou", "sensitivity", "specificity", "accuracy", "auc"]
    for (title, figures), threshold in zip(rows, values["thresholds"].values(), strict=True):
        assert f"{threshold['value']:g}" in title
        assert figures.split(" | ") == [f"{threshold['mean'][column]:.4f}" for column in columns]


@pytest.mark.parametrize("path", re.findall(r"\]\(([^)#:]+)\)|`((?:examples|tests|geseg)/[\w./-]+)`", README))
def test_what_is_named_is_there(path: tuple[str, str]) -> None:
    assert (ROOT / (path[0] or path[1])).exists()
