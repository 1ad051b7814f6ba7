"""`geseg eval --report` on the command line; its tables are tested in test_commands.py."""

import csv
import dataclasses
import json
import os
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from geseg.cli.app import app
from geseg.cli.console import print_table
from geseg.cli.evaluate import SHORT
from geseg.model import modelfile


def invoke(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


def test_it_says_where_the_report_is(run_folder: Path, patch_file: Path, tmp_path: Path) -> None:
    code, stdout, stderr = invoke("eval", run_folder, patch_file, "--report", tmp_path / "r", "-q")
    assert (code, stderr) == (0, "")
    page = tmp_path / "r" / "index.html"
    assert f"{page}: the same to look at, with the photographs; open it in a browser\n" in stdout
    assert "2 test images of drive" in page.read_text(encoding="utf-8")
    code, stdout, stderr = invoke("eval", run_folder, patch_file, "--report", tmp_path / "r", "-q")
    assert (code, stdout) == (1, "")
    assert re.fullmatch(
        r"geseg: .*index\.html exists already; choose another place with --report.*--overwrite\n", stderr
    )
    code, stdout, _ = invoke("eval", run_folder, patch_file, "--report", tmp_path / "r", "--overwrite", "--json")
    assert code == 0
    assert json.loads(stdout)["split"] == "test", "nothing but JSON"


def test_a_table_names_its_own_option(run_folder: Path, patch_file: Path, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("mine")
    code, _, stderr = invoke("eval", run_folder, patch_file, "--csv", tmp_path / "a.csv", "-q")
    assert (code, stderr.count("a.csv exists already; choose another place with --csv, or")) == (1, 1)


@pytest.mark.parametrize(("threshold", "rows"), [(0.5, 2), (0.6, 4)])
def test_a_threshold_of_one_half_is_said_once(
    run_folder: Path, patch_file: Path, tmp_path: Path, threshold: float, rows: int
) -> None:
    """In each of the two regions."""
    net, header = modelfile.load(run_folder / "model.safetensors")
    modelfile.save(net, dataclasses.replace(header, threshold=threshold), tmp_path / "m.safetensors")
    _, stdout, _ = invoke("eval", tmp_path / "m.safetensors", patch_file, "-q", "--report", tmp_path / "r")
    assert stdout.count("mean at") == rows
    page = (tmp_path / "r" / "index.html").read_text(encoding="utf-8")
    assert page.count("model, threshold") == rows
    assert page.count(": 1 − specificity ") == len(re.findall(r"</svg>threshold ", page)) - 1 == rows / 2
    assert f"; {threshold:g} is the threshold in the model's file" in stdout


def test_a_second_observer_of_one_of_two_data_sets(
    run_folder: Path, known_dataset: Callable[[str], Path], tmp_path: Path
) -> None:
    """Has drawn all images of that set, which needs no words, and a part of all."""
    sources, patches = map(known_dataset, ("drive", "fives")), ("--patch-size", 32, "-o", tmp_path / "p.h5", "-q")
    assert invoke("prepare", *sources, *patches)[0] == 0
    _, stdout, _ = invoke("eval", run_folder, tmp_path / "p.h5", "-q", "--report", tmp_path / "r")
    assert re.findall(r"^(?:(?:drive|fives|all sets), \w+|second observer(?: \(.*\))?)", stdout, re.MULTILINE) == [
        *("drive, inside", "second observer", "drive, on", "second observer"),
        *("fives, inside", "fives, on", "all sets, inside", "second observer (2 images)"),
        *("all sets, on", "second observer (2 images)"),
    ]
    page = (tmp_path / "r" / "index.html").read_text(encoding="utf-8")
    assert page.count(">second observer</th>") == page.count(">second observer (2 images)</th>") == 2


def test_long_names_are_folded_and_figures_whole(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a terminal of 80 columns; the ids of a list are paths."""
    for name, value in {"FORCE_COLOR": "1", "COLUMNS": "80"}.items():
        monkeypatch.setenv(name, value)
    name = "eyes/patients/somebody/visit-2/left"
    print_table(["image, at 0.5", *SHORT.values()], [[name, *[".8123"] * 9], ["  std", *[".0123"] * 9]])
    head, *lines = re.sub(r"\x1b\[\d*m", "", capsys.readouterr().out).splitlines()
    assert head.split()[-9:] == list(SHORT.values())
    assert "\n".join(lines).count(".8123") == "\n".join(lines).count(".0123") == 9
    assert "".join(line.partition(".8123")[0].strip() for line in lines[:2]) == name
    assert any(line.startswith("  std ") for line in lines)
    assert max(map(len, lines)) <= 80


def test_names_that_are_no_text_or_look_like_markup(make_generic: Callable[..., Path], tmp_path: Path) -> None:
    """Every line fits a strict terminal, and the table a program; brackets are no markup."""
    stems = (os.fsdecode(b"\xff"), "scan[od]")
    try:
        root = make_generic(stems=stems)
    except OSError:
        pytest.skip("this file system has no such names")
    words = ("--csv", tmp_path / "figures.csv", "--report", tmp_path / "r", "-q")
    code, stdout, _ = invoke("eval", root / "masks", root, *words)
    assert code == 0
    assert re.search(r"^photos/\\udcff +1\.000", stdout, re.MULTILINE)
    assert re.search(r"^photos/scan\[od\] +1\.000", stdout, re.MULTILINE)
    with (tmp_path / "figures.csv").open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        assert {row["id"] for row in csv.DictReader(file)} == set(stems)


def test_the_next_command_can_be_pasted(run_folder: Path, patch_file: Path, tmp_path: Path) -> None:
    model = tmp_path / "my runs" / "model.safetensors"
    model.parent.mkdir()
    model.write_bytes((run_folder / model.name).read_bytes())
    code, stdout, _ = invoke("eval", model, patch_file, "-q")
    assert code == 0
    assert stdout.endswith(f"\nnext: geseg export '{model}'\n")
    code, stdout, _ = invoke("export", model, "-q")
    assert code == 0
    assert stdout.endswith(f"\nnext: geseg predict IMAGES -o MASKS --model '{model.with_suffix('.onnx')}'\n")
    code, _, stderr = invoke("predict", patch_file, "-o", tmp_path / "m", "--model", model, "--engine", "onnx")
    assert code == 2
    assert stderr.endswith(f"make one with: geseg export '{model}' -o '{model.with_suffix('.onnx')}'\n")


def test_a_model_beside_another(run_folder: Path, patch_file: Path, tmp_path: Path) -> None:
    weights = run_folder / "model.safetensors"
    arguments = ("eval", run_folder, patch_file, "-q", "--split", "val", "--beside", weights)
    code, _, stderr = invoke(*arguments)
    assert code == 2
    assert stderr.startswith(f"geseg: --beside {weights} is for the equivariance table only")
    code, stdout, stderr = invoke(*arguments, "--equivariance", "--report", tmp_path / "r")
    assert code == 0, stderr
    assert stderr.count("epoch and threshold of the model were chosen on 1 of these images") == 2
    assert f"note: {weights}: epoch and threshold" in stderr
    assert stdout.count("photograph moved by") == 2
    assert f"beside it {weights} on cpu (" in stdout
    page = (tmp_path / "r" / "index.html").read_text(encoding="utf-8")
    assert page.count('class="line s1"') == 4 + 1
