"""Eval: a model and a patch file to figures on whole images, inside the field of view."""

import csv
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from geseg.data.patchfile import PatchFile, SampleRecord, WholeImage
from geseg.errors import DataError
from geseg.files import atomic_path, refuse_to_overwrite
from geseg.metrics import overlap, ranking
from geseg.metrics.overlap import Counts
from geseg.progress import Track, silent
from geseg.steps.models import find_weights, load

FIGURES = {
    "dice": overlap.dice,
    "iou": overlap.iou,
    "sensitivity": overlap.sensitivity,
    "specificity": overlap.specificity,
    "accuracy": overlap.accuracy,
}
"""Figures of a thresholded map; the area under the ROC curve, "auc", needs no threshold and stands beside them."""
Figures = dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalConfig:
    """What to score, and where to put the figures of each image."""

    model: Path
    patches: Path = Path("patches.h5")
    split: Literal["test", "val"] | None = None
    """None: test if it has labels, else val."""
    csv: Path | None = None
    device: str = "auto"
    overwrite: bool = False


@dataclass(frozen=True, slots=True)
class ImageScore:
    """One image: its counts and figures at each threshold, by the name of the threshold ("0.5", "fixed")."""

    record: SampleRecord
    auc: float
    counts: dict[str, Counts]

    def figures(self, name: str) -> Figures:
        return {figure: of(self.counts[name]) for figure, of in FIGURES.items()} | {"auc": self.auc}


@dataclass(frozen=True, slots=True)
class EvalResult:
    """Figures per image and pooled, with the protocol that they follow."""

    model: Path
    device: str
    split: str
    thresholds: dict[str, float]
    """"0.5", and "fixed": the one in the model file, chosen on its validation images."""
    images: tuple[ImageScore, ...]
    pooled_auc: float
    notes: tuple[str, ...]

    @property
    def protocol(self) -> str:
        """What the figures are of, in one sentence."""
        sets = ", ".join(sorted({score.record.dataset for score in self.images}))
        return (
            f"{len(self.images)} {self.split} images of {sets}, at their own resolution, inside the field of view, "
            "against the first observer"
        )

    def mean(self, name: str) -> Figures:
        """Mean of the images' figures; nan where one is undefined."""
        return {key: float(np.mean(values)) for key, values in self._columns(name).items()}

    def std(self, name: str) -> Figures:
        """Standard deviation over the images (divided by n)."""
        return {key: float(np.std(values)) for key, values in self._columns(name).items()}

    def pooled(self, name: str) -> Figures:
        """Figures of all pixels together."""
        total = sum((score.counts[name] for score in self.images), Counts(0, 0, 0, 0))
        return {figure: of(total) for figure, of in FIGURES.items()} | {"auc": self.pooled_auc}

    def _columns(self, name: str) -> dict[str, list[float]]:
        rows = [score.figures(name) for score in self.images]
        return {key: [row[key] for row in rows] for key in rows[0]}

    def as_json(self) -> dict[str, Any]:
        """All figures as plain values; an undefined one is None."""
        plain: dict[str, Any] = _plain(
            {
                "model": str(self.model),
                "device": self.device,
                "split": self.split,
                "protocol": self.protocol,
                "notes": list(self.notes),
                "thresholds": {
                    name: {"value": value, "mean": self.mean(name), "std": self.std(name), "pooled": self.pooled(name)}
                    for name, value in self.thresholds.items()
                },
                "images": [
                    {"dataset": s.record.dataset, "id": s.record.id}
                    | {name: s.figures(name) for name in self.thresholds}
                    for s in self.images
                ],
            }
        )
        return plain


def run(config: EvalConfig, track: Track = silent) -> EvalResult:
    """Score a model on the whole images of a split.

    Raises:
        PatchFileError, ModelFileError: a file that is not what it should be.
        DataError: the split has no labelled image.
        OutputError: the CSV file exists already.
    """
    if config.csv is not None:
        refuse_to_overwrite(config.csv, config.overwrite)
    with PatchFile.open(config.patches) as file:
        split, notes = _choose_split(config, file)
        model = load(config.model, device=config.device)
        labelled = [r for r in file.header.samples if r.split == split and r.labelled]
        notes += _trained_on(config.model, labelled)
        thresholds = {"0.5": 0.5, "fixed": model.threshold}
        scores, maps = [], []
        for whole in track(file.whole(split), f"eval on {split} images", len(labelled)):
            if whole.label is not None:
                probability = model.segment(whole.image)
                maps.append((probability, whole.label, whole.fov))
                scores.append(_score(probability, whole, thresholds))
    result = EvalResult(
        model=model.path,
        device=model.device,
        split=split,
        thresholds=thresholds,
        images=tuple(scores),
        pooled_auc=ranking.pooled_auc(*(list(column) for column in zip(*maps, strict=True))),
        notes=tuple(notes),
    )
    if config.csv is not None:
        write_csv(config.csv, result)
    return result


def _score(probability: np.ndarray, whole: WholeImage, thresholds: dict[str, float]) -> ImageScore:
    assert whole.label is not None
    counts = {name: overlap.count(probability, whole.label, whole.fov, t) for name, t in thresholds.items()}
    return ImageScore(whole.record, ranking.auc(probability, whole.label, whole.fov), counts)


def _choose_split(config: EvalConfig, file: PatchFile) -> tuple[Literal["test", "val"], list[str]]:
    labelled = {record.split for record in file.header.samples if record.labelled}
    if config.split is not None:
        if config.split not in labelled:
            found = " and ".join(sorted(labelled)) or "none"
            raise DataError(f"{config.patches} has no labelled {config.split} images; it has labels for {found}")
        return config.split, []
    if "test" in labelled:
        return "test", []
    if "val" in labelled:
        return "val", [f"{config.patches} has no labelled test images: scored on the validation images instead"]
    raise DataError(f"{config.patches} has neither test nor validation images with labels; prepare it from more people")


def _trained_on(model: Path, records: list[SampleRecord]) -> list[str]:
    """Lines about images that the model has seen; nothing is known of a model that is an ONNX file."""
    weights = find_weights(model)
    if weights.suffix == ".onnx" or not weights.is_file():
        return []
    from geseg.model import modelfile  # noqa: PLC0415 - imports torch, which an ONNX file does not need

    samples = modelfile.read_header(weights).training.get("samples", {})
    hashes = {record.image_sha256 for record in records}
    notes = []
    if seen := hashes & set(samples.get("train", {}).values()):
        notes.append(f"the model was trained on {len(seen)} of these images: their figures flatter it")
    if chosen := hashes & set(samples.get("val", {}).values()):
        notes.append(f"epoch and threshold of the model were chosen on {len(chosen)} of these images")
    return notes


def write_csv(path: Path, result: EvalResult) -> None:
    """One row per image and threshold."""
    with atomic_path(path) as partial, partial.open("w", newline="") as file:
        columns = ["dataset", "id", "threshold", *result.images[0].figures("0.5")]
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        for score in result.images:
            for name, value in result.thresholds.items():
                row = {"dataset": score.record.dataset, "id": score.record.id, "threshold": value}
                writer.writerow(row | {k: f"{v:.6f}" for k, v in score.figures(name).items()})


def _plain(values: Any) -> Any:  # noqa: ANN401 - JSON of any depth
    """The same with None for nan, which JSON does not have."""
    if isinstance(values, dict):
        return {key: _plain(value) for key, value in values.items()}
    if isinstance(values, list):
        return [_plain(value) for value in values]
    return None if isinstance(values, float) and math.isnan(values) else values
