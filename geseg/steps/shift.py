"""The orientation shift: to train on vessels that run in some directions and to be tested on the others.

The protocol of "E(2)-equivariant U-Net on fundus patches, 2021": patches are chosen by the dominant direction of their
vessels. Validation and test images are then patches as well.
"""

import dataclasses
from collections.abc import Iterator

import numpy as np
from jaxtyping import UInt8

from geseg.data import orientation, patches
from geseg.data.orientation import LEAST_SHARE, MOST_BLACK, TEST_BINS, TRAIN_BINS
from geseg.data.patchfile import SampleRecord, TrainPatches, WholeImage

HALF = 127
"""Of the levels of a label: a reduced pixel of which more is vessel counts as vessel."""
TRIES = 50
"""Patches that are drawn for each one wanted, before a photograph is left with fewer."""


def pack_shifted(
    record: SampleRecord, layers: UInt8[np.ndarray, "h w 5"], size: int, count: int, rng: np.random.Generator
) -> Iterator[TrainPatches | WholeImage]:
    """At most `count` patches of a labelled photograph, of the directions that its split may show.

    Those of a training photograph together, those of others as images of their own, which keep the brightness and
    contrast of their photograph. None if it shows no such patch.
    """
    layers = patches.pad(layers, size)
    bins = TEST_BINS if record.split == "test" else TRAIN_BINS
    corners = _choose(layers, size, count, bins, rng)
    if not corners:
        return
    chosen = np.stack([layers[y : y + size, x : x + size] for y, x in corners])
    if record.split == "train":
        yield TrainPatches(record, chosen)
        return
    for (y, x), patch in zip(corners, chosen, strict=True):
        place = f"{record.id}@{y},{x}"
        own = dataclasses.replace(record, id=place, stem=place, height=size, width=size, second_sha256=None)
        yield WholeImage(own, patch[:, :, :3], patch[:, :, 3] > HALF, patch[:, :, 4] > HALF)


def _choose(
    layers: np.ndarray, size: int, count: int, bins: tuple[int, ...], rng: np.random.Generator
) -> list[tuple[int, int]]:
    """Corners of different patches that suit."""
    chosen: list[tuple[int, int]] = []
    for y, x in patches.draw_corners(layers, size, TRIES * count, rng).tolist():
        if len(chosen) < count and (y, x) not in chosen and suits(layers[y : y + size, x : x + size], bins):
            chosen.append((y, x))
    return chosen


def suits(patch: np.ndarray, bins: tuple[int, ...]) -> bool:
    """Whether a patch, uint8[p, p, 5], shows enough retina and vessels that mostly run in one of the directions."""
    if np.mean(patch[:, :, 4] == 0) > MOST_BLACK:
        return False
    dominance = orientation.dominant(patch[:, :, 3] > HALF)
    return dominance.share > LEAST_SHARE and dominance.bin in bins
