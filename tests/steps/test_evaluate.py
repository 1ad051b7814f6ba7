import csv
import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import f1_score

import geseg
from geseg.data import patchfile
from geseg.data.images import write_mask, write_probability
from geseg.data.patchfile import PatchFile
from geseg.errors import ConfigError, DataError, LayoutError, OutputError
from geseg.steps.evaluate import EvalConfig, run
from geseg.steps.prepare import PrepareConfig
from geseg.steps.prepare import run as prepare
from geseg.steps.scores import Row

Make = Callable[..., Path]
HALF, FIXED = Row("model", "fov", "0.5"), Row("model", "fov", "fixed")


def test_a_model_at_both_thresholds(run_folder: Path, patch_file: Path) -> None:
    result = run(EvalConfig(model=run_folder, truths=patch_file))
    model = geseg.load(run_folder)
    assert result.split == "test"
    assert result.thresholds == {"0.5": 0.5, "fixed": model.threshold}
    with PatchFile.open(patch_file) as file:
        for score, whole in zip(result.images, file.whole("test"), strict=True):
            assert whole.label is not None
            probability, truth = model.segment(whole.image)[whole.fov], whole.label[whole.fov]
            assert score.rows[HALF]["dice"] == pytest.approx(f1_score(truth, probability >= 0.5))
            assert score.rows[FIXED]["dice"] == pytest.approx(f1_score(truth, probability >= model.threshold))
    assert result.protocol == ("2 test images of drive, at their own resolution, against the first observer")


def test_both_engines_give_the_same_figures(
    run_folder: Path, patch_file: Path, auto_engine: Callable[[str], str]
) -> None:
    onnx = run(EvalConfig(model=run_folder / "model.onnx", truths=patch_file, device="cpu"))
    other = run(EvalConfig(model=run_folder / "model.safetensors", truths=patch_file, device="cpu"))
    assert "onnxruntime" in onnx.made_by
    assert ("geseg's kernel" if auto_engine("cpu") == "native" else "cpu (torch") in other.made_by
    for name, value in onnx.summaries["drive"][HALF].mean.items():
        assert value == pytest.approx(other.summaries["drive"][HALF].mean[name], abs=1e-3)


def test_a_model_and_its_probability_files_get_the_same_figures(
    run_folder: Path, patch_file: Path, tmp_path: Path
) -> None:
    model = geseg.load(run_folder)
    with PatchFile.open(patch_file) as file:
        for whole in file.whole("test"):
            write_probability(tmp_path / f"{whole.record.stem}.png", model.segment(whole.image) * whole.fov)
    own = run(EvalConfig(model=run_folder, truths=patch_file))
    files = run(EvalConfig(model=tmp_path, truths=patch_file))
    assert (files.made_by, files.thresholds) == ("files", {"0.5": 0.5})
    for row in (HALF, Row("model", "all", "0.5")):
        for name, value in own.summaries["drive"][row].pooled.items():
            assert files.summaries["drive"][row].pooled[name] == pytest.approx(value, abs=1e-5 if name == "ece" else 0)


def test_masks_of_the_labels_themselves_are_perfect(patch_file: Path, make_drive: Make) -> None:
    root = make_drive(test_labels=True)
    result = run(EvalConfig(model=root / "test" / "1st_manual", truths=root))
    figures = result.summaries["drive"][HALF].mean
    assert [figures[name] for name in ("dice", "cldice", "accuracy", "mcc")] == [1, 1, 1, 1]
    assert math.isnan(figures["auc"])
    assert "undefined (nan) for 2 of 2 images, first drive/01: auc, aupr, ece" in result.notes
    assert (
        run(EvalConfig(model=root / "test" / "1st_manual", truths=patch_file)).summaries["drive"][HALF].mean["dice"]
        == 1
    )


def test_masks_choose_the_split_that_they_are_of(make_drive: Make, tmp_path: Path) -> None:
    root = make_drive(test_labels=True)
    assert run(EvalConfig(model=root / "training" / "1st_manual", truths=root)).split == "train"
    (root / "training" / "1st_manual" / "21_manual1.gif").rename(tmp_path / "a.gif")
    with pytest.raises(LayoutError, match="lack their label"):
        run(EvalConfig(model=root / "training" / "1st_manual", truths=root))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            lambda label: 255 - 255 * label,
            "more than 75% of the field of view is vessel in 2 of 3 maps, first that of photos/a; expected white "
            "vessels on black: are they inverted?",
        ),
        (
            lambda label: label + label * (np.arange(68) > 34),
            "no pixel of the field of view reaches 0.5 in 2 of 3 maps, first that of photos/a; expected probabilities, "
            "or 255 where there is a vessel: are these numbers of classes?",
        ),
        (np.zeros_like, ""),
    ],
)
def test_maps_that_hardly_mean_what_they_are_scored_as(
    make_generic: Make, draw_eye: Make, tmp_path: Path, wrong: Callable[[np.ndarray], np.ndarray], message: str
) -> None:
    root = make_generic()
    for seed, stem in enumerate("abc"):
        label = draw_eye(seed)[1].astype(np.uint8)
        (tmp_path / "maps").mkdir(exist_ok=True)
        Image.fromarray(255 * label if stem == "c" else wrong(label)).save(tmp_path / "maps" / f"{stem}.png")
    notes = run(EvalConfig(model=tmp_path / "maps", truths=root)).notes
    assert [note for note in notes if " maps, " in note] == [message] * bool(message)


def test_a_gap_among_the_masks_is_no_result(make_drive: Make, tmp_path: Path) -> None:
    root = make_drive(test_labels=True)
    write_mask(tmp_path / "masks" / "01_test.png", np.zeros((72, 68), bool))
    with pytest.raises(DataError, match="masks lacks 1 of the 2 maps of the test images, first that of 02_test; exp"):
        run(EvalConfig(model=tmp_path / "masks", truths=root))


def test_equivariance_needs_a_model(run_folder: Path, patch_file: Path, make_drive: Make) -> None:
    root = make_drive(test_labels=True)
    with pytest.raises(ConfigError, match="holds masks, and --equivariance needs a model to run"):
        run(EvalConfig(model=root / "test" / "1st_manual", truths=root, equivariance=True))
    rows = run(EvalConfig(model=run_folder, truths=patch_file, equivariance=True)).as_json()["equivariance"]
    assert rows[0] | {"dice": 0, "auc": 0} == {
        **{"move": "rot 0", "exact": True, "dice": 0, "auc": 0},
        **{"mean_difference": 0, "max_difference": 0, "flipped": 0},
    }


def test_it_says_what_the_model_has_seen(run_folder: Path, patch_file: Path) -> None:
    assert run(EvalConfig(model=run_folder, truths=patch_file, split="test")).notes == ()
    notes = run(EvalConfig(model=run_folder, truths=patch_file, split="val")).notes
    assert notes == ("epoch and threshold of the model were chosen on 1 of these images",)
    notes = run(EvalConfig(model=run_folder, truths=patch_file.parent / "eyes", split="train")).notes
    assert notes == (
        "the model was trained on 4 of these images: their figures flatter it",
        "epoch and threshold of the model were chosen on 1 of these images",
    )


def test_without_test_labels_the_validation_images_are_scored(
    run_folder: Path, make_drive: Make, tmp_path: Path
) -> None:
    out = tmp_path / "p.h5"
    prepare(PrepareConfig(sources=(make_drive(),), out=out, patch_size=32, patches_per_image=1))
    result = run(EvalConfig(model=run_folder, truths=out))
    assert result.split == "val"
    assert f"{out} has no labelled test images: scored on the validation images instead" in result.notes


def test_csv_and_json_have_every_image_and_row(run_folder: Path, patch_file: Path, tmp_path: Path) -> None:
    config = EvalConfig(model=run_folder, truths=patch_file, csv=tmp_path / "figures.csv")
    result = run(config)
    rows = list(csv.DictReader((tmp_path / "figures.csv").read_text().splitlines()))
    assert [(row["id"], row["by"], row["region"], row["at"]) for row in rows] == [
        (image, "model", region, at) for image in ("01", "02") for region in ("fov", "all") for at in ("0.5", "fixed")
    ]
    assert float(rows[0]["dice"]) == pytest.approx(result.images[0].rows[HALF]["dice"], abs=1e-6)
    assert float(rows[1]["threshold"]) == result.thresholds["fixed"]
    values = json.loads(json.dumps(result.as_json()))
    assert [(row["dataset"], row["region"], row["at"]) for row in values["summary"]] == [
        ("drive", region, at) for region in ("fov", "all") for at in ("0.5", "fixed")
    ]
    assert values["summary"][0]["mean"] == result.summaries["drive"][HALF].mean
    assert [row["id"] for row in values["images"]] == ["01"] * 4 + ["02"] * 4
    with pytest.raises(OutputError, match=r"figures\.csv exists already"):
        run(config)


def test_an_undefined_figure_is_none_in_json_and_told(run_folder: Path, patch_file: Path, tmp_path: Path) -> None:
    with PatchFile.open(patch_file) as file:
        wholes = [dataclasses.replace(w, label=np.zeros_like(w.fov)) for w in file.whole("test")]
        header = dataclasses.replace(file.header, samples=())
    patchfile.write(tmp_path / "empty.h5", header, wholes)
    values = run(EvalConfig(model=run_folder, truths=tmp_path / "empty.h5")).as_json()
    assert values["images"][0]["auc"] is None
    assert values["summary"][0]["mean"]["sensitivity"] is None
    assert values["summary"][0]["mean"]["specificity"] is not None
    assert values["notes"] == ["undefined (nan) for 2 of 2 images, first drive/01: sensitivity, mcc, auc, aupr"]
    json.dumps(values, allow_nan=False)
