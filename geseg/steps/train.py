"""Train: a patch file to a run folder with a model, its configuration and its learning curve."""

import math
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from functools import cached_property

import numpy as np
import torch

from geseg.data.patchfile import PatchFile
from geseg.errors import DataError, DeviceError, DivergedError, StoppedError
from geseg.inference.memory import is_out_of_memory
from geseg.model import modelfile
from geseg.model.losses import LOSSES
from geseg.model.modelheader import ModelHeader, read_header
from geseg.model.unet import count_parameters
from geseg.progress import Stop, Track, never, silent
from geseg.steps import batches, curves, runfolder
from geseg.steps.board import Board
from geseg.steps.distributed import Ranks, join
from geseg.steps.firstnet import check_patches, check_start, first_net
from geseg.steps.learner import Learner, choose_precision
from geseg.steps.lineage import Lineage
from geseg.steps.trainconfig import Moment, TrainConfig, TrainResult, Watch, default_folder, unseen
from geseg.steps.validation import Score, Validation


def run(config: TrainConfig, track: Track = silent, watch: Watch = unseen, stop: Stop = never) -> TrainResult:
    """Train a U-Net on a patch file and keep the weights of the epoch with the best validation Dice.

    Those of the last epoch if the file has no validation images: nothing else is then chosen by looking at images.
    `watch` is called after each step and each epoch; `stop` is asked before each step. Of several processes that
    `torchrun` has started only the first one writes.

    Raises:
        PatchFileError, DataError: the patch file cannot be used, or has too few training patches.
        ModelFileError: `config.start` is no model that training has written.
        OutputError: the run folder holds a run already, and neither `resume` nor `overwrite` is set; or no more fits.
        ConfigError, DeviceError: options that do not fit together, a device that is not there or has too little memory.
        DivergedError: the loss is no number any more.
        StoppedError: `stop` said so; `resume` goes on with the next step.
        ProcessError: another process of the training has died.
    """
    with join(config.device) as ranks, PatchFile.open(config.patches) as file:
        run_ = _Run(config, file, ranks)
        run_.begin()
        with batches.workers_watched():
            while run_.goes_on:
                run_.epoch(track, watch, stop)
        return run_.finish()


class _Run:
    """One training run: its data, its learner, and the files it keeps; nothing is touched before `begin`."""

    def __init__(self, config: TrainConfig, file: PatchFile, ranks: Ranks) -> None:
        self.config, self.ranks = config, ranks
        self.out = config.out or default_folder(config, file)
        if ranks.first:
            runfolder.check_free(self.out, config.resume, config.overwrite)
            check_start(config, self.out)
        self.validation = Validation(file) if ranks.first else None
        self.validates = any(record.split == "val" for record in file.header.samples)
        self.share = ranks.share(config.batch_size)
        torch.manual_seed(config.seed)
        net, start = first_net(config)
        check_patches(config.patches, file.header.patch_size, net.divisor)
        precision = choose_precision(config.precision, ranks.device)
        self.learner = Learner(net, LOSSES[config.loss], config.peak, ranks.device, precision)
        ranks.connect(self.learner)
        self.reader = batches.PatchReader(file, config.augmentation, config.seed)
        self.indices = choose_patches(self.reader.sample_of, config)
        self.per_epoch = len(self.reader.sample_of)
        self.steps = self.per_epoch // config.batch_size
        learned = np.unique(self.reader.sample_of[self.indices])
        self.lineage = Lineage.of(config, file.header.samples, learned, start)
        if len(self.indices) < 1 or not self.steps:
            raise DataError(
                f"{config.patches} has {self.per_epoch} training patches, expected at least one batch of "
                f"{config.batch_size}; prepare it "
                + ("with more --patches-per-image" if self.per_epoch else "from a data set with training images")
            )

    def begin(self) -> None:
        """Read the state of the run in the folder, or empty the folder for a new one, which can be resumed at once."""
        config, state = self.config, self.out / runfolder.STATE
        if config.resume:
            self.learner.load(state, self.lineage.identity)
        if not self.ranks.first:
            return
        runfolder.remove_leftovers(self.out)
        if not config.resume:
            if config.overwrite:
                runfolder.clear(self.out)
            self.learner.save(state, self.lineage.identity, fresh=not config.overwrite)
        net = self.learner.net
        parameters = {"widths": net.widths, "parameters": count_parameters(net)}
        runfolder.write_config(self.out, config.as_dict() | parameters)
        self.board = Board(self.out, self.learner.progress.epoch)

    @property
    def goes_on(self) -> bool:
        progress = self.learner.progress
        in_time = self.config.minutes is None or progress.elapsed < self._seconds_to_learn(self.config.minutes)
        patient = progress.epoch - progress.best_epoch < self.config.patience or not progress.epoch
        return progress.epoch < self.config.epochs and patient and (in_time or bool(progress.losses))

    def epoch(self, track: Track, watch: Watch, stop: Stop) -> None:
        """Visit the patches once, score the averaged weights on the validation images, keep what is best.

        Raises:
            StoppedError: `stop` said so; the state holds all steps.
        """
        learner, progress = self.learner, self.learner.progress
        judged = self._judge(stop) if self._learn(track, watch, stop) else None
        if judged is None:
            if self.ranks.first:
                self._keep()
            steps = len(progress.losses)
            where = f"step {steps} of epoch {progress.epoch + 1}" if steps else f"epoch {progress.epoch}"
            raise StoppedError(f"{self.out} keeps what was learned up to {where}")
        dice, header = judged
        progress.spent, progress.judging = self.ranks.agree(progress.spent, progress.judging)
        progress.advance(dice, self.config.batch_size)
        if not self.ranks.first:
            return
        if header is not None:
            modelfile.save(learner.average, header, self.out / runfolder.WEIGHTS)
        self.board.show(progress.curve[-1])
        self._keep()
        watch(self._moment())

    def _learn(self, track: Track, watch: Watch, stop: Stop) -> bool:
        """Take the steps of an epoch that are left; False if it was stopped."""
        learner, progress, begun = self.learner, self.learner.progress, len(self.learner.progress.losses)
        if begun and self.ranks.agree(self._done())[0] >= 1:
            return True  # it was stopped in the validation at the end of its minutes
        visits = batches.order(self.indices, self.per_epoch, self.config.seed, progress.epoch + 1)
        left = visits[begun * self.config.batch_size :]
        raws = batches.batches(self.reader, left, self.config.batch_size, learner.device, self.share)
        start = time.monotonic() - progress.spent
        with closing(raws), closing(batches.prepared(raws, learner.device)) as ready, self._enough_memory():
            for batch in track(ready, self._label(), self.steps - begun):
                done, stopped = self.ranks.agree(self._done(), stop())
                if stopped:
                    return False
                progress.losses.append(self._step(batch, done))
                progress.spent = time.monotonic() - start
                watch(self._moment())
                if done >= 1:
                    break
        return True

    def _done(self) -> float:
        """Which share of the training is over, in [0, 1]."""
        progress = self.learner.progress
        done = (progress.epoch + len(progress.losses) / self.steps) / self.config.epochs
        if self.config.minutes is not None:
            seconds = self._seconds_to_learn(self.config.minutes)
            done = max(done, progress.elapsed / seconds if seconds > 0 else 1.0)
        return min(done, 1.0)

    def _seconds_to_learn(self, minutes: float) -> float:
        """What is left of so many minutes beside the last validation, if it takes as long as the one before."""
        return 60 * minutes - self.learner.progress.judging

    @contextmanager
    def _enough_memory(self) -> Iterator[None]:
        """Within the block, what does not fit into memory is told in one line."""
        try:
            yield
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            raise DeviceError(
                f"{self.config.batch_size} patches per step need more memory than {self.learner.device} has; "
                "train with a smaller --batch-size, or on smaller patches"
            ) from error

    def _step(self, batch: batches.Batch, done: float) -> float:
        """One step; its loss."""
        loss = self.learner.step(*batch, done=done)
        if not math.isfinite(loss):
            progress = self.learner.progress
            raise DivergedError(
                f"the loss of step {len(progress.losses) + 1} of epoch {progress.epoch + 1} is {loss}: the training "
                f"has diverged; start anew with a smaller --learning-rate than {self.config.peak:g}"
            )
        return loss

    def _judge(self, stop: Stop) -> tuple[float, ModelHeader | None] | None:
        """The mean Dice of the averaged weights at 0.5, and where they are to be kept their header; None if stopped.

        The first process validates, and has the header alone.
        """
        learner, progress, start = self.learner, self.learner.progress, time.monotonic()
        dice, header, ended = -1.0, None, False
        if self.validation is not None:
            try:
                score = self.validation.score(learner.average, str(learner.device), self.lineage.diameters, stop)
                if progress.would_be_best(score.dice):
                    header = self._header(self.validation, score, stop)
                dice = score.dice
            except StoppedError:
                ended = True
        stopped, dice = self.ranks.agree(ended, dice if self.validates else -1.0)
        seconds = time.monotonic() - start
        progress.spent += seconds
        if stopped:
            return None
        progress.judging = seconds
        return dice if self.validates else math.nan, header

    def _keep(self) -> None:
        """Write the learning curve, and last the state: a run that is killed before it repeats the epoch."""
        if self.learner.progress.curve:
            runfolder.write_curve(self.out, self.learner.progress.curve)
        self.learner.save(self.out / runfolder.STATE, self.lineage.identity)

    def _label(self) -> str:
        """What the progress line says: at first the net, too."""
        epoch = self.learner.progress.epoch
        return f"epoch {epoch + 1}/{self.config.epochs}" + ("" if epoch else f", {self.description}")

    def _moment(self) -> Moment:
        progress = self.learner.progress
        share = (progress.epoch + len(progress.losses) / self.steps) / self.config.epochs
        minutes_left = progress.elapsed * (1 / share - 1) / 60
        if self.config.minutes is not None:
            minutes_left = max(0.0, min(minutes_left, self.config.minutes - progress.elapsed / 60))
        return Moment(
            description=self.description,
            epochs=self.config.epochs,
            steps=self.steps,
            patches_per_second=(progress.patches + len(progress.losses) * self.config.batch_size) / progress.elapsed,
            minutes_left=minutes_left,
            progress=progress,
        )

    @cached_property
    def description(self) -> str:
        """The net and what trains it, in words."""
        net, learner = self.learner.net, self.learner
        widths = ",".join(map(str, net.widths))
        parameters = f"{count_parameters(net):,} parameters"
        several = f", {self.ranks.size} processes" if self.ranks.size > 1 else ""
        kernel = " with geseg's kernel" if learner.kernel else ""
        where = f"{learner.device} in {learner.precision}{kernel}{several}"
        return f"{self.config.group} of widths {widths} ({parameters}) on {where}"

    def _header(self, validation: Validation, score: Score, stop: Stop) -> ModelHeader:
        learner, learned = self.learner, self.lineage.diameters
        threshold, metrics = validation.choose_threshold(score)
        calibre = validation.calibre(learner.average, str(learner.device), learned, stop)
        return self.lineage.header(learner.net.widths, threshold, calibre, metrics)

    def finish(self) -> TrainResult:
        """Draw the curves, which one looks at now, and tell how it went."""
        progress, model = self.learner.progress, self.out / runfolder.WEIGHTS
        if self.ranks.first:
            curves.draw(progress.curve, self.out / runfolder.PICTURE)
        return TrainResult(
            model=model,
            dice=progress.best_dice,
            best_epoch=progress.best_epoch,
            threshold=read_header(model).threshold if self.ranks.first else math.nan,
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
