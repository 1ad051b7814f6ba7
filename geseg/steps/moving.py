"""The equivariance table: how a model does on moved photographs, and how far its maps move along."""

import dataclasses
import itertools
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np

from geseg.data.patchfile import WholeImage
from geseg.metrics import equivariance, overlap, ranking
from geseg.metrics.equivariance import Move
from geseg.metrics.histogram import histogram
from geseg.progress import Track, silent
from geseg.steps.models import Model
from geseg.steps.pipeline import ahead
from geseg.steps.scores import Map
from geseg.steps.truths import Photograph

STEP = 15
"""Degrees between the turns; quarter turns and mirrors are exact, at other angles the photograph is interpolated."""
MOVES = (
    *(Move(degrees) for degrees in range(0, 360, STEP)),
    *(Move(degrees, mirrored=True) for degrees in range(0, 360, 90)),
)


@dataclass(frozen=True, slots=True)
class Moved:
    """What a move of all photographs does, inside the field of view (without its rim where pixels are interpolated).

    Attributes:
        move: the name of the move.
        exact: whether pixels only change places.
        dice: mean Dice at 0.5 of the maps, moved back.
        auc: likewise.
        mean_difference: mean absolute difference of probability to the map of the unmoved photograph.
        max_difference: the largest of any pixel.
        flipped: share of the pixels whose mask at 0.5 is another.
    """

    move: str
    exact: bool
    dice: float
    auc: float
    mean_difference: float
    max_difference: float
    flipped: float

    def as_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def run(model: Model, photographs: Sequence[Photograph], track: Track = silent) -> tuple[Moved, ...]:
    """Segment every photograph in every position of `MOVES`; figures are means over the photographs."""
    rows: dict[Move, list[tuple[float, ...]]] = {move: [] for move in MOVES}
    for photograph in track(photographs, f"{len(MOVES)} moves", len(photographs)):
        whole = photograph.read()
        backs = backs_of(model, whole, MOVES)
        straight = next(backs)
        for move, back in zip(MOVES, itertools.chain([straight], backs), strict=True):
            rows[move].append(_compare(whole, move, back, straight))
    return tuple(_over_images(move, np.array(values)) for move, values in rows.items())


def backs_of(model: Model, whole: WholeImage, moves: Sequence[Move]) -> Iterator[Map]:
    """The maps of a photograph in several positions, each moved back; the next is moved while the net works on one.

    With the brightness and contrast of the unmoved photograph, as its new corners are black.
    """
    record, planes = whole.record, whole.image.astype(np.float32).transpose(2, 0, 1)
    mean, contrast = (np.array(s, np.float32)[:, None, None] for s in (record.mean, record.contrast))
    scales = model.segmenter.scales_of(whole)
    with closing(ahead(lambda move: (move.forth(planes) - mean) / contrast, moves)) as moved:
        for move, normalised in zip(moves, moved, strict=True):
            yield move.back(model.segmenter.planes(normalised, scales), whole.fov.shape)


def _compare(whole: WholeImage, move: Move, back: Map, straight: Map) -> tuple[float, ...]:
    """Figures of one photograph in the order of `Moved`."""
    assert whole.label is not None
    region = move.covered(whole.fov)
    difference = equivariance.difference(back, straight, region)
    dice = overlap.dice(overlap.count(back, whole.label, region))
    auc = ranking.auc(histogram(back, whole.label, region))
    return dice, auc, difference.mean_abs, difference.max_abs, difference.flipped


def _over_images(move: Move, values: np.ndarray) -> Moved:
    dice, auc, mean_difference, _, flipped = values.mean(axis=0).tolist()
    return Moved(move.name, move.exact, dice, auc, mean_difference, float(values[:, 3].max()), flipped)
