"""The net that a training begins with: a new one, or that of a model; and what it cannot begin with."""

import math
from pathlib import Path

from geseg.errors import ConfigError
from geseg.model import modelfile
from geseg.model.group import Group
from geseg.model.modelheader import ModelHeader
from geseg.model.unet import UNet, build, find_widths, parameters_of
from geseg.steps.models import find_weights
from geseg.steps.trainconfig import MOST_PARAMETERS, PARAMETERS, TrainConfig


def first_net(config: TrainConfig) -> tuple[UNet, ModelHeader | None]:
    """The net to train, and the header of the model that it comes from, if any.

    Raises:
        ModelFileError: `config.start` is no model.
        ConfigError: it is of another group or other widths than the configuration, or cannot be trained any more.
    """
    if config.start is None:
        group = Group.parse(config.group)
        widths = config.widths or find_widths(group, config.params)
        if (learned := parameters_of(group, widths)) > MOST_PARAMETERS:
            raise ConfigError(f"widths {widths} have {learned:,} parameters; expected {MOST_PARAMETERS:,} at most")
        return build(group, widths), None
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
    if config.params != PARAMETERS:
        raise ConfigError(f"{path} decides how many parameters there are; leave out --params")
    return net, header


def check_start(config: TrainConfig, out: Path) -> None:
    """Refuse to start from a model that the run itself would remove; ConfigError says so."""
    if config.start is not None and find_weights(config.start).resolve().parent == out.resolve():
        raise ConfigError(
            f"{out} holds the model to start from, which --overwrite removes; choose another place with -o"
        )


def check_patches(path: Path, side: int, divisor: int) -> None:
    """Refuse patches that the poolings of a net do not halve evenly; ConfigError says which ones it takes."""
    if side % divisor:
        raise ConfigError(
            f"{path} has patches of {side} pixels, which {divisor.bit_length() - 1} poolings do not halve evenly; "
            f"expected a multiple of {divisor}: prepare with --patch-size {math.ceil(side / divisor) * divisor}"
        )
