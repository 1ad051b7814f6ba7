"""The trainings of a study: which nets, on which images, for how long."""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import safetensors

from geseg.data import drawn, layouts, patchfile, split
from geseg.data.augment import Augmentation
from geseg.data.samples import Sample
from geseg.errors import ConfigError
from geseg.files import atomic_path
from geseg.model.group import Group
from geseg.model.unet import find_widths
from geseg.progress import silent
from geseg.steps import train
from geseg.steps.prepare import PrepareConfig, pack_all
from geseg.steps.runfolder import STATE
from geseg.steps.sources import check_names
from geseg.steps.trainconfig import TrainConfig

BATCH = 8
"""Patches per step of all nets that are compared."""
ENDLESS = 1_000_000
"""Epochs of a training that ends when its time is over."""
TINY_PARAMS = 3_010
"""Met by plain, c4 and d4 nets: for trials that take seconds."""


Sides: TypeAlias = tuple[list[Sample], list[Sample]]
"""Images to learn from, and images to score."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Net:
    """A kind of net that a study compares with others."""

    group: str
    wide: bool = False
    """Whether a plain net gets the channels of the d4 net, which are twelve times its parameters."""
    augmentation: Augmentation = dataclasses.field(default_factory=Augmentation)
    tuned: bool = False
    """Whether its weights come from other data sets."""

    def widths(self, params: int) -> tuple[int, ...]:
        """Fields per level: those that `params` parameters make, or, if it is wide, the channels of the d4 net."""
        d4 = Group.parse("d4")
        if self.wide:
            return tuple(d4.order * width for width in find_widths(d4, params))
        return find_widths(Group.parse(self.group), params)


def training_half(folder: Path) -> list[Sample]:
    """The annotated images of a data set that its split leaves to training; the others are not looked at.

    Raises:
        ConfigError: there are none.
    """
    samples = [sample for sample in layouts.find_source(folder).samples if sample.split == "train" and sample.label]
    if not samples:
        raise ConfigError(f"{folder} has no training images with labels; expected some to draw folds from")
    return samples


def names(samples: Sequence[Sample]) -> list[str]:
    """Data set and id of each photograph, for the settings of a study."""
    return [f"{sample.dataset}/{sample.id}" for sample in samples]


def split_folds(samples: Sequence[Sample], folds: int) -> list[Sides]:
    """Who learns and who is scored in each fold; the images of a person go together, and every data set has all folds.

    The order of the people is drawn once and for all, so that two studies have the same folds.

    Raises:
        ConfigError: a data set shows fewer people than there are folds, or there are fewer than two folds.
    """
    fold_of: dict[tuple[str, str], int] = {}
    for dataset in sorted({sample.dataset for sample in samples}):
        people = {sample.person for sample in samples if sample.dataset == dataset}
        if not 2 <= folds <= len(people):
            raise ConfigError(
                f"{folds} folds cannot be made of the {len(people)} people of {dataset}; expected 2 or more"
            )
        drawn = sorted(people, key=lambda person: split.draw(0, dataset, person))
        fold_of |= {(dataset, person): place % folds for place, person in enumerate(drawn)}
    sides = []
    for fold in range(folds):
        learned, scored = [], []
        for sample in samples:
            (scored if fold_of[sample.dataset, sample.person] == fold else learned).append(sample)
        sides.append((learned, scored))
    return sides


def write_patches(config: PrepareConfig, learned: Sequence[Sample], scored: Sequence[Sample] = ()) -> Path:
    """The patch file of images to learn from and of others to score; one that is there is kept.

    `geseg prepare` reads a data set's own split; here the images are given. If `config.val_fraction` is not 0, some of
    the people to learn from validate.
    """
    if not config.out.exists():
        sides = {"train": learned, "test": scored}
        samples = [dataclasses.replace(sample, split=name) for name, side in sides.items() for sample in side]
        check_names(samples)
        samples = split.hold_out(samples, config.val_fraction, config.seed)
        names = ("seed", "patch_size", "patches_per_image", "diameter", "val_fraction", "orientation_shift")
        values: dict[str, Any] = {name: getattr(config, name) for name in names}
        with atomic_path(config.out) as partial:
            patchfile.write(partial, patchfile.PatchHeader(**values, sources=()), pack_all(samples, config, silent))
    return config.out


def epochs_for(patches: Path, steps: int, batch_size: int = BATCH) -> int:
    """The whole epochs that come nearest to a number of optimiser steps, at least one."""
    with patchfile.PatchFile.open(patches) as file:
        per_epoch = len(file.train_samples) // batch_size
    return max(1, round(steps / max(1, per_epoch)))


def run(config: TrainConfig) -> int:
    """Train, from where an earlier call was stopped; how many optimiser steps that took in all.

    Without a state to go on from, what is in the folder is replaced if the configuration says so.
    """
    assert config.out is not None, "a study names its run folders"
    state = config.out / STATE
    train.run(dataclasses.replace(config, resume=state.is_file(), overwrite=config.overwrite and not state.is_file()))
    with safetensors.safe_open(state, framework="numpy") as file:
        return int(json.loads(file.metadata()["geseg"])["steps"])


def draw_set(folder: Path, train: int, layout: str = "drive") -> Path:
    """A small drawn data set for trials, if it is not there yet."""
    if not folder.exists():
        drawn.write_dataset(folder, layout, train=train, test=0, seed=train, height=96, width=96)
    return folder
