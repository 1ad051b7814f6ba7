"""All commands: wrong usage, output, start-up."""

import csv
import dataclasses
import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import geseg
from geseg.cli.app import COMMANDS, app
from geseg.cli.console import log_lines
from geseg.cli.options import GroupName
from geseg.data import hdf5
from geseg.data.augment import Augmentation
from geseg.model import group
from geseg.native import library
from geseg.steps.evaluate import EvalConfig
from geseg.steps.export import ExportConfig
from geseg.steps.info import InfoConfig
from geseg.steps.predict import PredictConfig
from geseg.steps.prepare import PrepareConfig
from geseg.steps.trainconfig import TrainConfig


def invoke(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.stdout, result.stderr


def test_help_loads_no_network_library() -> None:
    heavy = "{'torch', 'e2cnn', 'onnxruntime', 'onnx', 'numpy', 'scipy', 'h5py', 'PIL', 'sklearn'}"
    code = f"import sys, geseg, geseg.cli.app; assert not {heavy} & set(sys.modules), sorted(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example(command: str) -> None:
    code, stdout, _ = invoke(command, "--help")
    assert code == 0
    assert f"Example: geseg {command}" in re.sub(r"\s+", " ", stdout)


def test_the_groups_are_those_that_nets_are_made_of(tmp_path: Path) -> None:
    assert [name.value for name in GroupName] == [f"{kind}{turns}" for kind in "cd" for turns in group.ROTATIONS]
    nothing = tmp_path / "none.h5"
    assert invoke("train", nothing, "--group", "D8") == (1, "", f"geseg: {nothing} does not exist; {hdf5.EXPECTED}\n")
    code, _, message = invoke("train", nothing, "--group", "d3")
    assert (code, "'d3' is not one of 'c1', 'c2', 'c4'" in re.sub(r"[\s│]+", " ", message)) == (2, True)


AUGMENTATION = {field.name: field.default for field in dataclasses.fields(Augmentation)}
CONFIGS = {
    "prepare": (PrepareConfig, {"quiet"}),
    "train": (TrainConfig, {"quiet", *AUGMENTATION}),
    "eval": (EvalConfig, {"quiet", "json"}),
    "export": (ExportConfig, {"quiet"}),
    "predict": (PredictConfig, {"quiet"}),
    "info": (InfoConfig, {"json"}),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_options_have_the_defaults_of_their_step(command: str) -> None:
    """They are written twice so that `geseg --help` need not import the step."""
    kind, terminal_only = CONFIGS[command]
    fields = {field.name: field.default for field in dataclasses.fields(kind)}
    given = {name: parameter.default for name, parameter in inspect.signature(COMMANDS[command]).parameters.items()}
    assert given.keys() - fields.keys() == terminal_only
    optional = [name for name in given if name not in terminal_only and given[name] is not inspect.Parameter.empty]
    assert {name: given[name] for name in optional} == {name: fields[name] for name in optional}


def test_the_changes_of_a_patch_have_the_defaults_of_their_step() -> None:
    given = inspect.signature(COMMANDS["train"]).parameters
    assert {name: given[name].default for name in AUGMENTATION} == AUGMENTATION


def test_train_varies_the_camera_if_asked_to(patch_file: Path, tmp_path: Path) -> None:
    words = ("--camera", "--no-scale", "--widths", "1,2", "--epochs", "1", "--device", "cpu", "-q")
    code, _, stderr = invoke("train", patch_file, "-o", tmp_path / "run", *words)
    assert code == 0, stderr
    varied = json.loads((tmp_path / "run" / "config.json").read_text())["augmentation"]
    assert varied == AUGMENTATION | {"camera": True, "scale": False}


def test_python_m_geseg_is_geseg() -> None:
    done = subprocess.run([sys.executable, "-m", "geseg", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"geseg {geseg.__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "p.h5", "--widths", "3,x"],
        ["train", "p.h5", "--group", "d3"],
        ["train", "p.h5", "--epochs", "0"],
        ["eval", "run", "--split", "training"],
        ["predict", "photos"],
        ["export"],
        ["segment"],
        ["predict", "photos", "-o", "masks", "--engine", "tensorrt", "--model", "m"],
    ],
)
def test_wrong_usage_leaves_with_2(arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, stdout, stderr = invoke(*arguments)
    assert code == 2
    assert stdout == ""
    assert stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train"], "patches.h5 does not exist; expected a patch file: make one with `geseg prepare`"),
        (["train", "text.h5"], "text.h5 cannot be read as HDF5"),
        (["eval", "run", "text.h5"], "text.h5 cannot be read as HDF5"),
        (["export", "run"], "run is no file; expected a model such as runs/NAME/model.safetensors (geseg train)"),
        (["export", "text.h5"], "text.h5 is no safetensors file"),
        (["predict", "text.h5", "-o", "m", "--model", "text.onnx"], "text.onnx cannot be read as an ONNX file"),
        (["predict", "empty", "-o", "m", "--model", "run"], "empty holds 0 entries, but no image"),
    ],
)
def test_mistakes_are_one_line_and_leave_with_1(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    for name in ("text.h5", "text.onnx"):
        (tmp_path / name).write_text("just some text")
    before = sorted(tmp_path.rglob("*"))
    code, stdout, stderr = invoke(*arguments)
    assert code == 1, stderr
    assert stdout == ""
    assert stderr.startswith(f"geseg: {message}"), stderr
    assert len(stderr.splitlines()) == 1
    assert sorted(tmp_path.rglob("*")) == before


def test_train_says_what_it_wrote_and_what_to_run_next(patch_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    code, stdout, stderr = invoke(
        "train", patch_file, "-o", out, "--widths", "1,2", "--epochs", 2, "--batch-size", 4, "--device", "cpu",
        "--precision", "fp32",
    )  # fmt: skip
    assert code == 0, stderr
    net, dice, picture, following = stdout.splitlines()
    kernel = " with geseg's kernel" if library.best_set() >= library.AVX2 else ""
    assert net == f"{out}/model.safetensors: d4 of widths 1,2 (564 parameters) on cpu in fp32{kernel}"
    assert re.fullmatch(r"validation Dice \d\.\d{4} at threshold 0\.5, epoch [12]; fixed threshold 0\.\d+", dice)
    assert picture == f"{out}/curves.png: loss and validation Dice of the epochs"
    assert following == f"next: geseg eval {out} {patch_file}"
    progress = stderr.splitlines()
    assert progress[0].startswith(f"epoch 1/2, d4 of widths 1,2 (564 parameters) on cpu in fp32{kernel}: 8 done in ")
    assert progress[2].startswith("epoch 2/2: 8 done in ")
    rows = list(csv.DictReader((out / "metrics.csv").read_text().splitlines()))
    best = 0.0
    for line, row in zip(progress[1::2], rows, strict=True):
        best = max(best, float(row["val_dice"]))
        figures = f"loss {float(row['loss']):.4f}, val Dice {float(row['val_dice']):.4f} (best {best:.4f})"
        assert re.fullmatch(rf"epoch {row['epoch']}/2: {re.escape(figures)}, \d+ patches/s, \d+ s left", line)


def test_work_that_is_left_early_ends_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    """As by `train --minutes` and SIGTERM."""
    for number in log_lines(range(5), "epoch 1/2", 5):
        if number == 2:
            break
    assert re.fullmatch(r"epoch 1/2: ended at 3 of 5 after 0\.\d s\n", capsys.readouterr().err)


def test_eval_prints_tables_or_json(run_folder: Path, patch_file: Path) -> None:
    code, stdout, stderr = invoke("eval", run_folder, patch_file, "--quiet")
    assert (code, stderr) == (0, "")
    lines = stdout.splitlines()
    assert lines[0].split() == [
        "image,",
        "at",
        "0.5",
        "Dice",
        "clDice",
        "sens.",
        "spec.",
        "acc.",
        "MCC",
        "AUC",
        "AUPR",
        "ECE",
    ]
    assert re.fullmatch(r"drive/01 +(\.\d{4} +){8}\.\d{4}", lines[1])
    assert all(line == line.rstrip() for line in lines)
    assert [line for line in lines if line.startswith("drive,")] == [
        "drive, inside the field of view",
        "drive, on all pixels",
    ]
    assert max(len(line) for line in lines if line.startswith("  std")) <= 80
    assert "2 test images of drive, at their own resolution, against the first observer; by" in stdout
    assert lines[-1] == f"next: geseg predict IMAGES -o MASKS --model {run_folder}", "it is exported already"
    code, stdout, stderr = invoke("eval", run_folder, patch_file, "--json", "--split", "val")
    assert code == 0
    assert 0 < json.loads(stdout)["summary"][0]["mean"]["dice"] < 1
    assert stderr == "note: epoch and threshold of the model were chosen on 1 of these images\n"


@pytest.mark.parametrize("name", ["model.onnx", "model.safetensors"])
@pytest.mark.parametrize(("turns", "more"), [(1, ""), (2, " --turns 2")])
def test_eval_says_what_to_run_next(name: str, turns: int, more: str, run_folder: Path, patch_file: Path) -> None:
    code, stdout, _ = invoke("eval", run_folder / name, patch_file, "--turns", str(turns), "--quiet")
    assert code == 0
    assert stdout.splitlines()[-1] == f"next: geseg predict IMAGES -o MASKS --model {run_folder / name}{more}"


def test_eval_of_masks_names_no_threshold_of_a_model(patch_file: Path) -> None:
    eyes = patch_file.parent / "eyes"
    code, stdout, stderr = invoke("eval", eyes / "test" / "1st_manual", eyes, "--quiet")
    assert code == 0
    assert stderr == "note: undefined (nan) for 2 of 2 images, first drive/01: auc, aupr, ece\n"
    assert re.search(r"^drive/02 +1\.000 +1\.000 .* nan +nan +nan$", stdout, re.MULTILINE)
    assert stdout.endswith("mean and std are over images, pooled is all pixels together\n")


def test_eval_shows_how_maps_move_along(run_folder: Path, patch_file: Path) -> None:
    code, stdout, stderr = invoke("eval", run_folder, patch_file, "--quiet", "--equivariance")
    assert (code, stderr) == (0, "")
    assert re.search(r"^rot 0 +\.\d{4} +\.\d{4} +0\.0e\+00 +0\.0e\+00 +0\.0e\+00$", stdout, re.MULTILINE)
    assert re.search(r"^rot 15 \* +\.\d{4} +\.\d{4} +\d\.\de-0\d", stdout, re.MULTILINE)
    assert "* between pixels: the photograph is interpolated" in stdout


def test_export_says_how_near_it_is(run_folder: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "geseg", "export", str(run_folder), "-o", str(tmp_path / "m.onnx"), "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, ""), "the exporter's own remarks are no business of the user"
    first, following = done.stdout.splitlines()
    assert re.fullmatch(
        rf"{re.escape(str(tmp_path))}/m\.onnx: same probabilities as the model up to \d\.\de-\d\d; "
        r"any batch, height and width divisible by 4",
        first,
    )
    assert following == f"next: geseg predict IMAGES -o MASKS --model {tmp_path / 'm.onnx'}"
