"""The command as it is typed: exit code, whole output, the file."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from geseg.cli.app import app
from geseg.data.patchfile import PatchFile

Make = Callable[..., Path]


@pytest.fixture(autouse=True)
def in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def typed(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["prepare", *map(str, arguments)])


def test_one_data_set(make_drive: Make) -> None:
    result = typed(make_drive(), "--quiet")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == (
        "patches.h5: drive: 500 train patches of 4 images, 1 val image, 2 test images (2 without labels)\n"
        "next: geseg train patches.h5\n"
    )
    with PatchFile.open(Path("patches.h5")) as file:
        assert file.train_patches([499]).shape == (1, 128, 128, 5)


def test_several_data_sets_and_all_options(make_drive: Make, make_generic: Make) -> None:
    sources = make_drive(test_labels=True), make_generic(stems="abcde"), make_generic("cracks", "a")
    options = {"-o": "new/all.h5", "--patch-size": 16, "--patches-per-image": 3, "--val-fraction": 0.4, "--seed": 5}
    result = typed(*sources, *(word for option in options.items() for word in option), "--quiet")
    assert result.exit_code == 0, result.output
    alone = "(whom they show is unknown: each image counts as a person)"
    assert result.stdout == (
        "new/all.h5: drive: 9 train patches of 3 images, 2 val images, 2 test images; "
        f"photos: 9 train patches of 3 images, 2 val images, no test images {alone}; "
        f"cracks: 3 train patches of 1 image, no val images (a lone person trains), no test images {alone}\n"
        "next: geseg train new/all.h5\n"
    )
    header = PatchFile.open(Path("new/all.h5")).header
    assert (header.patch_size, header.patches_per_image, header.val_fraction, header.seed) == (16, 3, 0.4, 5)


def test_a_label_that_shows_nothing_is_told(make_drive: Make) -> None:
    root = make_drive()
    Image.new("L", (68, 72)).save(root / "training" / "1st_manual" / "21_manual1.gif")
    result = typed(root, "--quiet")
    assert (result.exit_code, Path("patches.h5").exists()) == (0, True)
    words = "geseg: the label of drive/21 shows no vessel; expected white on black: is it the right file?\n"
    assert result.stderr == words


def test_progress_goes_to_stderr(make_drive: Make) -> None:
    result = typed(make_drive(), "--patch-size", 16)
    assert re.fullmatch(r"prepare: 7 done in \d+\.\d s\n", result.stderr)
    assert len(result.stdout.splitlines()) == 2


def test_the_current_folder(make_generic: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(make_generic())
    assert typed(".", "--quiet").stdout.startswith("patches.h5: photos: 250 train patches of 2 images")
    assert typed(".", "--quiet", "--overwrite").exit_code == 0


def test_protocols(known_dataset: Callable[[str], Path]) -> None:
    """Given several times, each for the data set that has it; the others keep theirs, and all are printed."""
    sources = [known_dataset(name) for name in ("chasedb1", "hrf", "primefp20")]
    small = ["--patch-size", 16, "--patches-per-image", 1, "--quiet"]
    result = typed(*sources, "--protocol", "20/8", "--protocol", "fold4", *small)
    assert result.exit_code == 0, result.output
    assert re.findall(r"(\w+) \(split (.*?)\)", result.stdout) == [
        ("chasedb1", "20/8"),
        ("hrf", "15/30"),
        ("primefp20", "fold4"),
    ]


def test_a_list(make_generic: Make) -> None:
    root = make_generic()
    (root / "samples.csv").write_text("image,label,split\nimages/a.png,masks/b.png,\nimages/c.png,,test\n")
    result = typed(root, "--patch-size", 16, "--quiet")
    assert result.stdout.startswith("patches.h5: photos: 125 train patches of 1 image, no val images")
    (root / "samples.csv").write_text("image,label\nimages/a.png,masks/z.png\n")
    result = typed(root, "--overwrite")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        f"geseg: {root}/samples.csv line 2: the label 'masks/z.png' is no file in {root}; expected a path relative to "
        "this folder\n"
    )


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["DRIVE", "--protocol", "8/20"], 2, "drive can follow no protocol '8/20'; there is nothing to choose: "),
        (["nowhere"], 1, "nowhere does not exist; give the folder of a data set"),
        (["DRIVE", "DRIVE"], 2, "a source is given twice (DRIVE, DRIVE); give each folder once"),
        (["DRIVE", "--patch-size", "0"], 2, "patch_size (0) must be at least 1"),
        (
            ["DRIVE", "-o", "taken.h5"],
            1,
            "taken.h5 exists already; choose another place with -o, or replace it with --overwrite",
        ),
        (["DRIVE", "-o", "taken.h5/a.h5"], 1, "cannot write taken.h5/a.h5: "),
    ],
)
def test_mistakes_are_one_line(make_drive: Make, arguments: list[str], code: int, message: str) -> None:
    make_drive()
    Path("taken.h5").write_text("precious")
    result = typed(*arguments)
    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr.startswith(f"geseg: {message}")
    assert len(result.stderr.splitlines()) == 1
    assert sorted(path.name for path in Path().iterdir()) == ["DRIVE", "taken.h5"]
    assert Path("taken.h5").read_text() == "precious"


def test_no_source_is_wrong_usage() -> None:
    result = typed()
    assert result.exit_code == 2
    assert "Missing argument" in result.stderr
    assert "sources" in result.stderr


def test_interrupting_it_leaves_nothing(make_drive: Make) -> None:
    """A real process and a real signal, while it writes."""
    make_drive()
    code = (
        "import os, signal, typer, geseg.steps.prepare as step; from geseg.cli.prepare import prepare\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs inherit that it is ignored\n"
        "def stop(*a):\n    os.kill(os.getpid(), signal.SIGINT); return pack(*a)\n"
        "pack, step.pack = step.pack, stop; typer.run(prepare)"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    result = subprocess.run([sys.executable, "-c", code, "DRIVE"], env=environment, capture_output=True, check=False)
    assert result.returncode != 0
    assert [path.name for path in Path().iterdir()] == ["DRIVE"], result.stderr
