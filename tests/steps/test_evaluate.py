import csv
import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import f1_score, roc_auc_score

from geseg.data import patchfile
from geseg.data.patchfile import PatchFile
from geseg.errors import DataError, OutputError
from geseg.steps import models
from geseg.steps.evaluate import EvalConfig, run
from geseg.steps.prepare import PrepareConfig
from geseg.steps.prepare import run as prepare


def test_figures_are_those_of_scikit_learn(run_folder: Path, patch_file: Path) -> None:
    result = run(EvalConfig(model=run_folder, patches=patch_file))
    assert result.split == "test"
    assert len(result.images) == 2
    model = models.load(run_folder)
    truths, maps = [], []
    with PatchFile.open(patch_file) as file:
        for score, whole in zip(result.images, file.whole("test"), strict=True):
            assert whole.label is not None
            probability = model.segment(whole.image)[whole.fov]
            truths.append(whole.label[whole.fov])
            maps.append(probability)
            assert score.figures("0.5")["dice"] == pytest.approx(f1_score(truths[-1], probability >= 0.5))
            assert score.figures("fixed")["dice"] == pytest.approx(f1_score(truths[-1], probability >= model.threshold))
            assert score.auc == pytest.approx(roc_auc_score(truths[-1], probability))
    truth, probability = np.concatenate(truths), np.concatenate(maps)
    assert result.pooled("0.5")["dice"] == pytest.approx(f1_score(truth, probability >= 0.5))
    assert result.pooled("0.5")["auc"] == pytest.approx(roc_auc_score(truth, probability))
    assert result.mean("0.5")["dice"] == pytest.approx(np.mean([s.figures("0.5")["dice"] for s in result.images]))
    assert result.protocol.startswith("2 test images of drive, at their own resolution, inside the field of view")


def test_both_engines_give_the_same_figures(run_folder: Path, patch_file: Path) -> None:
    onnx = run(EvalConfig(model=run_folder / "model.onnx", patches=patch_file))
    torch = run(EvalConfig(model=run_folder / "model.safetensors", patches=patch_file))
    assert "onnxruntime" in onnx.device
    assert "torch" in torch.device
    for name in onnx.mean("0.5"):
        assert onnx.mean("0.5")[name] == pytest.approx(torch.mean("0.5")[name], abs=1e-3)


def test_it_says_what_the_model_has_seen(run_folder: Path, patch_file: Path) -> None:
    assert run(EvalConfig(model=run_folder, patches=patch_file, split="test")).notes == ()
    notes = run(EvalConfig(model=run_folder, patches=patch_file, split="val")).notes
    assert notes == ("epoch and threshold of the model were chosen on 1 of these images",)


def test_images_that_were_trained_on_are_told(run_folder: Path, patch_file: Path, tmp_path: Path) -> None:
    """Another split of the same photographs: what was trained on before validates now."""
    sources = tuple(patch_file.parent.glob("eyes"))
    notes: set[str] = set()
    for seed in range(1, 6):
        out = tmp_path / f"{seed}.h5"
        prepare(PrepareConfig(sources=sources, out=out, patch_size=32, patches_per_image=1, seed=seed))
        notes |= set(run(EvalConfig(model=run_folder, patches=out, split="val")).notes)
    assert "the model was trained on 1 of these images: their figures flatter it" in notes


def test_without_test_labels_the_validation_images_are_scored(run_folder: Path, make_drive, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    out = tmp_path / "p.h5"
    prepare(PrepareConfig(sources=(make_drive(),), out=out, patch_size=32, patches_per_image=1))
    result = run(EvalConfig(model=run_folder, patches=out))
    assert result.split == "val"
    assert f"{out} has no labelled test images: scored on the validation images instead" in result.notes
    with pytest.raises(DataError, match="has no labelled test images; it has labels for train and val"):
        run(EvalConfig(model=run_folder, patches=out, split="test"))


def test_csv_and_json_have_every_image(run_folder: Path, patch_file: Path, tmp_path: Path) -> None:
    config = EvalConfig(model=run_folder, patches=patch_file, csv=tmp_path / "figures.csv")
    result = run(config)
    rows = list(csv.DictReader((tmp_path / "figures.csv").read_text().splitlines()))
    assert [(row["id"], row["threshold"]) for row in rows] == [
        (image, f"{threshold}") for image in ("01", "02") for threshold in (0.5, result.thresholds["fixed"])
    ]
    assert float(rows[0]["dice"]) == pytest.approx(result.images[0].figures("0.5")["dice"], abs=1e-6)
    values = json.loads(json.dumps(result.as_json()))
    assert values["thresholds"]["0.5"]["mean"]["dice"] == result.mean("0.5")["dice"]
    assert [image["id"] for image in values["images"]] == ["01", "02"]
    with pytest.raises(OutputError, match=r"figures\.csv exists already"):
        run(config)


def test_an_undefined_figure_is_none_in_json(run_folder: Path, patch_file: Path, tmp_path: Path) -> None:
    with PatchFile.open(patch_file) as file:
        wholes = [dataclasses.replace(w, label=np.zeros_like(w.fov)) for w in file.whole("test")]
        header = dataclasses.replace(file.header, samples=())
    patchfile.write(tmp_path / "empty.h5", header, wholes)
    values = run(EvalConfig(model=run_folder, patches=tmp_path / "empty.h5")).as_json()
    assert values["images"][0]["0.5"]["auc"] is None
    assert values["thresholds"]["0.5"]["mean"]["sensitivity"] is None
    assert values["thresholds"]["0.5"]["mean"]["specificity"] is not None
    json.dumps(values, allow_nan=False)
