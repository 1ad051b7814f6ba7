"""Predict: photographs to masks, at their own size, under their own names."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from geseg.data import fov, images
from geseg.errors import ConfigError, DataError, ImageError
from geseg.files import refuse_to_overwrite
from geseg.progress import Track, silent
from geseg.steps.models import EngineName, Model, load


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictConfig:
    """What to segment, with what, and what to write."""

    images: Path
    """A folder, or one file."""
    out: Path
    model: Path | None = None
    engine: EngineName = "auto"
    device: str = "auto"
    probabilities: Path | None = None
    overlay: Path | None = None
    threshold: float | None = None
    """In (0, 1); by default the one in the model, fixed on its validation images."""
    recursive: bool = False
    overwrite: bool = False

    def __post_init__(self) -> None:
        if self.threshold is not None and not 0 < self.threshold < 1:
            raise ConfigError(f"threshold is {self.threshold}; expected a probability between 0 and 1, such as 0.5")
        folders = [folder for folder in (self.out, self.probabilities, self.overlay) if folder is not None]
        if len({folder.resolve() for folder in folders}) < len(folders):
            raise ConfigError("masks, probabilities and overlays have the same names; give each a folder of its own")


@dataclass(frozen=True, slots=True)
class PredictResult:
    """What was written, what could not be read, and what did the work."""

    written: int
    failures: tuple[str, ...]
    """One line per image that could not be segmented."""
    model: Path
    device: str
    threshold: float


@dataclass(frozen=True, slots=True)
class _Job:
    image: Path
    outputs: dict[str, Path]
    """ "mask", "probability", "overlay": those that were asked for."""


def run(config: PredictConfig, track: Track = silent) -> PredictResult:
    """Segment every image; one that cannot be read does not stop the others.

    Raises:
        ConfigError: no model was named, or two images would write the same mask.
        DataError: there is no image.
        OutputError: an output exists already, or cannot be written.
        ModelFileError, DeviceError: as `models.load`.
    """
    if config.model is None:
        raise ConfigError(
            "no model: train one (geseg prepare DATASET, geseg train) and name it with --model runs/NAME; "
            "this version ships no weights"
        )
    jobs = _plan(config)
    model = load(config.model, config.engine, config.device)
    threshold = model.threshold if config.threshold is None else config.threshold
    failures = []
    for job in track(jobs, f"predict on {model.device}", len(jobs)):
        try:
            _segment(job, model, threshold)
        except ImageError as error:
            failures.append(str(error))
    return PredictResult(len(jobs) - len(failures), tuple(failures), model.path, model.device, threshold)


def _segment(job: _Job, model: Model, threshold: float) -> None:
    image = images.read_image(job.image)
    inside = fov.find_fov(image)
    probability = np.where(inside, model.segment(image, inside), np.float32(0))
    mask = probability >= threshold
    for kind, path in job.outputs.items():
        if kind == "mask":
            images.write_mask(path, mask)
        elif kind == "probability":
            images.write_probability(path, probability)
        else:
            images.write_overlay(path, image, mask)


def _plan(config: PredictConfig) -> list[_Job]:
    """Pair every image with its outputs, and refuse clashes before any work starts."""
    found = find_images(config.images, config.recursive)
    root = config.images if config.images.is_dir() else config.images.parent
    folders = {"mask": config.out, "probability": config.probabilities, "overlay": config.overlay}
    jobs, taken = [], dict[Path, Path]()
    for image in found:
        stem, suffix = images.split_suffix(image.name)
        name = image.relative_to(root).with_name((stem if suffix else image.stem) + ".png")
        if name in taken:
            raise ConfigError(f"{taken[name]} and {image} would both write {config.out / name}; rename one of them")
        taken[name] = image
        outputs = {kind: folder / name for kind, folder in folders.items() if folder is not None}
        for path in outputs.values():
            _refuse_input(path, found)
            refuse_to_overwrite(path, config.overwrite)
        jobs.append(_Job(image, outputs))
    return jobs


def _refuse_input(path: Path, inputs: Sequence[Path]) -> None:
    """A mask must never replace a photograph, not even with `overwrite`."""
    if path in inputs or (path.exists() and any(path.samefile(image) for image in inputs if image.name == path.name)):
        raise ConfigError(f"{path} is one of the photographs; write the masks to another folder with -o")


def find_images(place: Path, recursive: bool) -> list[Path]:
    """All images of a folder in the order of their names, or the one file; hidden files and folders do not count.

    Raises:
        DataError: there is nothing of that name, or no image in it.
    """
    if place.is_file():
        return [place]
    if not place.is_dir():
        raise DataError(f"{place} does not exist; expected an image or a folder of images")
    entries = sorted(place.rglob("*") if recursive else place.iterdir())
    shown = [path for path in entries if not any(part.startswith(".") for part in path.relative_to(place).parts)]
    found = [path for path in shown if images.split_suffix(path.name)[1] and path.is_file()]
    if not found:
        below = "" if recursive else "; look into its sub-folders too with --recursive"
        known = ", ".join(images.IMAGE_SUFFIXES)
        raise DataError(f"{place} holds {len(entries)} entries, but no image ({known}){below}")
    return found
