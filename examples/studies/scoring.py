"""Figures of each image that a patch file holds to be scored."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from geseg.data.patchfile import WholeImage
from geseg.metrics.equivariance import SYMMETRIES
from geseg.steps import moving
from geseg.steps.models import Model
from geseg.steps.scores import Map, Row, tally
from studies import grid
from studies.grid import Curves, Record

FIGURES = {"dice": "Dice", "auc": "AUC", "cldice": "clDice"}
MapOf = Callable[[WholeImage], Map]


def score(wholes: Iterable[WholeImage], map_of: MapOf, threshold: float = 0.5) -> dict[str, dict[str, float]]:
    """The figures of each image inside its field of view, by "dataset/id"."""
    found = {}
    for whole in wholes:
        inside = np.where(whole.fov, map_of(whole), np.float32(0))
        figures = tally(whole, inside, {"fixed": threshold})[Row("model", "fov", "fixed")].figures()
        found[f"{whole.record.dataset}/{whole.record.id}"] = {name: figures[name] for name in FIGURES}
    return found


def mean_of_moves(model: Model, whole: WholeImage) -> Map:
    """Test-time augmentation over the group d4: the mean of the maps of all eight positions, moved back."""
    return np.asarray(np.mean([*moving.backs_of(model, whole, SYMMETRIES)], axis=0), np.float32)


def curves_of(records: Sequence[Record], budget: str, name: str, folds: int, nets: Sequence[str]) -> Curves:
    """A figure of each net, amount and seed: the mean over the photographs of all folds, once all folds are there."""
    values: dict[tuple[str, int, int], list[list[float]]] = {}
    for record in records:
        cell = record["cell"]
        for net, images in record["figures"].items():
            if cell["budget"] == budget:
                key = (net, cell["amount"], cell["seed"])
                values.setdefault(key, []).append([figures[name] for figures in images.values()])
    whole = {key: np.concatenate(parts) for key, parts in values.items() if len(parts) == folds}
    return grid.gather(((*key, float(np.mean(figures))) for key, figures in whole.items()), nets)
