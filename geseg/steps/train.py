"""Train: a patch file to a run folder with a model, its configuration and its learning curve."""

import dataclasses
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

from geseg.data.augment import Augmentation
from geseg.data.normalise import NORMALISATION
from geseg.data.patchfile import PatchFile, WholeImage
from geseg.data.scale import Diameters
from geseg.errors import ConfigError, DataError
from geseg.files import sha256
from geseg.inference.torch_engine import TorchEngine, choose_device
from geseg.metrics import overlap
from geseg.model import modelfile
from geseg.model.group import Group
from geseg.model.losses import LOSSES
from geseg.model.modelfile import ModelHeader
from geseg.model.restrict import restrict
from geseg.model.unet import build, count_parameters, find_widths
from geseg.progress import Track, silent
from geseg.steps import batches, runfolder
from geseg.steps.learner import Learner, choose_precision
from geseg.steps.segmenting import Segmenter


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """Everything that decides the outcome of a training run."""

    patches: Path = Path("patches.h5")
    out: Path | None = None
    """The run folder; by default runs/ and a name made of data sets, group and fraction."""
    group: str = "d4"
    params: int = 62_500
    """Learned parameters, met within 2 % by choosing the widths; the number of the 2021 study."""
    widths: tuple[int, ...] | None = None
    """Regular fields per level instead of `params`; one field has as many channels as the group has elements."""
    fraction: float = 1.0
    """Share of the training images (or patches) to learn from; smaller shares are parts of larger ones."""
    fraction_of: Literal["images", "patches"] = "images"
    loss: str = "dice+bce"
    augmentation: Augmentation = field(default_factory=Augmentation)
    epochs: int = 12
    """An epoch visits as many patches as the file has, whatever the fraction: all fractions learn equally long."""
    minutes: float | None = None
    """Stop, with the schedule finished, after this time even if epochs are left."""
    batch_size: int = 8
    learning_rate: float = 2e-2
    patience: int = 10
    """Epochs without a better validation Dice after which training stops."""
    seed: int = 0
    device: str = "auto"
    precision: str = "auto"
    resume: bool = False
    overwrite: bool = False

    def __post_init__(self) -> None:
        Group.parse(self.group)
        if not 0 < self.fraction <= 1:
            raise ConfigError(f"fraction is {self.fraction}; expected more than 0 and at most 1, such as 0.25")
        if self.loss not in LOSSES:
            raise ConfigError(f"loss {self.loss!r} is not known; choose one of {', '.join(LOSSES)}")
        if self.resume and self.overwrite:
            raise ConfigError("--resume continues a run and --overwrite starts it anew; choose one")

    def as_dict(self) -> dict[str, Any]:
        """For JSON; what only says where and how long is left out, as it does not decide the outcome."""
        values = dataclasses.asdict(self)
        return {k: str(v) if isinstance(v, Path) else v for k, v in values.items() if k not in _NOT_STORED}


_NOT_STORED = {"out", "resume", "overwrite", "device"}


@dataclass(frozen=True, slots=True)
class TrainResult:
    """What a run ended with."""

    model: Path
    dice: float
    best_epoch: int
    threshold: float
    description: str
    """Group, widths, number of parameters, device and precision."""


def run(config: TrainConfig, track: Track = silent) -> TrainResult:
    """Train a U-Net on a patch file and keep the weights of the epoch with the best validation Dice.

    Raises:
        PatchFileError, DataError: the patch file cannot be used, or has no training patches or validation images.
        OutputError: the run folder holds a run already, and neither `resume` nor `overwrite` is set.
        ConfigError, DeviceError: options that do not fit together, or a device that is not there.
    """
    with PatchFile.open(config.patches) as file:
        device = choose_device(config.device)
        out = config.out or default_folder(config, file)
        runfolder.check_free(out, config.resume, config.overwrite)
        validation = list(file.whole("val"))
        _check_validation(config.patches, validation)
        group = Group.parse(config.group)
        widths = config.widths or find_widths(group, config.params)
        torch.manual_seed(config.seed)
        net = build(group, widths)
        learner = Learner(
            net, LOSSES[config.loss], config.learning_rate, device, choose_precision(config.precision, device)
        )
        run_ = _Run(config, out, file, validation, learner)
        if config.resume:
            learner.load(out / runfolder.STATE, run_.identity)
        else:
            runfolder.clear(out)
        runfolder.write_config(out, config.as_dict() | {"widths": widths, "parameters": count_parameters(net)})
        while run_.goes_on:
            run_.epoch(track)
        return run_.finish()


class _Run:
    """One training run: its data, its learner, and the files it keeps."""

    def __init__(
        self, config: TrainConfig, out: Path, file: PatchFile, validation: list[WholeImage], learner: Learner
    ) -> None:
        self.config, self.out, self.file, self.validation, self.learner = config, out, file, validation, learner
        self.labels = [whole.label for whole in validation if whole.label is not None]
        self.fovs = [whole.fov for whole in validation]
        self.reader = batches.PatchReader(file, config.augmentation, config.seed)
        self.indices = choose_patches(self.reader.sample_of, config)
        self.per_epoch = len(self.reader.sample_of)
        self.identity = json.dumps(config.as_dict() | {"patches": sha256(config.patches), "epochs": config.epochs})
        if len(self.indices) < 1 or self.per_epoch < config.batch_size:
            raise DataError(
                f"{config.patches} has {self.per_epoch} training patches, expected at least one batch of "
                f"{config.batch_size}; prepare it with more --patches-per-image"
            )

    @property
    def goes_on(self) -> bool:
        progress = self.learner.progress
        in_time = self.config.minutes is None or progress.seconds < 60 * self.config.minutes
        patient = progress.epoch - progress.best_epoch < self.config.patience or not progress.epoch
        return progress.epoch < self.config.epochs and patient and in_time

    def epoch(self, track: Track) -> None:
        """Visit the patches once, score the averaged weights on the validation images, keep what is best."""
        learner, start = self.learner, time.monotonic()
        progress = learner.progress
        epoch = progress.epoch + 1
        visits = batches.order(self.indices, self.per_epoch, self.config.seed, epoch)
        raws = batches.batches(self.reader, visits, self.config.batch_size, learner.device)
        steps = self.per_epoch // self.config.batch_size
        losses = []
        for step, raw in enumerate(track(raws, self._label(epoch), steps)):
            done = (progress.epoch + step / steps) / self.config.epochs
            if self.config.minutes is not None:
                elapsed = progress.seconds + time.monotonic() - start
                done = max(done, elapsed / (60 * self.config.minutes))
            losses.append(learner.step(*batches.prepare(raw, learner.device), done=min(done, 1.0)))
            if done >= 1:
                break
        probabilities = self._validate()
        dice = overlap.mean_dice(probabilities, self.labels, self.fovs)
        seconds, patches = time.monotonic() - start, len(losses) * self.config.batch_size
        progress.advance(float(np.mean(losses)), dice, learner.learning_rate, seconds, patches)
        if progress.best_epoch == epoch:
            threshold, best = overlap.best_threshold(probabilities, self.labels, self.fovs)
            modelfile.save(learner.average, self._header(threshold, best), self.out / runfolder.WEIGHTS)
        runfolder.write_curve(self.out, progress.curve)
        learner.save(
            self.out / runfolder.STATE, self.identity
        )  # last: a run that is killed before it repeats the epoch

    def _label(self, epoch: int) -> str:
        """What the progress line says: the net at first, then how it does."""
        p, of = self.learner.progress, f"epoch {epoch}/{self.config.epochs}"
        if not p.epoch:
            return f"{of}, {self.description}"
        minutes_left = (self.config.epochs - p.epoch) * p.seconds / p.epoch / 60
        if self.config.minutes is not None:
            minutes_left = min(minutes_left, self.config.minutes - p.seconds / 60)
        return (
            f"{of}, val Dice {p.last_dice:.4f} (best {p.best_dice:.4f}), "
            f"{p.patches / p.seconds:.0f} patches/s, {minutes_left:.0f} min left"
        )

    @property
    def description(self) -> str:
        """The net and what trains it, in words."""
        net, learner = self.learner.net, self.learner
        widths = ",".join(map(str, net.widths))
        parameters = f"{count_parameters(net):,} parameters"
        return f"{self.config.group} of widths {widths} ({parameters}) on {learner.device} in {learner.precision}"

    def _validate(self) -> list[np.ndarray]:
        """Probability maps of the validation images by the averaged weights."""
        engine = TorchEngine(restrict(self.learner.average), str(self.learner.device))
        segmenter = Segmenter(engine, self.learner.net.divisor, self.diameters)
        return [segmenter.whole(whole) for whole in self.validation]

    @property
    def diameters(self) -> Diameters | None:
        """Of the fields of view that the net learns from; None if none of its photographs shows where it ends."""
        records = [self.file.header.samples[i] for i in np.unique(self.reader.sample_of[self.indices])]
        known = [record.diameter for record in records if record.diameter is not None]
        return (min(known), max(known)) if known else None

    def _header(self, threshold: float, dice: float) -> ModelHeader:
        records = self.file.header.samples
        learned = {int(i) for i in self.reader.sample_of[self.indices]}
        splits = {
            "train": sorted(learned),
            "val": [i for i, record in enumerate(records) if record.split == "val"],
        }
        return ModelHeader(
            group=self.config.group,
            widths=self.learner.net.widths,
            normalisation=NORMALISATION,
            threshold=threshold,
            diameters=self.diameters,
            training={
                "config": self.config.as_dict(),
                "patches_sha256": json.loads(self.identity)["patches"],
                "samples": {
                    split: {f"{records[i].dataset}/{records[i].id}": records[i].image_sha256 for i in members}
                    for split, members in splits.items()
                },
            },
            metrics={"val_dice_at_threshold": dice, "val_dice_at_0.5": self.learner.progress.best_dice},
            versions=modelfile.versions(),
        )

    def finish(self) -> TrainResult:
        progress, model = self.learner.progress, self.out / runfolder.WEIGHTS
        return TrainResult(
            model=model,
            dice=progress.best_dice,
            best_epoch=progress.best_epoch,
            threshold=modelfile.read_header(model).threshold,
            description=self.description,
        )


def choose_patches(sample_of: np.ndarray, config: TrainConfig) -> np.ndarray:
    """Indices of the patches to learn from: those of a seeded share of the images, or a share of all patches.

    The share is a beginning of one random order, so that a smaller fraction is always part of a larger one.
    """
    rng = np.random.default_rng(config.seed)
    units = np.unique(sample_of) if config.fraction_of == "images" else np.arange(len(sample_of))
    chosen = rng.permutation(units)[: max(1, round(config.fraction * len(units)))]
    return np.flatnonzero(np.isin(sample_of, chosen)) if config.fraction_of == "images" else np.sort(chosen)


def default_folder(config: TrainConfig, file: PatchFile) -> Path:
    """runs/ and the data sets, the group, and the fraction if it is not all: runs/drive-d4-0.25."""
    sets = "+".join(dict.fromkeys(record.dataset for record in file.header.samples))
    share = "" if config.fraction == 1 else f"-{config.fraction:g}"
    return Path("runs") / f"{sets}-{Group.parse(config.group).name}{share}"


def _check_validation(patches: Path, validation: list[WholeImage]) -> None:
    """Without a validation image that shows a vessel, nothing tells which epoch is the best."""
    if not validation:
        raise DataError(
            f"{patches} has no validation images, which tell when to stop; prepare it from at least 2 annotated people"
        )
    for whole in validation:
        if whole.label is None or not (whole.label & whole.fov).any():
            name = f"{whole.record.dataset}/{whole.record.id}"
            raise DataError(
                f"{patches}: the label of the validation image {name} shows no vessel in the field of view, "
                "so that its Dice is undefined; correct the label, or prepare with another --seed"
            )
