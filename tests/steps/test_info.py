"""Every file says what it is and leads back to its parents; any other file is one line."""

import dataclasses
import json
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from geseg.data.patchfile import PatchFile
from geseg.data.pngtext import read_text
from geseg.errors import DataError, GesegError, ModelFileError
from geseg.files import sha256
from geseg.model.modelheader import ModelHeader
from geseg.native import library
from geseg.steps import info, predict
from geseg.steps.info import Info, InfoConfig
from geseg.steps.predict import PredictConfig


@pytest.fixture(scope="module")
def outputs(run_folder: Path, patch_file: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What predict writes of one photograph, and the photograph."""
    folder, photograph = tmp_path_factory.mktemp("outputs"), patch_file.parent / "eyes/test/images/01_test.tif"
    folders = {name: folder / name for name in ("out", "probabilities", "overlay")}
    predict.run(PredictConfig(images=photograph, model=run_folder, device="cpu", **folders))
    made = {name: folder / "01_test.png" for name, folder in folders.items()}
    return {"photograph": photograph} | made


def look(path: Path) -> Info:
    found = info.run(InfoConfig(file=path))
    json.loads(json.dumps(found.as_json(), allow_nan=False))
    return found


def test_a_patch_file_leads_to_its_photographs(patch_file: Path) -> None:
    found, header = look(patch_file), PatchFile.open(patch_file).header
    assert (found.kind, found.sha256) == ("patch file", sha256(patch_file))
    assert found.header["seed"] == header.seed
    assert len(found.header["samples"]) == 7
    eyes = patch_file.parent / "eyes"
    assert found.parents["image"]["drive/01"] == sha256(eyes / "test/images/01_test.tif")
    assert found.parents["label"]["drive/21"] == sha256(eyes / "training/1st_manual/21_manual1.gif")
    assert {what: len(files) for what, files in found.parents.items()} == {"image": 7, "label": 7, "fov": 7}


def test_a_model_leads_to_its_patch_file_and_photographs(run_folder: Path, patch_file: Path) -> None:
    found = look(run_folder / "model.safetensors")
    assert (found.kind, found.sha256) == ("model", sha256(run_folder / "model.safetensors"))
    assert found.parents["patches"] == sha256(patch_file)
    images = look(patch_file).parents["image"]
    assert {**found.parents["train"], **found.parents["val"]}.items() <= images.items()
    assert len(found.parents["val"]) == 1
    assert "start" not in found.parents


def test_a_model_that_began_with_another_leads_to_it(tmp_path: Path) -> None:
    from geseg.model import modelfile
    from geseg.model.group import Group
    from geseg.model.unet import build

    training = {"patches_sha256": "a" * 64, "start_sha256": "b" * 64, "samples": {"train": {"drive/21": "c" * 64}}}
    header = ModelHeader(group="c1", widths=(1, 2), normalisation="", threshold=0.5, training=training)
    modelfile.save(build(Group.parse("c1"), (1, 2)), header, tmp_path / "a.safetensors")
    parents = {"patches": "a" * 64, "start": "b" * 64, "train": {"drive/21": "c" * 64}}
    assert look(tmp_path / "a.safetensors").parents == parents


def test_an_onnx_file_leads_to_its_weights_by_any_name(run_folder: Path, tmp_path: Path) -> None:
    shutil.copy(run_folder / "model.onnx", tmp_path / "net.onnx")
    found = look(tmp_path / "net.onnx")
    assert (found.kind, found.header["group"]) == ("ONNX model", "d4")
    assert found.parents == {"model": sha256(run_folder / "model.safetensors")}


def test_a_run_folder_is_its_files(run_folder: Path) -> None:
    found = look(run_folder)
    assert (found.kind, found.sha256, found.header) == ("run folder", None, {})
    assert [part.kind for part in found.parts] == ["model", "ONNX model"]
    assert found.parts[0] == look(run_folder / "model.safetensors")
    assert found.parts[1].parents["model"] == found.parts[0].sha256


def test_a_model_says_whether_the_kernel_runs_it(monkeypatch: pytest.MonkeyPatch, needs_kernel: None) -> None:
    shipped = Path("shipped")
    assert [part.native for part in look(shipped).parts] == [
        f"yes, with {library.SETS[library.best_set()]} instructions",
        None,
    ]
    monkeypatch.setattr(library, "best_set", lambda: 0)
    assert (look(shipped).parts[0].native or "").startswith("no: this installation of geseg has no compiled kernel")


def test_shipped_stands_for_the_weights_of_the_package() -> None:
    found = look(Path("shipped"))
    assert [Path(part.file).name for part in found.parts] == ["model.safetensors", "model.onnx"]


def test_what_predict_writes_leads_to_photograph_and_model(
    run_folder: Path, outputs: dict[str, Path], auto_engine: Callable[[str], str]
) -> None:
    parents = {"input": sha256(outputs["photograph"]), "model": sha256(run_folder / "model.safetensors")}
    for name, kind in (("out", "mask"), ("probabilities", "probability map"), ("overlay", "overlay")):
        found = look(outputs[name])
        assert (found.kind, found.parents) == (kind, parents)
        assert found.header["engine"] == auto_engine("cpu")
        assert found.header["trust"]["fov"] == "found"


def retold(path: Path, text: str) -> Path:
    """The PNG with another text of geseg's."""
    data, old = path.read_bytes(), b"geseg\0" + str(read_text(path)).encode()
    new = b"geseg\0" + text.encode("latin-1")
    for part in (old, new):
        chunk = struct.pack(">I", len(part)) + b"tEXt" + part + struct.pack(">I", zlib.crc32(b"tEXt" + part))
        data = data.replace(chunk, b"HERE") if part is old else data.replace(b"HERE", chunk)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"format": 9},
            "has a header of format 9, written by geseg 0.1.0, but this geseg reads format 1; read",
        ),
        ({"threshold": "high"}, 'has a damaged header (threshold is "high", expected float); make it again'),
        ({"trust": {}}, "has a damaged header (missing fields ['entropy_bits', "),
        ({"input_sha256": None}, "has a damaged header (input_sha256 is null, expected str)"),
        ({"more": 1}, "has a damaged header (unknown fields ['more'])"),
    ],
)
def test_a_mask_with_another_header(
    outputs: dict[str, Path], tmp_path: Path, change: dict[str, object], message: str
) -> None:
    path = Path(shutil.copy(outputs["out"], tmp_path / "a.png"))
    values = json.loads(str(read_text(path))) | change
    with pytest.raises(DataError) as caught:
        look(retold(path, json.dumps(values)))
    assert str(caught.value).startswith(f"{path} {message}")


EXPECTED = (
    "; expected a patch file, a model (.safetensors, .onnx), a run folder, or a PNG that geseg predict has written"
)


def refused(path: Path) -> str:
    with pytest.raises(GesegError) as caught:
        look(path)
    assert "\n" not in str(caught.value)
    return str(caught.value).removeprefix(f"{path} ")


def test_anything_else_is_one_line(outputs: dict[str, Path], tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    assert refused(path) == "does not exist" + EXPECTED
    assert refused(tmp_path) == "is a folder without model.safetensors or model.onnx" + EXPECTED
    for content in (b"", b"just some text, and more of it"):
        path.write_bytes(content)
        assert refused(path) == "is none of geseg's files" + EXPECTED
    Image.fromarray(np.zeros((3, 3), np.uint8)).save(path)
    assert refused(path).startswith("is a PNG that geseg predict has not written, or that is cut off")
    path.write_bytes(outputs["out"].read_bytes()[:-5])
    assert refused(path).startswith("is a PNG that geseg predict has not written, or that is cut off")
    assert refused(outputs["photograph"]) == "is none of geseg's files" + EXPECTED
    assert refused(Path("/dev/null")) == "is no file" + EXPECTED


def test_files_are_told_by_their_contents(run_folder: Path, patch_file: Path, tmp_path: Path) -> None:
    for original, kind in ((run_folder / "model.safetensors", "model"), (patch_file, "patch file")):
        assert look(Path(shutil.copy(original, tmp_path / "download.png"))).kind == kind


def test_a_damaged_file_of_ours_says_so(run_folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes((run_folder / "model.safetensors").read_bytes()[:100])
    with pytest.raises(ModelFileError, match="is no safetensors file"):
        look(path)


def test_undefined_figures_are_null() -> None:
    found = Info(kind="model", file="a", header={"metrics": {"dice": float("nan"), "more": [float("nan"), 1.5]}})
    assert found.as_json()["header"] == {"metrics": {"dice": None, "more": [None, 1.5]}}
    assert set(found.as_json()) == {field.name for field in dataclasses.fields(Info)}
