"""The README keeps its word: its commands run, its Python runs, its figures are those of the committed results."""

import csv
import json
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from geseg.cli.app import app
from geseg.data import drawn, images, samplescsv
from geseg.data.datasets import LAYOUTS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
QUICK = {"prepare": "--patch-size 64 --patches-per-image 4", "train": "--widths 1,2 --epochs 1 --batch-size 4"}
"""What is added to a command so that it takes a moment."""
COLUMNS = {name.lower(): name for name in ("Dice", "clDice", "sensitivity", "specificity", "accuracy")}
COLUMNS |= {name.lower(): name for name in ("MCC", "AUC", "AUPR", "ECE")}
"""The figures of the README's table: all of the JSON but the IoU."""


def section(title: str) -> str:
    return README.partition(f"## {title}\n")[2].partition("\n## ")[0]


def run_commands(title: str) -> list[str]:
    """Run the commands of a section as they stand, but for a moment only; which they are."""
    commands: list[str] = re.findall(r"^    (geseg .*)$", section(title), re.MULTILINE)
    for command in commands:
        words = [*shlex.split(command)[1:], *shlex.split(QUICK.get(command.split()[1], ""))]
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 0, (command, result.output)
    return [command.split()[1] for command in commands]


def test_the_commands_and_the_python_run_as_they_stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    drawn.write_dataset(Path("drive"), "drive", train=5, test=2, seed=0, height=96, width=90)
    shutil.copytree("drive/test/images", "images")
    assert run_commands("From a data set to masks") == ["prepare", "train", "eval", "export", "predict"]
    assert sorted(path.name for path in Path("masks").glob("*.png")) == ["01_test.png", "02_test.png"]
    (python,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    shutil.copy("images/01_test.tif", "eye.png")
    exec(python, {})
    np.testing.assert_array_equal(images.read_mask(Path("mask.png")), images.read_mask(Path("masks/01_test.png")))


def test_the_vessels_are_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the command as it stands; the table has the columns that the README explains."""
    monkeypatch.chdir(tmp_path)
    drawn.write_dataset(Path("drive"), "drive", train=1, test=2, seed=0, height=96, width=90)
    shutil.copytree("drive/test/images", "images")
    assert run_commands("Measuring vessels") == ["predict"]
    assert sorted(path.name for path in Path("skeletons").iterdir()) == ["01_test.png", "02_test.png"]
    with Path("vessels.csv").open() as file:
        header, *rows = csv.reader(file)
    assert len(rows) == 2
    explained = re.findall(r"`(\w+)`", section("Measuring vessels").partition("| Column")[2].partition("\n\n")[0])
    assert header == ["image", *explained]


def test_the_one_line_that_must_work_as_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    drawn.write_dataset(Path("drive"), "drive", train=9, test=0, seed=0, height=96, width=90)
    for words in ("prepare drive/", "train --group d4 --fraction 0.25"):
        assert f"geseg {words}" in README
        extra = QUICK[words.split()[0]]
        assert CliRunner().invoke(app, shlex.split(f"{words} {extra}")).exit_code == 0
    assert Path("runs/drive-d4-0.25/model.safetensors").is_file()


def test_the_commands_on_data_sets_and_figures_run(
    known_dataset: Callable[[str], Path],
    draw_eye: Callable[..., tuple[np.ndarray, ...]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As they stand, one after the other, with the README's own samples.csv."""
    monkeypatch.chdir(tmp_path)
    drawn.write_dataset(Path("drive"), "drive", train=5, test=2, seed=0, height=96, width=90)
    shutil.copytree("drive/test/images", "images")
    for name in ("stare", "chasedb1"):
        shutil.copytree(known_dataset(name), name)
    (listed,) = re.findall(r"```csv\n(.*?)```", README, re.DOTALL)
    for number, row in enumerate(csv.DictReader(listed.splitlines())):
        image, label, view = draw_eye(number)
        for column, pixels in (("image", image), ("label", label), ("fov", view), ("second", label)):
            if row[column]:
                path = Path("photos", row[column])
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(path)
    Path("photos/samples.csv").write_text(listed)

    run_commands("From a data set to masks")
    assert run_commands("Data sets") == ["prepare", "prepare", "prepare", "train"]
    assert run_commands("Evaluation") == ["eval", "eval", "eval", "eval"]
    assert Path("report/index.html").is_file()
    assert "`geseg eval runs/drive-d4 --equivariance`" in README
    moved = CliRunner().invoke(app, ["eval", "runs/drive-d4", "--equivariance"])
    assert moved.exit_code == 0
    table = moved.stdout.partition("photograph moved by")[2]
    assert len(re.findall(r"^(?:rot|mirror)", table, re.MULTILINE)) == 28


def test_the_tables_name_every_data_set_column_and_figure() -> None:
    known = re.findall(r"^\| ([^|]+) \|", section("Data sets"), re.MULTILINE)
    names = [name.replace("-", "").lower() for name in known]
    for layout in LAYOUTS:
        assert not layout.own_name or layout.name.replace("-", "") in names
        assert all(f"`{protocol}`" in section("Data sets") for protocol in layout.splits if layout.name != "primefp20")
    assert [f"`{column}`" for column in samplescsv.COLUMNS] == [name for name in known if name.startswith("`")]
    figures = re.findall(r"^\| ([^|]+) \|", section("Evaluation"), re.MULTILINE)
    assert set(COLUMNS) | {"iou"} == {name.lower() for line in figures[2:] for name in line.split(", ")}


def test_the_figures_are_those_of_the_results() -> None:
    """To renew them: write the JSON, then copy the lines that this test misses."""
    text = (ROOT / "examples" / "results" / "drive-d4.json").read_text()
    values = json.loads(text)
    assert (values["split"], values["truths"], '"/' in text) == ("val", "patches.h5", False)
    results = section("Results")
    assert "| Threshold | " + " | ".join(COLUMNS.values()) + " |" in results
    rows = [row for row in values["summary"] if (row["by"], row["region"]) == ("model", "fov")]
    assert [row["at"] for row in rows] == ["0.5", "fixed"]
    assert [row["threshold"] for row in rows] == [0.5, 0.5], "one line says both"
    figures = [f"{rows[1]['mean'][name]:.4f}" for name in COLUMNS]
    line = f"| {' | '.join(['0.5, fixed on these images, too', *figures])} |"
    assert re.findall(r"^\| \d.*$", results, re.MULTILINE) == [line]


def test_the_study_of_rotation_is_that_of_the_results() -> None:
    text = section("What equivariance buys").replace("\n", " ")
    values = json.loads((ROOT / "examples" / "results" / "study-rotation.json").read_text())
    lines: dict[str, list[str]] = {}
    for row in values["rows"]:
        assert row["seeds"] == 3
        lines.setdefault(row["net"], []).append(f"{row['mean']:.3f} ± {row['std']:.3f}")
    turned = {(row["net"], row["amount"]): row["mean"] for row in values["turned"]}
    for net, cells in lines.items():
        blank = "" if len(cells) == 3 else "| | "  # d8 at the largest amount only
        cells += [f"{turned[net, degrees]:.3f}" for degrees in (45, 90, 180, 270)]
        assert f"| {net} {blank}| {' | '.join(cells)} |" in text
    words = {net: f"that of {net} by" for net in ("c8", "c4", "d4")} | {"plain": "that of the plain net by"}
    words |= {"d8": "the loss of d8 rises by", "plain-turned": "where it saw its patches turned by"}
    for net, before in words.items():
        rise = f"{turned[net, 45] - turned[net, 0]:.3f}"[1:]
        assert f"{before} {rise}" in text


def test_the_study_of_few_photographs_is_that_of_the_results() -> None:
    values = json.loads((ROOT / "examples" / "results" / "study-labels.json").read_text())
    assert {cell["steps"] for cell in values["cells"]} == {0, 312}
    taken: dict[str, list[float]] = {}
    for cell in values["cells"]:
        taken.setdefault(cell["cell"]["net"], []).append(cell["minutes"])
    plain, d4 = (f"{np.median(taken[net]):.1f}" for net in ("plain", "d4"))
    assert f"took {plain} minutes, scored in eight positions, and d4 {d4}." in section("What equivariance buys")
    words = {"plain + test-time": "plain, mean of 8 positions", "d4-tuned": "d4 from three other data sets (1 seed)"}
    lines: dict[str, list[str]] = {words.get(row["net"], row["net"]): [] for row in values["rows"]}
    for row in values["rows"]:
        if row["figure"] == "dice":
            assert row["seeds"] == (1 if row["net"] == "d4-tuned" else 3)
            spread = "" if row["std"] is None else f" ± {row['std']:.3f}"
            lines[words.get(row["net"], row["net"])].append(f"{row['mean']:.3f}{spread}")
    for name, cells in lines.items():
        assert f"| {' | '.join([name, *[''] * (3 - len(cells)), *cells])} |".replace("|  |", "| |") in section(
            "What equivariance buys"
        )


def test_the_study_of_more_steps_is_that_of_the_results() -> None:
    text = section("What equivariance buys")
    values, shorter = (
        json.loads((ROOT / "examples" / "results" / f"study-{name}.json").read_text()) for name in ("long", "labels")
    )
    assert {cell["steps"] for cell in values["cells"]} == {1248}
    dice, before = (
        {(row["net"], row["amount"]): row for row in of["rows"] if row["figure"] == "dice"} for of in (values, shorter)
    )
    assert {row["seeds"] for row in dice.values()} == {3}
    for net in ("plain", "plain + test-time", "d4"):
        name = "plain, mean of 8 positions" if net == "plain + test-time" else net
        cells = [f"{dice[net, amount]['mean']:.3f} ± {dice[net, amount]['std']:.3f}" for amount in (1, 10)]
        assert f"| {' | '.join([name, *cells])} |" in text
    lost = before["d4", 1]["mean"] - dice["d4", 1]["mean"]
    ahead = {amount: dice["d4", amount]["mean"] - dice["plain", amount]["mean"] for amount in (1, 10)}
    assert [f"{by:.3f}" for by in (lost, ahead[1], ahead[10])] == ["0.006", "0.009", "0.019"]
    for net, least in (("plain", 0.014), ("plain + test-time", 0.012)):
        assert min(dice["d4", 10]["values"]) - max(dice[net, 10]["values"]) >= least
    said = " ".join(text.split())
    assert (
        "d4 is ahead by .019, and the worst of its seeds is better than the best of the plain ones by .014, and" in said
    )
    assert "loses .006 by the others, while the plain net still gains: then d4 is ahead by .009, which is what" in said


def test_the_study_in_equal_time_is_that_of_the_results() -> None:
    values = json.loads((ROOT / "examples" / "results" / "study-time.json").read_text())
    text = section("What equivariance buys")
    lines: dict[str, list[str]] = {}
    for row in values["rows"]:
        if row["figure"] == "dice":
            assert (row["budget"], row["seeds"]) == ("time", 3)
            lines.setdefault(row["net"], []).append(f"{row['mean']:.3f} ± {row['std']:.3f}")
    for net, cells in lines.items():
        name = "plain, mean of 8 positions" if net == "plain + test-time" else net
        assert f"| {' | '.join([name, *cells])} |" in text
    plain, d4 = (f"{steps:.0f}" for steps in steps_of(values))
    assert f"The plain net took {plain} steps in that time, and d4 {d4} (medians)." in text
    dice = {(row["net"], row["amount"]): row for row in values["rows"] if row["figure"] == "dice"}
    ahead = [dice["d4", amount]["mean"] - dice["plain", amount]["mean"] for amount in (1, 10)]
    assert [f"{by:.2f}" for by in ahead] == ["0.04", "0.04"]
    for net, least in (("plain", 0.032), ("plain + test-time", 0.025)):
        for amount in (1, 10):
            assert min(dice["d4", amount]["values"]) - max(dice[net, amount]["values"]) >= least
    assert (
        "is ahead by .04, and the worst of its seeds is better than the best of the plain ones by .032, and by .025 or"
        in (" ".join(text.split()))
    )


def test_the_study_in_equal_time_with_bfloat16_is_that_of_the_results() -> None:
    values = json.loads((ROOT / "examples" / "results" / "study-time-bf16.json").read_text())
    dice = {(row["net"], row["amount"]): row["mean"] for row in values["rows"] if row["figure"] == "dice"}
    ahead = " and ".join(
        f"{dice['d4', amount] - dice['plain', amount]:.3f} with {word}".lstrip("0")
        for amount, word in ((1, "one photograph"), (10, "ten"))
    )
    plain, d4 = (f"{steps:.0f}" for steps in steps_of(values))
    said = f"the plain net took {plain} steps and d4 {d4}, and d4 was ahead by {ahead} (`study-time-bf16.json`)."
    assert said in " ".join(section("What equivariance buys").split())


def steps_of(values: dict[str, Any]) -> list[float]:
    """The medians of the steps of plain nets and of d4."""
    cells = values["cells"]
    taken = ([cell["steps"] for cell in cells if cell["cell"]["net"] == net] for net in ("plain", "d4"))
    return [float(np.median(steps)) for steps in taken]


@pytest.mark.parametrize(
    "path", re.findall(r"\]\(([^)#:]+)\)|`(?:python )?((?:examples|tests|geseg)/[\w./-]+)", README)
)
def test_what_is_named_is_there(path: tuple[str, str]) -> None:
    assert (ROOT / (path[0] or path[1])).exists()
