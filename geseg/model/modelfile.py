"""CONTRACT 2: a model is one safetensors file with a JSON header; a file from a stranger cannot run code."""

from pathlib import Path

import safetensors
import safetensors.torch
import torch

from geseg.errors import GesegError, ModelFileError
from geseg.files import atomic_path
from geseg.model.group import Group
from geseg.model.modelheader import ModelHeader, read_header
from geseg.model.steerable import PlainLayers
from geseg.model.unet import UNet, build


def save(net: UNet, header: ModelHeader, path: Path) -> None:
    """Write weights and header to one safetensors file, whole or not at all."""
    state = {name: tensor.contiguous().cpu() for name, tensor in net.state_dict().items()}
    with atomic_path(path) as partial:
        safetensors.torch.save_file(state, partial, metadata={"geseg": header.to_json()})


def load(path: Path) -> tuple[UNet, ModelHeader]:
    """Read a model, in evaluation mode, on the CPU, in float32.

    Raises:
        ModelFileError: the file is missing, no safetensors file, not from geseg, or its weights do not fit its header.
    """
    header = read_header(path)
    group = Group.parse(header.group)
    try:
        if header.kind == "restricted":
            net = UNet(PlainLayers(group.order, folded=True), header.widths)
        else:
            net = build(group, header.widths)
        net.load_state_dict(safetensors.torch.load_file(path))
    except (RuntimeError, safetensors.SafetensorError, GesegError) as error:
        first = str(error).strip().splitlines()[0]
        raise ModelFileError(f"{path}: the weights do not fit the header ({first}); the file is damaged") from error
    return net.eval(), header


def versions() -> dict[str, str]:
    """Versions of geseg and of the libraries that decide the weights."""
    from geseg import __version__  # noqa: PLC0415 - the package's own name, known once it is imported

    return {"geseg": __version__, "torch": torch.__version__}
