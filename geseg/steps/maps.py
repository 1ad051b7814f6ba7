"""The maps that are scored: those of a model, or files that any tool has written; each with its photograph."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from geseg.data.patchfile import WholeImage
from geseg.data.samples import Split
from geseg.errors import DataError
from geseg.steps import maskfolder, models
from geseg.steps.scores import Map
from geseg.steps.truths import Photograph, Truths, choose


@dataclass(frozen=True, slots=True)
class Maps:
    """Photographs of one split, and where their maps come from.

    Attributes:
        made_by: what runs the model, in words, or "files".
        path: the file of the model, or the folder.
        model: None for files.
        thresholds: "0.5", and for a model "fixed": the one in its file.
        split: of the photographs.
        photographs: in their order.
        notes: what is worth knowing about the choice of the split.
        map_of: the map of a photograph that was read.
        files: that of each photograph; empty for a model.
    """

    made_by: str
    path: Path
    model: models.Model | None
    thresholds: dict[str, float]
    split: Split
    photographs: tuple[Photograph, ...]
    notes: tuple[str, ...]
    map_of: Callable[[Photograph, WholeImage], Map]
    files: dict[Photograph, Path]

    @property
    def at(self) -> float:
        """The threshold that masks are made with: the model's own if it has one."""
        return self.thresholds.get("fixed", self.thresholds["0.5"])


def of_model(path: Path, device: str, truths: Truths, split: Split | None, turns: int) -> Maps:
    """The maps of a model for the photographs of a split; 0 outside of the field of view, as `geseg predict` writes.

    `turns` as in `models.load`.
    """
    chosen, photographs, notes = choose(truths, split)
    model = models.load(path, device=device, turns=turns)

    def segment(_: Photograph, whole: WholeImage) -> Map:
        return np.where(whole.fov, model.segmenter.whole(whole), np.float32(0))

    thresholds = {"0.5": 0.5, "fixed": model.threshold}
    return Maps(model.device, model.path, model, thresholds, chosen, photographs, notes, segment, {})


def of_files(folder: Path, truths: Truths, split: Split | None) -> Maps:
    """The maps of a folder; by default of the split that they are of.

    Raises:
        DataError: photographs of the split lack their map: with gaps a figure would be of other images than it says.
    """
    wanted = tuple(p for p in truths.photographs if split in (None, p.split)) or choose(truths, split)[1]
    pairs = maskfolder.pair(folder, wanted, truths.photographs)
    chosen, photographs, notes = choose(dataclasses.replace(truths, photographs=tuple(pairs)), split)
    of_split = [p for p in truths.photographs if p.split == chosen]
    if missing := [p.stem for p in of_split if p not in pairs]:
        raise DataError(
            f"{folder} lacks {len(missing)} of the {len(of_split)} maps of the {chosen} images, first that of "
            f"{missing[0]}; expected one for each"
        )

    def read(photograph: Photograph, whole: WholeImage) -> Map:
        return maskfolder.read_map(pairs[photograph], whole.fov.shape)

    return Maps("files", folder, None, {"0.5": 0.5}, chosen, photographs, notes, read, pairs)
