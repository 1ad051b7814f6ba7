"""What a model has seen of the images it is scored on: by hash, by name, by person; of other images nothing is said."""

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from geseg.errors import ModelFileError
from geseg.model import modelfile
from geseg.model.modelheader import read_header
from geseg.steps import predict, seen
from geseg.steps.evaluate import EvalConfig, run
from geseg.steps.predict import PredictConfig
from geseg.steps.seen import person_key
from geseg.steps.truths import open_truths

Make = Callable[..., Path]


def notes(model: Path, truths: Path, split: str = "train") -> tuple[str, ...]:
    return run(EvalConfig(model=model, truths=truths, split=split)).notes  # type: ignore[arg-type]


@pytest.fixture
def own_eyes(run_folder: Path, make_generic: Make, tmp_path: Path) -> tuple[Path, Path]:
    """A folder of photographs with samples.csv, and a model that says it was trained on "photos/a", of Ada."""
    root = make_generic(stems=("a", "b", "c"))
    lines = ["image,label,person", "images/a.png,masks/a.png,Ada", "images/b.png,masks/b.png,Ada"]
    (root / "samples.csv").write_text("\n".join([*lines, "images/c.png,masks/c.png,Cleo"]))
    net, header = modelfile.load(run_folder / "model.safetensors")
    digest = seen.sha256(root / "images" / "a.png")
    training = {"samples": {"train": {"photos/images/a": digest}, "val": {}}}
    modelfile.save(net, dataclasses.replace(header, training=training), tmp_path / "m.safetensors")
    return tmp_path / "m.safetensors", root


def test_the_same_bytes_under_any_name(run_folder: Path, patch_file: Path, tmp_path: Path) -> None:
    """The photographs of two training people and one validation person, renamed, in a data set of another name."""
    eyes = patch_file.parent / "eyes" / "training"
    samples = read_header(run_folder / "model.safetensors").training["samples"]
    trained, chosen = (sorted(samples[split]) for split in ("train", "val"))
    for new, name in zip("xyz", (*trained[:2], chosen[0]), strict=True):
        number = name.partition("/")[2]
        for kind, old in (("images", f"images/{number}_training.tif"), ("masks", f"1st_manual/{number}_manual1.gif")):
            (tmp_path / "other" / kind).mkdir(parents=True, exist_ok=True)
            shutil.copy(eyes / old, tmp_path / "other" / kind / f"{new}{Path(old).suffix}")
    assert notes(run_folder, tmp_path / "other") == (
        "the model was trained on 2 of these images: their figures flatter it",
        "epoch and threshold of the model were chosen on 1 of these images",
    )


def test_the_same_name_with_other_bytes(run_folder: Path, patch_file: Path, tmp_path: Path) -> None:
    """Photographs that were saved anew have other hashes."""
    shutil.copytree(patch_file.parent / "eyes", tmp_path / "eyes")
    for path in (tmp_path / "eyes" / "training" / "images").iterdir():
        with Image.open(path) as image:
            image.save(path, compression="tiff_lzw")
    first, second = notes(run_folder, tmp_path / "eyes")
    assert first.startswith("the model was trained on images of the same names as 4 of these, first drive/2")
    assert first.endswith("though of other bytes: if they are the same photographs, saved anew, the figures flatter it")
    assert second.startswith("epoch and threshold of the model were chosen on images of the same names as 1 of these")


def test_other_images_of_the_same_person(own_eyes: tuple[Path, Path]) -> None:
    """The list of the folder tells who is on the image that the model names; hashes tell the rest."""
    model, root = own_eyes
    assert notes(model, root) == (
        "the model was trained on 1 of these images: their figures flatter it",
        "the model was trained on other images of the people in 1 of these, first photos/images/b: "
        "their figures flatter it",
    )


def test_people_are_known_from_the_model_where_the_folder_lacks_their_images(own_eyes: tuple[Path, Path]) -> None:
    model, root = own_eyes
    (root / "samples.csv").write_text("image,label,person\nimages/b.png,masks/b.png,Ada\nimages/c.png,masks/c.png,Cleo")
    assert notes(model, root) == ()
    net, header = modelfile.load(model)
    people = {"people": {"train": {"photos/images/a": person_key("photos", "Ada")}}}
    modelfile.save(net, dataclasses.replace(header, training=header.training | people), model)
    (note,) = notes(model, root)
    assert note.startswith("the model was trained on other images of the people in 1 of these, first photos/images/b")


def test_both_eyes_of_a_child(run_folder: Path, known_dataset: Callable[[str], Path], tmp_path: Path) -> None:
    root = known_dataset("chasedb1")
    net, header = modelfile.load(run_folder / "model.safetensors")
    training = {"samples": {"train": {"chasedb1/14R": "0" * 64}, "val": {}}}
    modelfile.save(net, dataclasses.replace(header, training=training), tmp_path / "m.safetensors")
    truths = open_truths(root)
    records = [photograph.read().record for photograph in truths.photographs if photograph.id in ("13L", "14L", "14R")]
    assert list(seen.notes(tmp_path / "m.safetensors", records, truths.people)) == [
        "the model was trained on images of the same names as 1 of these, first chasedb1/14R, though of other bytes: "
        "if they are the same photographs, saved anew, the figures flatter it",
        "the model was trained on other images of the people in 1 of these, first chasedb1/14L: "
        "their figures flatter it",
    ]


def test_an_onnx_file_by_itself_says_so(run_folder: Path, patch_file: Path, tmp_path: Path) -> None:
    exported = run_folder / "model.onnx"
    assert notes(exported, patch_file, "val") == ("epoch and threshold of the model were chosen on 1 of these images",)
    alone = shutil.copy(exported, tmp_path / "model.onnx")
    (note,) = notes(alone, patch_file, "val")
    assert note == (
        f"{alone} does not say what it was trained on, so that nobody can tell whether it has seen these images; "
        "score the weights that it was made from"
    )
    shutil.copy(run_folder / "model.safetensors", tmp_path / "model.safetensors")
    assert notes(alone, patch_file, "val") == notes(exported, patch_file, "val")


def test_masks_name_the_weights_that_wrote_them(run_folder: Path, make_drive: Make, tmp_path: Path) -> None:
    """Those of the package are asked; others are elsewhere, and masks of other tools name none."""
    root, masks = make_drive(), tmp_path / "masks"
    predict.run(PredictConfig(images=root / "training" / "images", out=masks, device="cpu"))
    (note,) = (note for note in notes(masks, root) if not note.startswith("undefined"))
    assert note.startswith("maps of shipped: the model was trained on images of the same names as 5 of these, first dr")
    (masks / "21_training.png").unlink()
    other = PredictConfig(images=root / "training/images/21_training.tif", out=masks, model=run_folder, device="cpu")
    predict.run(other)
    digest = seen.sha256(run_folder / "model.safetensors")
    assert sum(note.startswith(f"1 map made with the weights {digest}, which") for note in notes(masks, root)) == 1
    for mask in masks.glob("*.png"):
        with Image.open(mask) as image:
            image.save(mask)
    assert [note for note in notes(masks, root) if "weights" in note or "shipped" in note] == []


@pytest.mark.parametrize("people", [3, {"train": [1]}, {"train": {"eyes/1": ["x"]}}])
def test_headers_of_strangers_are_data(people: object, tmp_path: Path, run_folder: Path) -> None:
    net, header = modelfile.load(run_folder / "model.safetensors")
    modelfile.save(net, dataclasses.replace(header, training={"people": people}), tmp_path / "m.safetensors")
    with pytest.raises(ModelFileError, match=r"its header cannot be read: training\.people.* expected "):
        list(seen.notes(tmp_path / "m.safetensors", (), {}))


def test_training_keeps_who_was_seen(run_folder: Path) -> None:
    """Not by name; each photograph of DRIVE shows another person."""
    training = read_header(run_folder / "model.safetensors").training
    for split in ("train", "val"):
        assert training["people"][split].keys() == training["samples"][split].keys()
        for name, key in training["people"][split].items():
            assert key == person_key("drive", name.partition("/")[2])


def test_names_of_people_are_not_kept() -> None:
    assert "Ada" not in person_key("photos", "Ada")
    assert person_key("photos", "Ada") != person_key("other", "Ada")
    assert len(person_key("photos", "\udcff")) == 64
