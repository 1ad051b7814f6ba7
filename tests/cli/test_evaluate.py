"""`geseg eval --report` on the command line; its tables are tested in test_commands.py."""

import json
import re
from pathlib import Path

from typer.testing import CliRunner

from geseg.cli.app import app


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
    assert re.fullmatch(r"geseg: .*index\.html exists already; choose another place.*--overwrite\n", stderr)
    code, stdout, _ = invoke("eval", run_folder, patch_file, "--report", tmp_path / "r", "--overwrite", "--json")
    assert code == 0
    assert json.loads(stdout)["split"] == "test", "nothing but JSON"


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
