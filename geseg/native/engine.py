"""A trained steerable model as a plain function from tiles to probabilities, on the compiled kernel."""

import sys
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32

from geseg.cores import count_cores
from geseg.errors import ConfigError, ModelFileError
from geseg.model import modelweights
from geseg.model.group import Group
from geseg.model.modelheader import ModelHeader
from geseg.native import library
from geseg.native.net import NativeNet


class NativeEngine:
    """Runs the model of a .safetensors file on the CPU.

    Attributes:
        header: what the file says about itself.
        device: what runs it, in words: "cpu (geseg's kernel)".

    Args:
        path: a model that `geseg train` wrote.
        threads: how many work on a tile; None is one per core that this process may use.

    Raises:
        ModelFileError: `path` is no such model.
        ConfigError: there is no kernel for this machine or for this model (see `reason_against`).

    Shapes:
        input:  float[b, 3, h, w], a normalised image; h and w are multiples of `header.divisor`
        output: float32[b, h, w], probabilities in [0, 1]
    """

    def __init__(self, path: Path, threads: int | None = None) -> None:
        self.header, weights = modelweights.load(path)
        if reason := reason_against(self.header):
            raise ConfigError(f"--engine native cannot run {path}: {reason}; leave it out")
        self.device = "cpu (geseg's kernel)"
        threads = threads or count_cores()
        try:
            self._net = NativeNet(Group.parse(self.header.group), self.header.widths, weights, threads)
        except ModelFileError as error:
            raise modelweights.misfit(path, error) from error

    def __call__(self, tiles: Float[np.ndarray, "b c h w"]) -> Float32[np.ndarray, "b h w"]:
        return self._net(tiles)


def say_whether(header: ModelHeader) -> str:
    """Whether a model runs here on the kernel, in words."""
    if reason := reason_against(header):
        return f"no: {reason}"
    best = library.best_set()
    asked = "" if best >= library.AVX2 else ", if --engine native asks for it"
    return f"yes, with {library.SETS[best]} instructions{asked}"


def reason_against(header: ModelHeader) -> str:
    """Why a model does not run here on the kernel; "" if it does."""
    if not library.best_set():
        if sys.platform == "win32":
            return "geseg's kernel is not built on Windows"
        return "this installation of geseg has no compiled kernel; install it again where a C compiler is"
    if header.kind != "trained":
        return "its kernels are restricted to plain ones"
    if Group.parse(header.group).is_plain:
        return "it is a plain net, and the kernel is for steerable ones"
    return ""
