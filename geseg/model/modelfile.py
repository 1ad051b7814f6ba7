"""CONTRACT 2: a model is one safetensors file with a JSON header; a file from a stranger cannot run code."""

import hashlib
from pathlib import Path

import safetensors
import safetensors.torch
import torch

from geseg.errors import GesegError, ModelFileError
from geseg.files import atomic_path
from geseg.model.group import Group
from geseg.model.modelheader import FORMAT, KEY, ModelHeader, read_sealed, seal
from geseg.model.steerable import PlainLayers
from geseg.model.unet import UNet, build


def save(net: UNet, header: ModelHeader, path: Path) -> None:
    """Write weights and header to one safetensors file, whole or not at all."""
    state = {name: tensor.contiguous().cpu() for name, tensor in net.state_dict().items()}
    text = header.to_json()
    with atomic_path(path) as partial:  # save_file would report a full disk as an error of its own kind
        partial.write_bytes(safetensors.torch.save(state, metadata={KEY: seal(text, _digest(text, state))}))


def load(path: Path) -> tuple[UNet, ModelHeader]:
    """Read a model, in evaluation mode, on the CPU, in float32.

    Raises:
        ModelFileError: the file is missing, no safetensors file, not from geseg, damaged, or its weights do not fit its
            header.
    """
    header, text, digest = read_sealed(path)
    try:
        state = safetensors.torch.load_file(path)
        if header.format == FORMAT and digest != _digest(text, state):
            raise ModelFileError("its bytes do not fit its checksum")
        net = _empty_net(header, sum(tensor.numel() for tensor in state.values()))
        net.load_state_dict(state)
    except (RuntimeError, ValueError, TypeError, KeyError, safetensors.SafetensorError, GesegError) as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ModelFileError(f"{path}: the weights do not fit the header ({first}); the file is damaged") from error
    return net.eval(), header


def _empty_net(header: ModelHeader, numbers: int) -> UNet:
    """The net that a header describes; ModelFileError if a file of so many numbers cannot hold its weights."""
    if sum(width**2 for width in header.widths) > numbers:  # fewer than the convolutions inside of the levels have
        raise ModelFileError(f"{numbers} numbers are too few for the widths {list(header.widths)}")
    group = Group.parse(header.group)
    if header.kind == "restricted":
        return UNet(PlainLayers(group.order, folded=True), header.widths)
    return build(group, header.widths)


def _digest(text: str, state: dict[str, torch.Tensor]) -> str:
    """Hexadecimal SHA-256 of a header's text and of all weights: in the order of their names, type, shape and bytes."""
    digest = hashlib.sha256(text.encode())
    for name, tensor in sorted(state.items()):
        digest.update(f"\n{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def versions() -> dict[str, str]:
    """Versions of geseg and of the libraries that decide the weights."""
    from geseg import __version__  # noqa: PLC0415 - the package's own name, known once it is imported

    return {"geseg": __version__, "torch": torch.__version__}
