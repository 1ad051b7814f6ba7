"""Honest numbers: which of the images that a model is scored on it has seen before, by hash, by name or by person."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from geseg.data.patchfile import SampleRecord
from geseg.data.samples import Split
from geseg.files import sha256
from geseg.inference import onnxfile
from geseg.model.modelheader import read_header
from geseg.steps.models import FOLDER
from geseg.steps.runfolder import WEIGHTS

USES: dict[Split, tuple[str, str]] = {
    "train": ("the model was trained on", ": their figures flatter it"),
    "val": ("epoch and threshold of the model were chosen on", ""),
}
"""Per split of a model's own images, what they did and what follows."""


def person_key(dataset: str, person: str) -> str:
    """What a model file keeps of a person: a hash, as models are handed on, and names of patients must not be.

    It hides a name from readers, not from those who try all names.
    """
    return hashlib.sha256(f"{dataset}\0{person}".encode(errors="surrogateescape")).hexdigest()


def notes(model: Path, scored: Sequence[SampleRecord], people: Mapping[str, str]) -> Iterator[str]:
    """Lines about images that a model has seen.

    Args:
        model: the file that was opened.
        scored: the images of the figures.
        people: by "dataset/id", the `person_key` of all images that are known where those are from, scored or not.
            Models that were trained before their header had people name their images only.
    """
    training = _training(model)
    if not training:
        yield (
            f"{model} does not say what it was trained on, so that nobody can tell whether it has seen these images; "
            "score the weights that it was made from"
        )
    for split, (use, consequence) in USES.items():
        samples, told = (training.get(name, {}).get(split, {}) for name in ("samples", "people"))
        known = {people[name] for name in samples if name in people} | set(told.values())
        same, named, related = _sort(scored, samples, known)
        if same:
            yield f"{use} {len(same)} of these images{consequence}"
        if named:
            yield (
                f"{use} images of the same names as {len(named)} of these, first {named[0]}, though of other bytes: "
                "if they are the same photographs, saved anew, the figures flatter it"
            )
        if related:
            yield f"{use} other images of the people in {len(related)} of these, first {related[0]}{consequence}"


def _sort(
    scored: Sequence[SampleRecord], samples: Mapping[str, str], people: set[str]
) -> tuple[list[str], list[str], list[str]]:
    """The names of the images that are among `samples` by hash, only by name, and only by person."""
    hashes = set(samples.values())
    same, named, related = list[str](), list[str](), list[str]()
    for record in scored:
        name = f"{record.dataset}/{record.id}"
        if record.image_sha256 in hashes:
            same.append(name)
        elif name in samples:
            named.append(name)
        elif person_key(record.dataset, record.person) in people:
            related.append(name)
    return same, named, related


def _training(model: Path) -> dict[str, Any]:
    """What the header of the weights says of their training; that of an ONNX file, if its weights lie beside it."""
    weights = _origin(model) if model.suffix == ".onnx" else model
    return {} if weights is None else read_header(weights).training


def _origin(exported: Path) -> Path | None:
    """The weights that an ONNX file was made from: in its folder, or those that ship."""
    digest = onnxfile.read_header(exported).model_sha256
    places = (exported.with_name(WEIGHTS), exported.with_suffix(".safetensors"), FOLDER / WEIGHTS)
    return next((path for path in places if path.is_file() and sha256(path) == digest), None)
