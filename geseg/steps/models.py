"""Finding and opening a model: a run folder, a safetensors file or an ONNX file, as one function from tiles to maps."""

import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from jaxtyping import Bool, Float32, UInt8

import geseg
from geseg.data.fov import find_fov
from geseg.errors import ConfigError, DataError, ModelFileError
from geseg.files import sha256
from geseg.inference import tiling
from geseg.inference.driver import has_cuda_driver
from geseg.inference.onnxfile import OnnxHeader, read_header
from geseg.model.group import Group
from geseg.model.modelheader import ModelHeader
from geseg.model.modelheader import read_header as read_model_header
from geseg.native import library
from geseg.native.engine import NativeEngine, reason_against
from geseg.steps.runfolder import ONNX, WEIGHTS
from geseg.steps.segmenting import Segmenter, between

EngineName = Literal["auto", "native", "onnx", "torch"]
SHIPPED = Path("shipped")
"""Stands for the weights inside the package, wherever a model is named."""
FOLDER = Path(geseg.__file__).parent / "weights"


@dataclass(frozen=True, slots=True)
class Model:
    """A model ready to run; `load` opens one.

    Attributes:
        segmenter: the net, and how photographs are brought to it.
        threshold: probability from which a pixel is vessel, fixed on validation images.
        path: the file that was opened.
        engine: what runs it: "native", "onnx" or "torch".
        device: where and how it really runs, in words.
        weights_sha256: of the safetensors file that was opened, or that the ONNX file was exported from.
    """

    segmenter: Segmenter
    threshold: float
    path: Path
    engine: EngineName
    device: str
    weights_sha256: str

    def segment(
        self, image: UInt8[np.ndarray, "h w 3"], fov: Bool[np.ndarray, "h w"] | None = None
    ) -> Float32[np.ndarray, "h w"]:
        """Segment a photograph of any size.

        Args:
            image: 8-bit RGB, as `geseg.data.images.read_image` gives it.
            fov: its field of view, by default what `geseg.find_fov` finds; its width decides the scale to work at.

        Returns:
            The probability in [0, 1] that a pixel is a vessel, at the photograph's own size; outside the field of view
            (`geseg.find_fov`) it means nothing.

        Raises:
            DataError: the array has another shape or type.
        """
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or not image.size:
            raise DataError(
                f"the image has shape {image.shape} and type {image.dtype}; expected 8-bit RGB, uint8[height, width, 3]"
            )
        fov = find_fov(image) if fov is None else fov
        if fov.shape != image.shape[:2]:
            raise DataError(f"the field of view has shape {fov.shape}; expected that of the image, {image.shape[:2]}")
        return self.segmenter.image(image, fov)


def place(model: Path) -> Path:
    """Where a model is: "shipped" means the package's own weights, unless there is something of that name."""
    return FOLDER if model == SHIPPED and not model.exists() else model


def find_weights(model: Path) -> Path:
    """The safetensors file of a run folder, or the file itself."""
    model = place(model)
    return model / WEIGHTS if model.is_dir() else model


def load(
    model: Path | str = SHIPPED,
    engine: EngineName = "auto",
    device: str = "auto",
    threads: int | None = None,
    turns: int = 1,
) -> Model:
    """Open a model.

    Args:
        model: a run folder, a .safetensors file or an .onnx file; by default the weights that ship with geseg.
        engine: "native" (geseg's own kernel, for steerable nets on the CPU), "onnx", "torch", or "auto": the fastest of
            those that can run the model on the device.
        device: "auto" (a GPU where one works), "cpu", "cuda" or "cuda:N".
        threads: CPU threads of the network, with torch of all networks of this process; by default one per core that
            the process may use.
        turns: angles at which every photograph is segmented; its map is the mean. They divide what lies between two
            turns with which the net commutes: at 3, those of 0, 30 and 60 degrees for group d4.

    Raises:
        ModelFileError: no such model, or the ONNX file of a run folder is not of the weights beside it.
        ConfigError: there is no such engine, it cannot run this kind of file, or there are no threads or turns.
        DeviceError: the device is not there.
    """
    if engine not in get_args(EngineName):
        raise ConfigError(f"engine {engine!r} is not known; choose one of {', '.join(get_args(EngineName))}")
    if threads is not None and threads < 1:
        raise ConfigError(f"threads is {threads}; expected 1 or more, or None for one per core")
    if turns < 1:
        raise ConfigError(f"turns is {turns}; expected 1 or more")
    engine, path = _choose(place(Path(model)), engine, device)
    net, header, words, digest = _OPEN[engine](path, device, threads)
    moves = between(Group.parse(header.group).rotations, turns) if turns > 1 else ()
    segmenter = Segmenter(net, header.divisor, header.diameters, header.calibre, moves)
    words += f", mean of {turns} angles" if moves else ""
    return Model(segmenter, header.threshold, path, engine, words, digest)


_Opened = tuple[tiling.Net, ModelHeader | OnnxHeader, str, str]
"""A net, its header, where it runs, and the SHA-256 of its weights."""


def _open_native(path: Path, _: str, threads: int | None) -> _Opened:
    run = NativeEngine(path, threads)
    return run, run.header, run.device, sha256(path)


def _open_onnx(path: Path, device: str, threads: int | None) -> _Opened:
    from geseg.inference.onnx_engine import OnnxEngine  # noqa: PLC0415 - not needed beside others

    run = OnnxEngine(path, device, threads)
    return run, run.header, run.device, run.header.model_sha256


def _open_torch(path: Path, device: str, threads: int | None) -> _Opened:
    import torch  # noqa: PLC0415 - takes seconds: the others need no torch

    from geseg.inference.torch_engine import TorchEngine  # noqa: PLC0415 - it imports torch
    from geseg.model import modelfile  # noqa: PLC0415
    from geseg.model.restrict import restrict  # noqa: PLC0415

    if threads:
        torch.set_num_threads(threads)
    net, header = modelfile.load(path)
    run = TorchEngine(net if header.kind == "restricted" else restrict(net), device)
    return run, header, run.device, sha256(path)


_OPEN: dict[EngineName, Callable[[Path, str, int | None], _Opened]] = {
    "native": _open_native,
    "onnx": _open_onnx,
    "torch": _open_torch,
}


def _choose(model: Path, engine: EngineName, device: str) -> tuple[EngineName, Path]:
    """The engine to take, and the file that it runs."""
    weights, exported = (model / WEIGHTS, model / ONNX) if model.is_dir() else (model, model)
    if not model.exists():
        raise ModelFileError(f"{model} does not exist; expected a run folder, a .safetensors or an .onnx file")
    if engine == "native":
        _check_native(weights, device)
        return "native", weights
    if engine == "auto" and weights.suffix != ".onnx" and weights.is_file() and runs_native(weights, device):
        return "native", weights
    if engine != "torch" and exported.is_file() and exported.suffix == ".onnx":
        if exported != model:
            _check_fresh(exported, weights)
        return "onnx", exported
    if engine == "onnx":
        out = [] if model.is_dir() else ["-o", str(model.with_suffix(".onnx"))]
        command = shlex.join(["geseg", "export", str(model), *out])
        found = f"{model} holds no {ONNX}; make it" if model.is_dir() else f"{model} is no ONNX file; make one"
        raise (ModelFileError if model.is_dir() else ConfigError)(f"{found} with: {command}")
    if not weights.is_file():
        raise ModelFileError(f"{model} holds no {WEIGHTS}; expected a run folder that geseg train has written")
    if weights.suffix == ".onnx":
        raise ConfigError(f"{model} is an ONNX file, which torch does not run; leave out --engine torch")
    return "torch", weights


def runs_native(weights: Path, device: str) -> bool:
    """Whether geseg's kernel is the fastest for a model: on a CPU with AVX2, if no GPU may be meant."""
    if device not in ("auto", "cpu") or library.best_set() < library.AVX2 or (device == "auto" and has_cuda_driver()):
        return False
    return not reason_against(read_model_header(weights))


def _check_native(weights: Path, device: str) -> None:
    """Say what the kernel cannot run; what is wrong with a model file says the engine itself."""
    if device not in ("auto", "cpu"):
        raise ConfigError(f"--engine native runs on the CPU, not on {device}; leave one of both out")
    if weights.suffix == ".onnx":
        raise ConfigError(
            f"{weights} is an ONNX file, in which kernels are plain; --engine native takes the run folder or the "
            ".safetensors file that it was exported from"
        )
    if not weights.is_file():
        raise ModelFileError(f"{weights} does not exist; expected a run folder that geseg train has written")


def _check_fresh(exported: Path, weights: Path) -> None:
    """An ONNX file beside other weights than its own would give masks of a net that is gone."""
    if weights.is_file() and read_header(exported).model_sha256 != sha256(weights):
        raise ModelFileError(
            f"{exported} was exported from other weights than {weights.name} beside it; "
            f"renew it with: {shlex.join(['geseg', 'export', str(exported.parent), '--overwrite'])}"
        )
