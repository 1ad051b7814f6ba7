"""Train: a patch file to a run folder with a model, its configuration and its learning curve."""

import json
import math
import time
from pathlib import Path

import numpy as np
import torch

from geseg.data.normalise import NORMALISATION
from geseg.data.patchfile import PatchFile
from geseg.data.scale import Diameters
from geseg.errors import ConfigError, DataError
from geseg.files import sha256
from geseg.inference.torch_engine import choose_device
from geseg.model import modelfile
from geseg.model.group import Group
from geseg.model.losses import LOSSES
from geseg.model.modelheader import ModelHeader, read_header
from geseg.model.unet import UNet, build, count_parameters, find_widths
from geseg.progress import Track, silent
from geseg.steps import batches, runfolder
from geseg.steps.learner import Learner, choose_precision
from geseg.steps.models import find_weights
from geseg.steps.trainconfig import TrainConfig, TrainResult, default_folder
from geseg.steps.validation import Score, Validation


def run(config: TrainConfig, track: Track = silent) -> TrainResult:
    """Train a U-Net on a patch file and keep the weights of the epoch with the best validation Dice.

    Those of the last epoch if the file has no validation images: nothing else is then chosen by looking at images.

    Raises:
        PatchFileError, DataError: the patch file cannot be used, or has too few training patches.
        ModelFileError: `config.start` is no model that training has written.
        OutputError: the run folder holds a run already, and neither `resume` nor `overwrite` is set.
        ConfigError, DeviceError: options that do not fit together, or a device that is not there.
    """
    with PatchFile.open(config.patches) as file:
        device = choose_device(config.device)
        out = config.out or default_folder(config, file)
        runfolder.check_free(out, config.resume, config.overwrite)
        validation = Validation(file)
        torch.manual_seed(config.seed)
        net, start = first_net(config)
        learner = Learner(net, LOSSES[config.loss], config.peak, device, choose_precision(config.precision, device))
        run_ = _Run(config, out, file, validation, learner, start)
        if config.resume:
            learner.load(out / runfolder.STATE, run_.identity)
        else:
            runfolder.clear(out)
        runfolder.write_config(out, config.as_dict() | {"widths": net.widths, "parameters": count_parameters(net)})
        while run_.goes_on:
            run_.epoch(track)
        return run_.finish()


def first_net(config: TrainConfig) -> tuple[UNet, ModelHeader | None]:
    """The net to train, and the header of the model that it comes from, if any.

    Raises:
        ModelFileError: `config.start` is no model.
        ConfigError: it is of another group or other widths than the configuration, or cannot be trained any more.
    """
    if config.start is None:
        group = Group.parse(config.group)
        return build(group, config.widths or find_widths(group, config.params)), None
    path = find_weights(config.start)
    if path.suffix == ".onnx":
        raise ConfigError(f"{path} cannot be trained; expected a run folder or a .safetensors file")
    net, header = modelfile.load(path)
    if header.kind != "trained":
        raise ConfigError(f"{path} is restricted to plain convolutions; expected the weights that geseg train wrote")
    if header.group != config.group:
        raise ConfigError(f"{path} is of group {header.group}, not {config.group}; add --group {header.group}")
    if config.widths not in (None, header.widths):
        raise ConfigError(f"{path} has the widths {header.widths}, not {config.widths}; leave out --widths")
    return net, header


class _Run:
    """One training run: its data, its learner, and the files it keeps."""

    def __init__(
        self,
        config: TrainConfig,
        out: Path,
        file: PatchFile,
        validation: Validation,
        learner: Learner,
        start: ModelHeader | None,
    ) -> None:
        self.config, self.out, self.file, self.validation, self.learner = config, out, file, validation, learner
        self.start = start
        self.reader = batches.PatchReader(file, config.augmentation, config.seed)
        self.indices = choose_patches(self.reader.sample_of, config)
        self.per_epoch = len(self.reader.sample_of)
        parents = {"patches": sha256(config.patches)}
        if config.start is not None:
            parents["start"] = sha256(find_weights(config.start))
        self.identity = json.dumps(config.as_dict() | parents | {"epochs": config.epochs})
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
        score = self.validation.score(learner.average, str(learner.device), self.diameters)
        seconds, patches = time.monotonic() - start, len(losses) * self.config.batch_size
        progress.advance(float(np.mean(losses)), score.dice, learner.learning_rate, seconds, patches)
        if progress.best_epoch == epoch:
            modelfile.save(learner.average, self._header(score), self.out / runfolder.WEIGHTS)
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
        dice = "" if math.isnan(p.last_dice) else f"val Dice {p.last_dice:.4f} (best {p.best_dice:.4f}), "
        return f"{of}, {dice}{p.patches / p.seconds:.0f} patches/s, {minutes_left:.0f} min left"

    @property
    def description(self) -> str:
        """The net and what trains it, in words."""
        net, learner = self.learner.net, self.learner
        widths = ",".join(map(str, net.widths))
        parameters = f"{count_parameters(net):,} parameters"
        return f"{self.config.group} of widths {widths} ({parameters}) on {learner.device} in {learner.precision}"

    @property
    def diameters(self) -> Diameters | None:
        """Of the fields of view that the net has learned from; None if none of its photographs shows where it ends."""
        records = [self.file.header.samples[i] for i in np.unique(self.reader.sample_of[self.indices])]
        known = [record.diameter for record in records if record.diameter is not None]
        known += (self.start.diameters or ()) if self.start else ()
        return (min(known), max(known)) if known else None

    def _header(self, score: Score) -> ModelHeader:
        threshold, metrics = self.start.threshold if self.start else 0.5, {}
        if score.maps:
            threshold, best = self.validation.best_threshold(score)
            metrics = {"val_dice_at_threshold": best, "val_dice_at_0.5": score.dice}
        return ModelHeader(
            group=self.config.group,
            widths=self.learner.net.widths,
            normalisation=NORMALISATION,
            threshold=threshold,
            diameters=self.diameters,
            training=self._lineage(),
            metrics=metrics,
            versions=modelfile.versions(),
        )

    def _lineage(self) -> dict[str, object]:
        """Where the weights come from: configuration, parents by hash, and every photograph that they have seen."""
        records, parents = self.file.header.samples, json.loads(self.identity)
        learned = {int(i) for i in self.reader.sample_of[self.indices]}
        splits = {
            "train": sorted(learned),
            "val": [i for i, record in enumerate(records) if record.split == "val"],
        }
        samples = {
            split: {f"{records[i].dataset}/{records[i].id}": records[i].image_sha256 for i in members}
            for split, members in splits.items()
        }
        lineage = {"config": self.config.as_dict(), "patches_sha256": parents["patches"]}
        if self.start is not None:
            lineage["start_sha256"] = parents["start"]
            before = self.start.training.get("samples", {})
            samples = {split: before.get(split, {}) | own for split, own in samples.items()}
        return lineage | {"samples": samples}

    def finish(self) -> TrainResult:
        progress, model = self.learner.progress, self.out / runfolder.WEIGHTS
        return TrainResult(
            model=model,
            dice=progress.best_dice,
            best_epoch=progress.best_epoch,
            threshold=read_header(model).threshold,
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
