"""Training batches: patches read from the file, normalised and augmented together in torch."""

import functools
import signal
import sys
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from multiprocessing import resource_tracker
from typing import Any, TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from geseg.cores import count_cores
from geseg.data import augment
from geseg.data.augment import Augmentation, Draws
from geseg.data.patchfile import PatchFile
from geseg.errors import ProcessError
from geseg.steps import camera
from geseg.steps.pipeline import made_ahead

FLAT = (1, 1, 1, 1, 1)
"""Weights of the mean that makes the lines of the choroid soft."""
Draw: TypeAlias = tuple[int, int, int]
"""A patch to visit: its epoch, which visit of that epoch it is, its index in the file."""
Batch: TypeAlias = tuple[Tensor, Tensor, Tensor]
"""Image, label and field of view, as `prepare` gives them."""


@dataclass(frozen=True, slots=True)
class Raw:
    """Patches as they lie in the file, uint8[b, p, p, 5], the statistics of their images, and what happens to them."""

    patches: Tensor
    mean: Tensor
    contrast: Tensor
    draws: Draws

    def pin_memory(self) -> "Raw":
        return Raw(self.patches.pin_memory(), self.mean.pin_memory(), self.contrast.pin_memory(), self.draws)


class PatchReader(Dataset[Raw]):
    """Reads one batch at a time; the file is opened in the process that reads."""

    def __init__(self, file: PatchFile, augmentation: Augmentation, seed: int) -> None:
        self.file, self.augmentation, self.seed = file, augmentation, seed
        self.sample_of = file.train_samples
        self.mean = np.array([record.mean for record in file.header.samples], np.float32)
        self.contrast = np.array([record.contrast for record in file.header.samples], np.float32)
        file.close()

    def __getitems__(self, batch: Sequence[Draw]) -> Raw:
        indices = [index for _, _, index in batch]
        samples = self.sample_of[indices]
        drawn = [augment.draw(self.augmentation, self.seed, epoch, [visit]) for epoch, visit, _ in batch]
        return Raw(
            torch.from_numpy(self.file.train_patches(indices)),
            torch.from_numpy(self.mean[samples]),
            torch.from_numpy(self.contrast[samples]),
            augment.stack(drawn),
        )

    def __getitem__(self, draw: Draw) -> Raw:
        return self.__getitems__([draw])


def _as_it_is(batch: Any) -> Any:  # noqa: ANN401 - the signature DataLoader wants; it is a Raw
    return batch


def order(indices: np.ndarray, per_epoch: int, seed: int, epoch: int) -> list[Draw]:
    """The visits of an epoch: all of `indices` in random order, again and again until there are `per_epoch`."""
    rng = np.random.default_rng((seed, epoch))
    rounds = -(-per_epoch // len(indices))
    visits = np.concatenate([rng.permutation(indices) for _ in range(rounds)])[:per_epoch]
    return [(epoch, visit, int(index)) for visit, index in enumerate(visits)]


def count_workers(device: torch.device) -> int:
    """How many processes read ahead: on a CPU they would take its cores from the network, and reading is quick."""
    return min(4, count_cores()) if device.type == "cuda" else 0


def batches(
    reader: PatchReader,
    visits: Sequence[Draw],
    batch_size: int,
    device: torch.device,
    share: slice = slice(None),
) -> Generator[Raw]:
    """Read the visits in batches; the last batch, if it is short, is left out, as its norm statistics would be noisy.

    Of each batch only `share` is read; the rest is for other processes. Closing it ends the processes that read ahead.
    """
    whole = [list(visits[i : i + batch_size])[share] for i in range(0, len(visits) - batch_size + 1, batch_size)]
    workers = count_workers(device)
    loader = DataLoader(
        reader,
        batch_sampler=whole,
        collate_fn=_as_it_is,
        num_workers=workers,
        pin_memory=device.type == "cuda",
        multiprocessing_context="spawn" if workers else None,
    )
    with _signals_held():
        reading = iter(loader)
    yield from reading


@contextmanager
def workers_watched() -> Iterator[None]:
    """Within the block, a process that reads ahead and dies, as torch tells wherever one is, is one line.

    Raises:
        ProcessError: as said.
    """
    try:
        yield
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise ProcessError(f"a process that reads patches has died ({error}); go on with --resume") from error


@contextmanager
def _signals_held() -> Iterator[None]:
    """Processes that start meanwhile are deaf to Ctrl-C and SIGTERM: they end with this one, which decides when."""
    if sys.platform == "win32":
        yield
        return
    resource_tracker.ensure_running()  # which lets the signals through when it starts
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def prepared(raws: Iterable[Raw], device: torch.device) -> Generator[Batch]:
    """`prepare` each; on a CPU, where no process reads ahead, a thread reads and prepares the next one meanwhile."""
    if device.type != "cpu":
        yield from (prepare(raw, device) for raw in raws)
        return
    threads = torch.get_num_threads()
    try:
        with closing(made_ahead(map(_prepare_alone, raws))) as ready:
            yield from ready
    finally:
        torch.set_num_threads(threads)  # of threads that are to come: it was also set for these below


def _prepare_alone(raw: Raw) -> Batch:
    """With the core of one thread: the net has the others, and how many it has must change no bit."""
    torch.set_num_threads(1)
    return prepare(raw, torch.device("cpu"))


def prepare(raw: Raw, device: torch.device) -> Batch:
    """Normalise, turn, scale and recolour a batch on `device`; change the camera where that was drawn.

    What a turned patch does not cover is filled with its own mirror image, label and field of view included.

    Returns:
        image: float32[B, 3, p, p]
        label: float32[B, 1, p, p] in [0, 1]; between 0 and 1 where a vessel's edge falls between pixels
        fov: float32[B, 1, p, p], 0 or 1
    """
    patches = raw.patches.to(device, non_blocking=True).permute(0, 3, 1, 2)
    stack = patches.to(torch.float32, memory_format=torch.contiguous_format)
    matrices = torch.from_numpy(raw.draws.matrices).to(device)
    grid = F.affine_grid(F.pad(matrices, (0, 1)), list(stack.shape), align_corners=False)
    stack = F.grid_sample(stack, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    image, label, fov = stack[:, :3], stack[:, 3:4] / 255, (stack[:, 4:] > 0.999 * 255).float()
    mean, contrast = (t.to(device, non_blocking=True)[:, :, None, None] for t in (raw.mean, raw.contrast))
    gains, shifts = (torch.from_numpy(t).to(device)[:, :, None, None] for t in (raw.draws.gains, raw.draws.shifts))
    added = _texture(raw.draws, image).add_(shifts).mul_(fov)
    image = image.sub_(mean).mul_(gains / contrast).add_(added)
    return camera.change(image, raw.draws), label, fov


def _texture(draws: Draws, image: Tensor) -> Tensor:
    """The blotches and the choroid, at the size of the patch, float32[B, 3, p, p]."""
    coarse = torch.from_numpy(np.concatenate([draws.blotches, draws.choroid], 1)).to(image.device)
    height, width = (stretching(coarse.shape[2], size).to(image.device) for size in image.shape[2:])
    fine = height @ coarse @ width.T
    return fine[:, :3] + camera.smooth(fine[:, 3:].abs(), FLAT)


@functools.lru_cache(maxsize=8)
def stretching(coarse: int, fine: int) -> Tensor:
    """Cubic interpolation along one side as a matrix, float32[fine, coarse]: a twentieth of the time of torch's own."""
    return F.interpolate(torch.eye(coarse)[None, None], (fine, coarse), mode="bicubic")[0, 0]
