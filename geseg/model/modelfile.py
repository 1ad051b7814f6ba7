"""CONTRACT 2: a model is one safetensors file with a JSON header; a file from a stranger cannot run code."""

from pathlib import Path

import safetensors.torch
import torch

from geseg.errors import GesegError, ModelFileError
from geseg.files import atomic_path
from geseg.model import modelweights
from geseg.model.group import Group
from geseg.model.modelheader import KEY, ModelHeader, seal
from geseg.model.steerable import PlainLayers
from geseg.model.unet import UNet, build


def save(net: UNet, header: ModelHeader, path: Path) -> None:
    """Write weights and header to one safetensors file, whole or not at all."""
    state = {name: tensor.contiguous().cpu() for name, tensor in net.state_dict().items()}
    text = header.to_json()
    digest = modelweights.digest(text, {name: tensor.numpy() for name, tensor in state.items()})
    with atomic_path(path) as partial:  # save_file would report a full disk as an error of its own kind
        partial.write_bytes(safetensors.torch.save(state, metadata={KEY: seal(text, digest)}))


def load(path: Path) -> tuple[UNet, ModelHeader]:
    """Read a model, in evaluation mode, on the CPU, in float32.

    Raises:
        ModelFileError: the file is missing, no safetensors file, not from geseg, damaged, or its weights do not fit its
            header.
    """
    header, weights = modelweights.load(path)
    try:
        net = _empty_net(header, sum(array.size for array in weights.values()))
        net.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
    except (RuntimeError, ValueError, TypeError, KeyError, GesegError) as error:
        raise modelweights.misfit(path, error) from error
    return net.eval(), header


def _empty_net(header: ModelHeader, numbers: int) -> UNet:
    """The net that a header describes; ModelFileError if a file of so many numbers cannot hold its weights."""
    if sum(width**2 for width in header.widths) > numbers:  # fewer than the convolutions inside of the levels have
        raise ModelFileError(f"{numbers} numbers are too few for the widths {list(header.widths)}")
    group = Group.parse(header.group)
    if header.kind == "restricted":
        return UNet(PlainLayers(group.order, folded=True), header.widths)
    return build(group, header.widths)


def versions() -> dict[str, str]:
    """Versions of geseg and of the libraries that decide the weights."""
    from geseg import __version__  # noqa: PLC0415 - the package's own name, known once it is imported

    return {"geseg": __version__, "torch": torch.__version__}
