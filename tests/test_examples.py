"""The quick start's own commands, on a smaller data set and for a moment; the script itself also installs."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from geseg.cli.app import app

SCRIPT = Path(__file__).parents[1] / "examples" / "quickstart.sh"
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
        names = sorted(path.name for path in Path("quickstart", folder).iterdir())
        assert names == [f"{number:02}_test.png" for number in range(1, 5)]


@pytest.mark.parametrize("name", ["examples/quickstart.sh", "tests/run.sh", ".ci/run"])
def test_shell_scripts_parse(name: str) -> None:
    subprocess.run(["sh", "-n", SCRIPT.parents[1] / name], check=True)
