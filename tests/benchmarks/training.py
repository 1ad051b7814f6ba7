"""The training steps that are compared: of geseg's net, of the same net of e2cnn's modules, and of a plain one."""

import itertools
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from unittest import mock

import torch
from torch import Tensor, nn

from geseg.data.augment import Augmentation
from geseg.data.patchfile import PatchFile
from geseg.model.group import Group
from geseg.model.losses import LOSSES
from geseg.model.unet import build, find_widths
from geseg.native import library
from geseg.steps import batches
from geseg.steps.learner import Learner, choose_precision
from geseg.steps.prepare import PrepareConfig
from geseg.steps.train import choose_patches
from geseg.steps.trainconfig import LEARNING_RATE, TrainConfig
from tests.benchmarks import child, timing
from tests.benchmarks.e2cnn_unet import E2cnnUNet

LAYOUTS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
Batch = tuple[Tensor, Tensor, Tensor]
CPU = torch.device("cpu")
SIZE, SIDE = TrainConfig().batch_size, PrepareConfig(sources=(Path("any"),)).patch_size
"""Patches of a batch, and pixels along a side of each, in `geseg prepare && geseg train`."""


def default_widths(group: str) -> tuple[int, ...]:
    """Those that `geseg train --group` chooses."""
    return find_widths(Group.parse(group), TrainConfig().params)


def held_batch(size: int = SIZE, side: int = SIDE) -> Batch:
    """A batch of noise in the shape of `geseg train`'s: image, label and field of view."""
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(size, 3, side, side, generator=generator)
    label = (torch.rand(size, 1, side, side, generator=generator) < 0.1).float()
    return image, label, torch.ones(size, 1, side, side)


def nets(name: str, widths: Sequence[int]) -> dict[str, Callable[[], nn.Module]]:
    """Makes the contenders; e2cnn's has the weights of geseg's, the plain one is as wide as geseg's has channels.

    "dense" is geseg's, too, but learns without its kernel (see `learner_of`).
    """
    group = Group.parse(name)
    return {
        "geseg": lambda: build(group, widths),
        "e2cnn": lambda: E2cnnUNet.like(group, build(group, widths)),
        "dense": lambda: build(group, widths),
        "plain": lambda: build(Group.parse("c1"), [group.order * width for width in widths]),
    }


def learner_of(net: nn.Module, precision: str, dense: bool = False) -> Learner:
    """What `geseg train` trains a net with, or would where it has no kernel; all else is the same for all."""
    with mock.patch.object(library, "best_set", return_value=0) if dense else nullcontext():
        learner = Learner(net, LOSSES["dice+bce"], LEARNING_RATE, CPU, precision)  # type: ignore[arg-type]
    if isinstance(net, E2cnnUNet):
        learner.average.train()  # else e2cnn adds the expanded kernels to its state, which is what is averaged
    return learner


def step_seconds(
    group: str, contenders: Sequence[str], precision: str, rounds: int, size: int = SIZE, side: int = SIDE
) -> dict[str, list[float]]:
    """Seconds of a step of each contender at its default widths, in turn; geseg's is the first."""
    torch.manual_seed(0)
    make, batch = nets(group, default_widths(group)), held_batch(size, side)
    learners = {name: learner_of(make[name](), precision, dense=name == "dense") for name in contenders}
    for name in contenders[1:]:
        take_faster_layout(learners[name], batch)
    sides = {name: partial(learner.step, *batch, done=0.5) for name, learner in learners.items()}
    return timing.race(sides, rounds, warm_up=2)


def take_faster_layout(learner: Learner, batch: Batch) -> None:
    """Give a net the memory layout that suits it, whatever the learner gives geseg's own."""

    def step(layout: torch.memory_format) -> None:
        set_layout(learner.net, layout)
        learner.step(*batch, done=0.5)

    seconds = timing.race({name: partial(step, layout) for name, layout in LAYOUTS.items()}, rounds=2)
    set_layout(learner.net, LAYOUTS[min(seconds, key=lambda name: sum(seconds[name]))])


def set_layout(net: nn.Module, layout: torch.memory_format) -> None:
    """From now on let the image come into a net in a memory layout."""
    net._forward_pre_hooks.clear()
    net.register_forward_pre_hook(lambda _, args: (args[0].contiguous(memory_format=layout),))


def step_memory(group: str, contender: str, precision: str, size: int = SIZE, side: int = SIDE) -> float:
    """MiB that a process needs for a few steps over what it has after one on a tiny batch, which loads libraries."""
    batch = held_batch(size, side)
    learner = learner_of(nets(group, default_widths(group))[contender](), precision)
    learner.step(*held_batch(1, 16), done=0.5)
    child.forget_peak()
    before = child.resident()
    for _ in range(4):
        learner.step(*batch, done=0.5)
    return child.peak() - before


def epoch_seconds(patches: str, steps: int, rounds: int) -> dict[str, list[float]]:
    """Seconds of `steps` steps of an epoch of the default net, reading and augmenting included, and on one batch."""
    config = TrainConfig(patches=Path(patches))
    torch.manual_seed(config.seed)
    net = build(Group.parse(config.group), default_widths(config.group))
    learner = learner_of(net, choose_precision(config.precision, CPU))
    with PatchFile.open(config.patches) as file:
        reader = batches.PatchReader(file, Augmentation(), config.seed)
        indices = choose_patches(reader.sample_of, config)
        needed = config.batch_size * steps
        visits = itertools.cycle(batches.order(indices, max(needed, len(indices)), config.seed, epoch=1))
        first = next(batches.batches(reader, list(itertools.islice(visits, config.batch_size)), config.batch_size, CPU))
        held = batches.prepare(first, CPU)

        def epoch() -> None:
            raws = batches.batches(reader, list(itertools.islice(visits, needed)), config.batch_size, CPU)
            for batch in batches.prepared(raws, CPU):
                learner.step(*batch, done=0.5)

        def on_one_batch() -> None:
            for _ in range(steps):
                learner.step(*held, done=0.5)

        return timing.race({"epoch": epoch, "held": on_one_batch}, rounds)
