"""Finding and opening a model: a run folder, a safetensors file or an ONNX file, as one function from tiles to maps."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float32, UInt8

import geseg
from geseg.data.fov import find_fov
from geseg.errors import ConfigError, DataError, ModelFileError
from geseg.files import sha256
from geseg.inference.onnxfile import read_header
from geseg.steps.runfolder import ONNX, WEIGHTS
from geseg.steps.segmenting import Segmenter

EngineName = Literal["auto", "onnx", "torch"]
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
        device: what really runs it, in words.
        weights_sha256: of the safetensors file that was opened, or that the ONNX file was exported from.
    """

    segmenter: Segmenter
    threshold: float
    path: Path
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
    model: Path | str = SHIPPED, engine: EngineName = "auto", device: str = "auto", threads: int | None = None
) -> Model:
    """Open a model.

    Args:
        model: a run folder, a .safetensors file or an .onnx file; by default the weights that ship with geseg.
        engine: "onnx", "torch", or "auto": onnxruntime where there is an ONNX file, else torch.
        device: "auto" (a GPU where one works), "cpu", "cuda" or "cuda:N".
        threads: CPU threads of the network, with torch of all networks of this process; by default one per core that
            the process may use.

    Raises:
        ModelFileError: no such model, or the ONNX file of a run folder is not of the weights beside it.
        ConfigError: the engine cannot run this kind of file.
        DeviceError: the device is not there.
    """
    path = _choose_file(place(Path(model)), engine)
    if path.suffix == ".onnx":
        from geseg.inference.onnx_engine import OnnxEngine  # noqa: PLC0415 - not needed beside torch

        run = OnnxEngine(path, device, threads)
        segmenter = Segmenter(run, run.header.divisor, run.header.diameters)
        return Model(segmenter, run.header.threshold, path, run.device, run.header.model_sha256)
    import torch  # noqa: PLC0415 - takes seconds: an ONNX model needs no torch

    from geseg.inference.torch_engine import TorchEngine  # noqa: PLC0415 - it imports torch
    from geseg.model import modelfile  # noqa: PLC0415
    from geseg.model.restrict import restrict  # noqa: PLC0415

    if threads:
        torch.set_num_threads(threads)
    net, header = modelfile.load(path)
    torch_run = TorchEngine(net if header.kind == "restricted" else restrict(net), device)
    segmenter = Segmenter(torch_run, header.divisor, header.diameters)
    return Model(segmenter, header.threshold, path, torch_run.device, sha256(path))


def _choose_file(model: Path, engine: EngineName) -> Path:
    if model.is_dir():
        weights, exported = model / WEIGHTS, model / ONNX
        if engine != "torch" and exported.is_file():
            _check_fresh(exported, weights)
            return exported
        if engine == "onnx":
            raise ModelFileError(f"{model} holds no {ONNX}; make it with: geseg export {model}")
        if not weights.is_file():
            raise ModelFileError(f"{model} holds no {WEIGHTS}; expected a run folder that geseg train has written")
        return weights
    if not model.is_file():
        raise ModelFileError(f"{model} does not exist; expected a run folder, a .safetensors or an .onnx file")
    if engine == "torch" and model.suffix == ".onnx":
        raise ConfigError(f"{model} is an ONNX file, which torch does not run; leave out --engine torch")
    if engine == "onnx" and model.suffix != ".onnx":
        raise ConfigError(
            f"{model} is no ONNX file; make one with: geseg export {model} -o {model.with_suffix('.onnx')}"
        )
    return model


def _check_fresh(exported: Path, weights: Path) -> None:
    """An ONNX file beside other weights than its own would give masks of a net that is gone."""
    if weights.is_file() and read_header(exported).model_sha256 != sha256(weights):
        raise ModelFileError(
            f"{exported} was exported from other weights than {weights.name} beside it; "
            f"renew it with: geseg export {exported.parent} --overwrite"
        )
