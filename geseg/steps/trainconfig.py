"""What decides a training run, and what it ends with."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

from geseg.data.augment import Augmentation
from geseg.data.patchfile import PatchFile
from geseg.errors import ConfigError
from geseg.model.group import Group
from geseg.model.losses import LOSSES
from geseg.steps.learner import Progress

LEARNING_RATE, TUNING_RATE = 2e-2, 2e-3
"""Peak of the schedule for weights that start at random, and for those of a model."""
PARAMETERS = 62_500
MOST_PARAMETERS = 100_000_000
"""That widths are looked for; a thousand times what nets of this kind need."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """Everything that decides the outcome of a training run."""

    patches: Path = Path("patches.h5")
    out: Path | None = None
    """The run folder; by default runs/ and a name made of data sets, group and fraction."""
    group: str = "d4"
    start: Path | None = None
    """A model to go on from: its widths, and at first its weights."""
    params: int = PARAMETERS
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
    learning_rate: float | None = None
    """Peak of the schedule; by default `LEARNING_RATE`, or `TUNING_RATE` from a model."""
    patience: int = 10
    """Epochs without a better validation Dice after which training stops."""
    seed: int = 0
    device: str = "auto"
    precision: str = "auto"
    resume: bool = False
    overwrite: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "group", Group.parse(self.group).name)
        if not 0 < self.fraction <= 1:
            raise ConfigError(f"fraction is {self.fraction}; expected more than 0 and at most 1, such as 0.25")
        if not 0 < self.params <= MOST_PARAMETERS:
            raise ConfigError(f"params is {self.params:,}; expected 1 to {MOST_PARAMETERS:,}, such as 62,500")
        if not 0 <= self.seed < 2**64:
            raise ConfigError(f"seed is {self.seed}; expected 0 to {2**64 - 1:,}")
        if self.loss not in LOSSES:
            raise ConfigError(f"loss {self.loss!r} is not known; choose one of {', '.join(LOSSES)}")
        if self.resume and self.overwrite:
            raise ConfigError("--resume continues a run and --overwrite starts it anew; choose one")

    @property
    def peak(self) -> float:
        """Of the learning rate."""
        return self.learning_rate or (LEARNING_RATE if self.start is None else TUNING_RATE)

    def as_dict(self) -> dict[str, Any]:
        """For JSON; what only says where to write and to compute is left out, as it does not decide the outcome."""
        values = dataclasses.asdict(self)
        return {k: str(v) if isinstance(v, Path) else v for k, v in values.items() if k not in _NOT_STORED}


_NOT_STORED = {"out", "resume", "overwrite", "device"}


@dataclass(frozen=True, slots=True)
class TrainResult:
    """What a run ended with."""

    model: Path
    dice: float
    """Mean over the validation images at threshold 0.5; nan without any."""
    best_epoch: int
    threshold: float
    description: str
    """Group, widths, number of parameters, device and precision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """How a run does after a step, or after an epoch."""

    description: str
    epochs: int
    steps: int
    """Of an epoch; `progress.losses` are those of the steps that are done, and none once it is validated."""
    patches_per_second: float
    """Validation included."""
    minutes_left: float
    progress: Progress


Watch: TypeAlias = Callable[[Moment], None]
"""Is shown how a run does."""


def unseen(_: Moment) -> None:
    """Nobody looks."""


def default_folder(config: TrainConfig, file: PatchFile) -> Path:
    """runs/ and the data sets, the group, and the fraction if it is not all: runs/drive-d4-0.25."""
    sets = "+".join(dict.fromkeys(record.dataset for record in file.header.samples))
    share = "" if config.fraction == 1 else f"-{config.fraction:g}"
    return Path("runs") / f"{sets}-{config.group}{share}"
