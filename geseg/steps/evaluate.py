"""Eval: a model, or masks of any origin, to figures on whole photographs."""

import csv
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from geseg.data.samples import Split
from geseg.errors import ConfigError
from geseg.files import atomic_path, refuse_to_overwrite
from geseg.model.modelheader import read_header
from geseg.progress import Track, silent
from geseg.steps import maskfolder, models, moving
from geseg.steps.maps import of_files, of_model
from geseg.steps.moving import Moved
from geseg.steps.scores import ImageScore, Row, Scores, Summary, tally
from geseg.steps.truths import Photograph, Truths, open_truths


@dataclass(frozen=True, slots=True, kw_only=True)
class EvalConfig:
    """What to score, against what, and where to put the figures of each image."""

    model: Path
    """A model, or a folder of masks or probability maps."""
    truths: Path = Path("patches.h5")
    """A patch file, or the folder of a data set."""
    split: Split | None = None
    """None: test if it has labels, else val, else train."""
    equivariance: bool = False
    """Also move every photograph, and compare the moved maps."""
    csv: Path | None = None
    device: str = "auto"
    overwrite: bool = False


@dataclass(frozen=True, slots=True)
class EvalResult:
    """Figures per image and over images, with the protocol that they follow."""

    model: Path
    made_by: str
    """What ran the model, or "files"."""
    truths: Path
    split: Split
    protocol: str
    thresholds: dict[str, float]
    """"0.5", and for a model "fixed": the one in its file, chosen on its validation images."""
    images: tuple[ImageScore, ...]
    summaries: dict[str, dict[Row, Summary]]
    """Per data set, and of "all sets" if there are several."""
    moved: tuple[Moved, ...]
    notes: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """All figures as plain values, one flat record per image or data set and row; an undefined one is None."""
        plain: dict[str, Any] = _plain(
            {
                "model": str(self.model),
                "made_by": self.made_by,
                "truths": str(self.truths),
                "split": self.split,
                "protocol": self.protocol,
                "notes": list(self.notes),
                "summary": [
                    {"dataset": dataset, **self._record(row), "images": s.images, "mean": s.mean, "std": s.std}
                    | {"pooled": s.pooled}
                    for dataset, rows in self.summaries.items()
                    for row, s in rows.items()
                ],
                "images": self.records(),
                "equivariance": [moved.as_dict() for moved in self.moved],
            }
        )
        return plain

    def records(self) -> list[dict[str, Any]]:
        """One flat record per image and row."""
        return [
            {"dataset": image.dataset, "id": image.id, **self._record(row), **figures}
            for image in self.images
            for row, figures in image.rows.items()
        ]

    def _record(self, row: Row) -> dict[str, Any]:
        return {"by": row.by, "region": row.region, "at": row.at, "threshold": self.thresholds.get(row.at)}


def run(config: EvalConfig, track: Track = silent) -> EvalResult:
    """Score a model or a folder of masks on the annotated photographs of a split.

    Raises:
        PatchFileError, LayoutError, ModelFileError, ImageError: a file that is not what it should be.
        DataError: the split has no labelled image, or photographs of it lack their mask.
        ConfigError: equivariance is asked of masks.
        OutputError: the CSV file exists already.
    """
    if config.csv is not None:
        refuse_to_overwrite(config.csv, config.overwrite)
    truths, is_model = open_truths(config.truths), not maskfolder.holds_masks(config.model)
    if is_model:
        maps = of_model(config.model, config.device, truths, config.split)
    elif config.equivariance:
        raise ConfigError(f"{config.model} holds masks, and --equivariance needs a model to run: leave it out")
    else:
        maps = of_files(config.model, truths, config.split)
    scores, hashes = Scores(), set()
    for photograph in track(maps.photographs, f"eval on {maps.split} images", len(maps.photographs)):
        whole = photograph.read()
        hashes.add(whole.record.image_sha256)
        scores.add(photograph.dataset, photograph.id, tally(whole, maps.map_of(photograph, whole), maps.thresholds))
    moved: tuple[Moved, ...] = ()
    if config.equivariance and maps.model is not None:
        moved = moving.run(maps.model, maps.photographs, track)
    result = EvalResult(
        model=maps.path,
        made_by=maps.made_by,
        truths=config.truths,
        split=maps.split,
        protocol=_protocol(truths, maps.photographs),
        thresholds=maps.thresholds,
        images=tuple(scores.images),
        summaries=scores.summaries(),
        moved=moved,
        notes=(*maps.notes, *(_seen(config.model, hashes) if is_model else ()), *_undefined(scores.images)),
    )
    if config.csv is not None:
        write_csv(config.csv, result)
    return result


def _protocol(truths: Truths, photographs: tuple[Photograph, ...]) -> str:
    """What the figures are of, in one sentence."""
    counts: dict[str, int] = {}
    for photograph in photographs:
        counts[photograph.dataset] = counts.get(photograph.dataset, 0) + 1
    sets = [
        f"{count} {photographs[0].split} images of {name}"
        + (f" (split {truths.protocols[name]})" if name in truths.protocols else "")
        for name, count in counts.items()
    ]
    return f"{', '.join(sets)}, at their own resolution, against the first observer"


def _seen(model: Path, hashes: set[str]) -> list[str]:
    """Lines about images that the model has seen; nothing is known of a model that is an ONNX file."""
    weights = models.find_weights(model)
    if weights.suffix == ".onnx" or not weights.is_file():
        return []
    samples = read_header(weights).training.get("samples", {})
    notes = []
    if seen := hashes & set(samples.get("train", {}).values()):
        notes.append(f"the model was trained on {len(seen)} of these images: their figures flatter it")
    if chosen := hashes & set(samples.get("val", {}).values()):
        notes.append(f"epoch and threshold of the model were chosen on {len(chosen)} of these images")
    return notes


def _undefined(images: list[ImageScore]) -> Iterator[str]:
    """Lines about figures of the maps that are undefined for some images, as their means are then undefined, too."""
    where: dict[tuple[str, ...], list[str]] = {}
    for name in next(iter(images[0].rows.values())):
        hit = [i for i in images if any(math.isnan(f[name]) for row, f in i.rows.items() if row.by == "model")]
        where.setdefault(tuple(f"{image.dataset}/{image.id}" for image in hit), []).append(name)
    for hits, names in where.items():
        if hits:
            yield f"undefined (nan) for {len(hits)} of {len(images)} images, first {hits[0]}: {', '.join(names)}"


def write_csv(path: Path, result: EvalResult) -> None:
    """One line per image and row of figures."""
    with atomic_path(path) as partial, partial.open("w", newline="") as file:
        records = result.records()
        writer = csv.DictWriter(file, list(records[0]))
        writer.writeheader()
        for record in records:
            writer.writerow(
                {k: f"{v:.6f}" if isinstance(v, float) and k != "threshold" else v for k, v in record.items()}
            )


def _plain(values: Any) -> Any:  # noqa: ANN401 - JSON of any depth
    """The same with None for nan, which JSON does not have."""
    if isinstance(values, dict):
        return {key: _plain(value) for key, value in values.items()}
    if isinstance(values, list):
        return [_plain(value) for value in values]
    return None if isinstance(values, float) and math.isnan(values) else values
