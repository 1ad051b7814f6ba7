"""A torch module as a plain function from tiles to probabilities; the only file of this package that imports torch."""

import contextlib
import copy
import re

import numpy as np
import torch
from jaxtyping import Float
from torch import nn

from geseg.errors import ConfigError, DeviceError


class TorchEngine:
    """Runs a module that gives logits.

    Attributes:
        device: what really runs it, in words: "cpu (torch 2.13.0)".

    Args:
        net: float[B, C, H, W] to logits, float[B, 1, H, W]. The engine takes a copy, so that neither the mode nor the
            place of `net` changes.
        device: as for `choose_device`.

    Raises:
        DeviceError: a GPU was asked for, but torch has none.
        ConfigError: `device` is not known.

    Shapes:
        input:  float[b, c, h, w], a normalised image
        output: float[b, h, w], probabilities in [0, 1], in the precision of the module's parameters
    """

    def __init__(self, net: nn.Module, device: str = "auto") -> None:
        self._device = choose_device(device)
        # channels_last is the layout for which the convolutions of both cuDNN and oneDNN are written
        self._net = copy.deepcopy(net).to(self._device).eval()
        self._net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # missing in the stubs of torch
        self._dtype = next((p.dtype for p in net.parameters()), None)
        what = torch.cuda.get_device_name(self._device) if self._device.type == "cuda" else f"torch {torch.__version__}"
        self.device = f"{self._device} ({what})"

    @torch.inference_mode()
    def __call__(self, tiles: Float[np.ndarray, "b c h w"]) -> Float[np.ndarray, "b h w"]:
        x = torch.from_numpy(np.ascontiguousarray(tiles)).to(
            self._device, self._dtype, memory_format=torch.channels_last
        )
        with self._exact():
            probability: np.ndarray = torch.sigmoid(self._net(x))[:, 0].cpu().numpy()
        return probability

    def _exact(self) -> contextlib.AbstractContextManager[None]:
        """Without TF32, which rounds float32 to 11 bits in convolutions: too coarse for the 1e-4 we promise."""
        if self._device.type == "cpu":
            return contextlib.nullcontext()
        return torch.backends.cudnn.flags(enabled=True, allow_tf32=False)


def choose_device(name: str) -> torch.device:
    """The device behind "auto" (a GPU where torch has one), "cpu", "cuda" or "cuda:N".

    Raises:
        DeviceError: a GPU was asked for that torch does not have.
        ConfigError: `name` is none of the above.
    """
    found = re.fullmatch(r"auto|cpu|cuda(?::(\d+))?", name)
    if found is None:
        raise ConfigError(f"device {name!r} is not known; expected auto, cpu, cuda or cuda:N")
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "cpu" or (name == "auto" and not gpus):
        return torch.device("cpu")
    index = int(found[1] or 0)
    if index >= gpus:
        raise DeviceError(
            f"device {name} was asked for, but torch {torch.__version__} sees {gpus} GPUs; "
            "install a driver and a torch with CUDA, choose another one, or use --device cpu"
        )
    return torch.device("cuda", index)
