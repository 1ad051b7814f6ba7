"""Training on several processes, which `torchrun` starts: each computes a part of every batch, and all take one step.

What they compute together is what one process computes on the whole batch: statistics of the norms, sums of the loss,
gradients. Everything random is drawn for the whole batch. So their number decides nothing but rounding and speed.
"""

import functools
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed.nn  # see `join`
from torch import Tensor
from torch.distributed.rendezvous import rendezvous

from geseg.errors import ConfigError, GesegError, ProcessError
from geseg.inference.torch_engine import choose_device
from geseg.model.fieldnorm import FieldNorm
from geseg.steps.learner import Learner

PATIENCE = timedelta(hours=1)
"""How long the others wait while the first process validates; one that dies is noticed at once."""


@dataclass(frozen=True, slots=True)
class Ranks:
    """The processes that train one net together; usually there is only this one."""

    device: torch.device
    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the process that validates, writes and prints."""
        return self.rank == 0

    def share(self, batch_size: int) -> slice:
        """Which patches of each batch are for this process.

        Raises:
            ConfigError: they cannot be shared evenly.
        """
        if batch_size % self.size:
            raise ConfigError(
                f"batch_size ({batch_size}) cannot be shared evenly among {self.size} processes; "
                f"choose a multiple of {self.size}"
            )
        return slice(self.rank, None, self.size)

    def agree(self, *values: float) -> list[float]:
        """The largest of each value over all processes; none may be nan."""
        if self.size == 1:
            return list(values)
        return _reduced(torch.tensor(values, dtype=torch.double), dist.ReduceOp.MAX).tolist()

    def connect(self, learner: Learner) -> None:
        """Make the steps of a learner those of all processes, each with its part of the batch."""
        if self.size == 1:
            return
        for module in learner.net.modules():
            if isinstance(module, FieldNorm):  # torch's SyncBatchNorm does the same on GPUs alone, and knows no fields
                module.processes, module.over_processes = self.size, _mean
        learner.loss = functools.partial(learner.loss, total=_total)
        learner.optimiser.register_step_pre_hook(_average_gradients)


def is_first() -> bool:
    """Whether this process speaks for all; known before they have joined."""
    return not dist.is_torchelastic_launched() or os.environ["RANK"] == "0"


@contextmanager
def join(device: str) -> Iterator[Ranks]:
    """Meet the other processes that `torchrun` has started, if it has, each with a GPU of its own where there are some.

    Of what they raise in the block one has to be told; the others are marked as told. At the end nothing may hold the
    group: its threads would go on, and abort a process that ends meanwhile (pytorch/pytorch#190489). The defaults of
    `torch.distributed.nn` hold the group that is there when it is first imported, at the latest by an optimiser; so it
    is imported above.

    Raises:
        ConfigError, DeviceError: as `choose_device`.
    """
    if not dist.is_torchelastic_launched() or os.environ["WORLD_SIZE"] == "1":
        yield Ranks(choose_device(device))
        return
    store, rank, size = next(rendezvous("env://"))  # torchrun keeps it: it outlives each of the processes
    try:
        chosen = choose_device(device)
        if device in ("auto", "cuda") and chosen.type == "cuda":
            chosen = choose_device(f"cuda:{os.environ['LOCAL_RANK']}")
        if chosen.type == "cuda":
            torch.cuda.set_device(chosen)
        kind = "cpu:gloo,cuda:nccl" if chosen.type == "cuda" else "gloo"
        dist.init_process_group(kind, store=store, rank=rank, world_size=size, timeout=PATIENCE)
        yield Ranks(chosen, rank, size)
        dist.destroy_process_group()
    except GesegError as error:
        with suppress(RuntimeError):  # if torchrun itself is gone, everybody tells
            error.told = store.add("told", 1) > 1
        raise


class _Sum(torch.autograd.Function):
    """The sum over all processes. Each goes on with it to the same loss, so that its gradient is summed up as well."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:  # noqa: ANN401 - torch's
        return _reduced(x.clone())

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:  # noqa: ANN401
        return _reduced(grad.clone())


def _total(x: Tensor) -> Tensor:
    """The sum of a tensor of which each process has a part."""
    return _Sum.apply(x.sum())  # type: ignore[no-any-return, no-untyped-call]


def _mean(x: Tensor) -> Tensor:
    """Over all processes, of a tensor without a gradient."""
    return _reduced(x.clone()) / dist.get_world_size()


def _average_gradients(optimiser: torch.optim.Optimizer, *_: object) -> None:
    """Each process has the gradient of the sum of all processes' equal losses, as far as its part of the batch goes."""
    gradients = [p.grad for group in optimiser.param_groups for p in group["params"] if p.grad is not None]
    flat = _mean(torch.cat([gradient.flatten() for gradient in gradients]))
    for gradient, part in zip(gradients, torch.split(flat, [gradient.numel() for gradient in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))


def _reduced(x: Tensor, by: Any = dist.ReduceOp.SUM) -> Tensor:  # noqa: ANN401 - torch has no type for it
    """`x` itself, reduced over all processes.

    Raises:
        ProcessError: one of them is not there any more.
    """
    try:
        dist.all_reduce(x, by)
    except RuntimeError as error:
        raise ProcessError(
            "one of the processes that train together has died; see what it has said, and go on with --resume"
        ) from error
    return x
