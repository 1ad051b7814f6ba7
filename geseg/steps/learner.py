"""One net while it learns: optimiser, schedule, averaged weights, and all of it in one file to resume from."""

import copy
import ctypes
import dataclasses
import json
import math
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path

import safetensors
import safetensors.numpy
import torch
from torch import Tensor

from geseg.errors import ConfigError, OutputError
from geseg.files import atomic_path
from geseg.model import modelweights
from geseg.model.losses import Loss
from geseg.model.modelheader import KEY, SEAL
from geseg.model.unet import UNet
from geseg.native import training, workers

WARMUP = 0.05
"""Share of the training over which the learning rate rises."""
AVERAGE = 0.995
"""Share of the averaged weights that stays at each step: an average over about 200 steps."""
WEIGHT_DECAY = 1e-4
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4
"""Options of glibc's mallopt(3)."""
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(slots=True)
class Progress:
    """How far a run is."""

    epoch: int = 0
    seconds: float = 0.0
    patches: int = 0
    last_dice: float = math.nan
    best_dice: float = -1.0
    best_epoch: int = 0
    curve: list[dict[str, float]] = field(default_factory=list)
    """A row per epoch, for the learning curve."""
    losses: list[float] = field(default_factory=list)
    """Of the steps of the epoch that was going on; an epoch that is killed begins anew, one that is stopped goes on."""
    learning_rate: float = 0.0
    """Of the last step."""
    spent: float = 0.0
    """Seconds of that epoch."""
    judging: float = 0.0
    """Seconds that the last validation took, which are among them."""

    @property
    def elapsed(self) -> float:
        """Seconds of all that was done, an epoch that was stopped included."""
        return self.seconds + self.spent

    def would_be_best(self, dice: float) -> bool:
        """Whether weights of this validation Dice are to be kept: without validation images the last ones are."""
        return dice > self.best_dice or math.isnan(dice)

    def advance(self, dice: float, batch_size: int) -> None:
        """Note the end of the epoch that is going on."""
        loss = math.fsum(self.losses) / len(self.losses)
        self.epoch += 1
        self.seconds += self.spent
        self.patches += len(self.losses) * batch_size
        self.losses, self.spent = [], 0.0
        self.last_dice = dice
        if self.would_be_best(dice):
            self.best_dice, self.best_epoch = dice, self.epoch
        row = {"epoch": self.epoch, "loss": loss, "val_dice": dice, "learning_rate": self.learning_rate}
        self.curve.append(row | {"seconds": self.seconds})


class Learner:
    """Takes optimisation steps and averages the weights (Polyak & Juditsky 1992) exponentially."""

    def __init__(self, net: UNet, loss: Loss, learning_rate: float, device: torch.device, precision: str) -> None:
        self.device, self.precision, self.loss = device, precision, loss
        if device.type == "cpu":
            keep_memory()
        self.net = net.to(device).train()
        self.kernel = device.type == "cpu" and precision == "fp32" and training.attach(self.net)
        """Whether geseg's own kernel computes the steerable convolutions."""
        self.average = copy.deepcopy(self.net).eval().requires_grad_(False)
        """The net with averaged weights: the one to validate and to keep."""
        self.layout = torch.contiguous_format if self.kernel else torch.channels_last
        self.peak = learning_rate
        self.optimiser = torch.optim.AdamW(self.net.parameters(), learning_rate, weight_decay=WEIGHT_DECAY)
        self.steps = 0
        self.progress = Progress()

    def step(self, image: Tensor, label: Tensor, fov: Tensor, done: float) -> float:
        """One optimisation step; `done` is the share of the training behind it, in [0, 1]. Returns the loss."""
        with workers.alone() if self.kernel else nullcontext():
            return self._step(image, label, fov, done)

    def _step(self, image: Tensor, label: Tensor, fov: Tensor, done: float) -> float:
        self.progress.learning_rate = self.peak * schedule(done)
        for group in self.optimiser.param_groups:
            group["lr"] = self.progress.learning_rate
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            logits = self.net(image.contiguous(memory_format=self.layout))
        loss = self.loss(logits.to(label.dtype), label, fov)
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        self.steps += 1
        self._average()
        return loss.item()

    @torch.no_grad()
    def _average(self) -> None:
        keep = min(AVERAGE, self.steps / (self.steps + 10))  # the first weights are random: forget them quickly
        for mean, new in zip(self.average.state_dict().values(), self.net.state_dict().values(), strict=True):
            if mean.is_floating_point():
                mean.lerp_(new, 1 - keep)
            else:
                mean.copy_(new)

    def save(self, path: Path, identity: str, fresh: bool = False) -> None:
        """Write all that the next step depends on; `identity` names the run it belongs to, `fresh` as `atomic_path`."""
        tensors = {f"net.{name}": tensor for name, tensor in self.net.state_dict().items()}
        tensors |= {f"average.{name}": tensor for name, tensor in self.average.state_dict().items()}
        for number, state in self.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{number}.{name}": torch.as_tensor(value) for name, value in state.items()}
        header = {"identity": identity, "steps": self.steps, "progress": dataclasses.asdict(self.progress)}
        arrays, text = {name: tensor.detach().cpu().numpy() for name, tensor in tensors.items()}, json.dumps(header)
        with atomic_path(path, fresh=fresh) as partial:
            metadata = {KEY: text, SEAL: modelweights.digest(text, arrays)}
            # save_file would report a full disk as an error of its own kind
            partial.write_bytes(safetensors.numpy.save(arrays, metadata))

    def load(self, path: Path, identity: str) -> None:
        """Continue from what `save` wrote.

        Raises:
            ConfigError: it belongs to a run with other options or another patch file.
            OutputError: the file cannot be read, or is damaged.
        """
        try:
            with safetensors.safe_open(path, framework="numpy") as file:
                text, seal = (file.metadata()[key] for key in (KEY, SEAL))
            arrays = safetensors.numpy.load_file(path)
            if seal != modelweights.digest(text, arrays):
                raise ValueError("its bytes do not fit its checksum")
            header = json.loads(text)
            progress = Progress(**header["progress"])
        except (safetensors.SafetensorError, OSError, TypeError, KeyError, ValueError) as error:
            raise OutputError(f"{path} is no state to resume from ({error}); start anew with --overwrite") from error
        if header["identity"] != identity:
            raise ConfigError(
                f"{path} is of a run with {_difference(header['identity'], identity)}; resume with the same"
            )
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        self.net.load_state_dict(_part(tensors, "net."))
        self.average.load_state_dict(_part(tensors, "average."))
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in _part(tensors, "optimiser.").items():
            number, key = name.split(".")
            state.setdefault(int(number), {})[key] = tensor
        self.optimiser.load_state_dict(self.optimiser.state_dict() | {"state": state})
        self.steps = header["steps"]
        self.progress = progress


def keep_memory() -> None:
    """Let this process keep the memory of maps that it lets go of, where the C library is glibc.

    It would give large ones back, and get them again at the next step, page by page and filled with zeros.
    """
    with suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        for option, value in ((M_MMAP_MAX, 0), (M_TRIM_THRESHOLD, 2**31 - 1), (M_TOP_PAD, 2**26)):
            mallopt(option, value)


def schedule(done: float) -> float:
    """Factor of the learning rate: a linear rise, then half a cosine down to 0 (Loshchilov & Hutter 2017)."""
    if done < WARMUP:
        return (done + 1e-3) / (WARMUP + 1e-3)
    return 0.5 * (1 + math.cos(math.pi * (done - WARMUP) / (1 - WARMUP)))


def choose_precision(name: str, device: torch.device) -> str:
    """What "auto" means on a device: bfloat16 where the hardware multiplies it, else float32.

    Raises:
        ConfigError: the name is not known.
    """
    if name in PRECISIONS:
        return name
    if name != "auto":
        raise ConfigError(f"precision {name!r} is not known; choose auto, {' or '.join(PRECISIONS)}")
    if device.type == "cuda":
        with torch.cuda.device(device):
            return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    abilities = torch.cpu.get_capabilities()
    return "bf16" if abilities.get("avx512_bf16") or abilities.get("amx_bf16") else "fp32"


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _difference(one: str, other: str) -> str:
    """The first option in which two identities differ, in words."""
    a, b = json.loads(one), json.loads(other)
    name = next((key for key in sorted(a.keys() | b.keys()) if a.get(key) != b.get(key)), "other options")
    return f"{name} {a.get(name)} instead of {b.get(name)}"
