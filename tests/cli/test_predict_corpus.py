"""All hostile, broken and unusual files in one folder: each good one gets its mask, each bad one a line."""

import os
import runpy
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

CORPUS = runpy.run_path(str(Path(__file__).parents[1] / "corpus.py"))
CASES = CORPUS["CASES"]
VANISH = """
import pathlib, geseg.steps.predict as step
plan = step.plan
def plan_and_remove(*arguments):
    planned = plan(*arguments)
    pathlib.Path("photos/vanishing.png").unlink()
    return planned
step.plan = plan_and_remove
"""


def predict(folder: Path, arguments: Sequence[str] = (), before: str = "") -> "subprocess.CompletedProcess[str]":
    """`geseg predict photos` in a folder, as a process of its own."""
    command = ["predict", "photos", "-o", "masks", "--device", "cpu", "-q", *arguments]
    code = f"{before}\nfrom geseg.cli.app import main\nmain()"
    return subprocess.run(
        [sys.executable, "-c", code, *command], cwd=folder, capture_output=True, text=True, timeout=300
    )


def shown(name: str) -> str:
    """A name as a terminal may show it."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in name)


def mask_of(folder: Path, name: str) -> np.ndarray:
    stem = name.removesuffix(".gz").rpartition(".")[0]
    with Image.open(folder / "masks" / f"{stem}.png") as image:
        assert (image.format, image.mode) == ("PNG", "L")
        return np.asarray(image)


@pytest.fixture(scope="module")
def done(run_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, "subprocess.CompletedProcess[str]"]:
    folder = tmp_path_factory.mktemp("corpus")
    (folder / "photos" / "folder.png").mkdir(parents=True)
    for case in CASES:
        case.write(folder / "photos" / case.name)
    (folder / "photos" / "vanishing.png").write_bytes(CORPUS["PNG"])
    return folder, predict(folder, ["--model", str(run_folder), "--threshold", "0.3"], VANISH)


def test_every_good_file_has_its_mask(done: tuple[Path, "subprocess.CompletedProcess[str]"]) -> None:
    """Files that show the same photograph have the same mask, turned as it is displayed."""
    folder, process = done
    good = [case for case in CASES if not isinstance(case.outcome, str)]
    assert f"masks: {len(good)} masks" in process.stdout, process.stderr
    assert len([path for path in (folder / "masks").iterdir() if path.suffix == ".png"]) == len(good)
    first = mask_of(folder, "plain.png")
    assert 0.02 < (first > 0).mean() < 0.98, "a net that finds nothing, or everything, tells nothing"
    for case in good:
        mask = mask_of(folder, case.name)
        assert mask.shape == case.outcome.shape[:2], case.name
        if case.outcome is CORPUS["PHOTO"]:
            assert (mask != first).mean() <= (0.1 if case.levels else 0), case.name


def test_every_bad_file_is_one_line(done: tuple[Path, "subprocess.CompletedProcess[str]"]) -> None:
    _, process = done
    assert process.returncode == 1
    bad = {case.name: case.outcome for case in CASES if isinstance(case.outcome, str)}
    bad["vanishing.png"] = "does not exist; expected an image"
    lines = process.stderr.split("\n")
    assert lines.pop() == ""
    assert lines.pop() == f"geseg: {len(bad)} images could not be segmented, as listed above"
    for name, reason in bad.items():
        (line,) = (line for line in lines if line.startswith(f"geseg: photos/{shown(name)} "))
        assert reason in line
        lines.remove(line)
    assert not lines, "neither a traceback nor a warning"


def test_everything_is_printable(done: tuple[Path, "subprocess.CompletedProcess[str]"]) -> None:
    for line in "".join((done[1].stdout, done[1].stderr)).split("\n"):
        assert line.isprintable(), ascii(line)


def test_unprintable_names_of_bad_files(run_folder: Path, tmp_path: Path) -> None:
    names = ["new\nline.png", "\x1b[31mred.png", "\u202egnp.png", os.fsdecode(b"\xff.png"), "é.png"]
    (tmp_path / "photos").mkdir()
    for name in names:
        (tmp_path / "photos" / name).write_bytes(b"")
    process = predict(tmp_path, ["--model", str(run_folder)])
    lines = process.stderr.splitlines()
    assert process.returncode == 1
    assert len(lines) == len(names) + 1
    for name in names:
        expected = (
            f"geseg: photos/{shown(name)} cannot be read as an image: it has no known format; replace or remove it"
        )
        assert lines.count(expected) == 1, lines


@pytest.mark.parametrize("name", ["new\nline", "\x1b[31mred"])
def test_unprintable_names_of_inputs_for_one_mask(run_folder: Path, tmp_path: Path, name: str) -> None:
    """It is told before any work starts, in one line."""
    (tmp_path / "photos").mkdir()
    for suffix in (".png", ".jpg"):
        (tmp_path / "photos" / f"{name}{suffix}").write_bytes(CORPUS["PNG"])
    process = predict(tmp_path, ["--model", str(run_folder)])
    assert process.returncode == 2
    (line,) = process.stderr.splitlines()
    assert line.isprintable()
    assert f"photos/{shown(name)}.png would both write masks/{shown(name)}.png" in line
    assert not (tmp_path / "masks").exists()


def test_the_same_name_in_two_folders(run_folder: Path, tmp_path: Path) -> None:
    for place in ("x", "y", "a.png"):
        (tmp_path / "photos" / place).mkdir(parents=True)
        (tmp_path / "photos" / place / "a.png").write_bytes(CORPUS["PNG"])
    process = predict(tmp_path, ["--model", str(run_folder), "--recursive"])
    assert process.returncode == 0, process.stderr
    masks = sorted(path.relative_to(tmp_path / "masks").as_posix() for path in (tmp_path / "masks").rglob("a.png"))
    assert [name for name in masks if name != "a.png"] == ["a.png/a.png", "x/a.png", "y/a.png"]


def test_a_mask_and_a_folder_of_masks_with_one_name(run_folder: Path, tmp_path: Path) -> None:
    """Where a.jpg is beside a folder a.png: its mask has the name of the folder for the other's."""
    (tmp_path / "photos" / "a.png").mkdir(parents=True)
    for name in ("a.jpg", "a.png/b.png"):
        (tmp_path / "photos" / name).write_bytes(CORPUS["PNG"])
    process = predict(tmp_path, ["--model", str(run_folder), "--recursive"])
    assert process.returncode == 2, process.stderr
    (line,) = process.stderr.splitlines()
    assert line.startswith("geseg: ")
    assert not list(tmp_path.glob("masks/**/*.png")), "told before any work starts"


AS_NOBODY = """
import os
from geseg.cli.app import app
try:  # loads what is needed from folders that may be closed to others
    app(["predict", "photos/b.png", "-o", "first", "--model", "model.onnx", "--device", "cpu", "-q"])
except SystemExit:
    os.chmod(CLOSED, 0)
if os.getuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
"""


@pytest.mark.parametrize("closed", ["photos/a.png", "photos/deep"])
def test_no_permission(run_folder: Path, tmp_path: Path, closed: str) -> None:
    """Root may read everything, so it becomes somebody else for this."""
    (tmp_path / "photos" / "deep").mkdir(parents=True)
    for name in ("a.png", "b.png", "deep/c.png"):
        (tmp_path / "photos" / name).write_bytes(CORPUS["PNG"])
    shutil.copy(run_folder / "model.onnx", tmp_path)
    tmp_path.chmod(0o777)
    process = predict(tmp_path, ["--model", "model.onnx", "--recursive"], f"CLOSED = {closed!r}\n{AS_NOBODY}")
    (tmp_path / closed).chmod(0o755)
    assert process.returncode == 1, process.stderr
    first, _ = process.stderr.splitlines()
    assert first.startswith(f"geseg: {closed} cannot be ")
    assert "Permission denied; make it readable" in first
    assert (tmp_path / "masks" / "b.png").is_file()
