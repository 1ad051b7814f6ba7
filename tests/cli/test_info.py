"""`geseg info`: a table to read, JSON to work with, and no network library."""

import json
import re
import subprocess
import sys
from pathlib import Path

from typer.testing import CliRunner

from geseg.cli.app import app
from geseg.files import sha256
from geseg.model import modelfile
from geseg.model.group import Group
from geseg.model.modelheader import ModelHeader
from geseg.model.unet import build
from geseg.steps import predict
from geseg.steps.predict import PredictConfig


def invoke(*arguments: object) -> str:
    result = CliRunner().invoke(app, ["info", *map(str, arguments)])
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    return result.stdout


def test_no_network_library_is_imported(run_folder: Path, patch_file: Path, tmp_path: Path) -> None:
    photograph, mask = patch_file.parent / "eyes/test/images/01_test.tif", tmp_path / "01_test.png"
    predict.run(PredictConfig(images=photograph, out=tmp_path, model=run_folder, device="cpu"))
    code = (
        "import sys; from typer.testing import CliRunner; from geseg.cli.app import app\n"
        "for file in sys.argv[1:]: assert CliRunner().invoke(app, ['info', file]).exit_code == 0, file\n"
        "assert not {'torch', 'e2cnn', 'onnxruntime', 'onnx'} & set(sys.modules)"
    )
    files = [patch_file, run_folder, run_folder / "model.onnx", mask, "shipped"]
    subprocess.run([sys.executable, "-c", code, *map(str, files)], check=True)


def test_the_table_sums_long_lists_up(patch_file: Path) -> None:
    lines = invoke(patch_file).splitlines()
    assert lines[0] == f"{patch_file}: patch file"
    rows = dict(re.split(r"\s{2,}", line.strip(), maxsplit=1) for line in lines[1:] if line.strip())
    assert rows["sha256"] == sha256(patch_file)
    assert rows["seed"] == "0"
    assert rows["samples"] == "7: 2 drive test, 4 drive train, 1 drive val"
    assert rows["parent image"] == "7 files"


def test_a_run_folder_has_a_table_for_each_file(run_folder: Path) -> None:
    text = invoke(run_folder)
    assert f"{run_folder / 'model.safetensors'}: model\n" in text
    assert re.search(rf"^ *parent model +{sha256(run_folder / 'model.safetensors')}$", text, re.MULTILINE)
    assert re.search(r"^ *training\.samples\.train +4 files$", text, re.MULTILINE)
    assert re.search(r"^ *normalisation +\(image - mean\).*at most 3$", text, re.MULTILINE), "nothing is folded"


def test_people_are_not_counted_as_files(tmp_path: Path) -> None:
    """Both eyes of one child are two photographs."""
    who = {f"chasedb1/0{number}{eye}": str(number) * 64 for number in (1, 2) for eye in "LR"}
    header = ModelHeader(group="c1", widths=(1,), normalisation="", threshold=0.5, training={"people": {"train": who}})
    modelfile.save(build(Group.parse("c1"), (1,)), header, tmp_path / "a.safetensors")
    assert re.search(r"^ *training\.people\.train +2 people$", invoke(tmp_path / "a.safetensors"), re.MULTILINE)


def test_no_line_ends_in_spaces(run_folder: Path) -> None:
    text = invoke(run_folder)
    assert text.endswith("\n\n")
    assert [line for line in text.splitlines() if line != line.rstrip()] == []


def test_json_has_all_of_it(run_folder: Path) -> None:
    found = json.loads(invoke(run_folder, "--json"))
    model, exported = found["parts"]
    assert (found["kind"], model["kind"]) == ("run folder", "model")
    assert len(model["header"]["training"]["samples"]["train"]) == 4
    assert exported["parents"] == {"model": model["sha256"]}


def test_a_stranger_cannot_write_to_the_terminal(tmp_path: Path) -> None:
    words = "\x1b[2J[red]no colour[/red]\n\ud800"
    header = ModelHeader(group="c1", widths=(1,), normalisation=words, threshold=0.5)
    modelfile.save(build(Group.parse("c1"), (1,)), header, tmp_path / "a.safetensors")
    text = invoke(tmp_path / "a.safetensors")
    assert r"\x1b[2J[red]no colour[/red]\n\ud800" in text
    invoke(tmp_path / "a.safetensors", "--json").encode("ascii")


def test_any_other_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("hello")
    result = CliRunner().invoke(app, ["info", str(tmp_path / "a.txt")])
    assert result.exit_code == 1
    assert result.stdout == ""
    assert re.fullmatch(r"geseg: .*a\.txt is none of geseg's files; expected a patch file, .*\n", result.stderr)


def test_a_name_that_no_file_system_takes() -> None:
    """Nor may one ask for it: as with files in the folder of another user, that is one line."""
    for arguments in (["info", "a" * 300], ["prepare", "a" * 300], ["train", "a" * 300]):
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 1, arguments
        assert re.fullmatch(r"geseg: .*a{300}.*File name too long.*\n", result.stderr), result.stderr
