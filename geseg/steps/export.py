"""Export: a trained model to one ONNX file of plain convolutions, checked against the original."""

import contextlib
import io
import logging
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from geseg import __version__
from geseg.errors import ConfigError, ExportError, GesegError
from geseg.files import atomic_path, refuse_to_overwrite, sha256
from geseg.inference.onnx_engine import OnnxEngine
from geseg.inference.onnxfile import INPUT, OUTPUT, OnnxHeader, remove_remarks, write_header
from geseg.model import modelfile
from geseg.model.modelheader import ModelHeader
from geseg.model.restrict import restrict
from geseg.model.unet import UNet
from geseg.progress import Track, silent
from geseg.steps.models import find_weights
from geseg.steps.runfolder import ONNX

TOLERANCE = 1e-4
"""Largest difference in probability between the file in onnxruntime and the model in torch."""
CHECKED_SIZES = ((1, 8, 8), (2, 5, 3), (1, 16, 9))
"""Batch, height and width of the check; both sides in multiples of the divisor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportConfig:
    """What to export and where to."""

    model: Path
    out: Path | None = None
    """By default model.onnx beside the weights."""
    overwrite: bool = False


@dataclass(frozen=True, slots=True)
class ExportResult:
    """What was written, and how near it is to the original."""

    out: Path
    difference: float
    """Largest difference in probability that the check found."""
    divisor: int


class _Probability(nn.Module):
    """The graph that is exported: logits to probabilities."""

    def __init__(self, net: UNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, image: Tensor) -> Tensor:
        return torch.sigmoid(self.net(image))


def run(config: ExportConfig, track: Track = silent) -> ExportResult:
    """Restrict a model to plain convolutions and write it as ONNX, whole or not at all.

    Raises:
        ModelFileError: `config.model` is no model.
        ConfigError: it is an ONNX file, or the output is not named as one.
        OutputError: the output exists.
        ExportError: the file would not do what the model does; it is not kept.
    """
    weights = find_weights(config.model)
    if weights.suffix == ".onnx":
        raise ConfigError(f"{weights} is an ONNX file already; expected a run folder or a .safetensors file")
    out = config.out or weights.with_name(ONNX)
    if out.suffix.lower() != ".onnx":
        raise ConfigError(f"{out} is not the name of an ONNX file; expected one such as {out.name}.onnx")
    refuse_to_overwrite(out, config.overwrite)
    net, header = modelfile.load(weights)
    plain = net if header.kind == "restricted" else restrict(net)
    with atomic_path(out, fresh=not config.overwrite) as partial:
        for _ in track([plain], f"export {weights}", 1):
            _write(plain, _describe(header, sha256(weights)), partial)
            difference = _check(net, partial, header.divisor)
    return ExportResult(out, difference, header.divisor)


def _describe(header: ModelHeader, digest: str) -> OnnxHeader:
    return OnnxHeader(
        geseg_version=__version__,
        model_sha256=digest,
        group=header.group,
        widths=header.widths,
        divisor=header.divisor,
        threshold=header.threshold,
        normalisation=header.normalisation,
        diameters=header.diameters,
        calibre=header.calibre,
        input=f"{INPUT}: float32[B, 3, H, W], RGB, normalised; H and W divisible by {header.divisor}",
        output=f"{OUTPUT}: float32[B, 1, H, W], probability in [0, 1] that a pixel is a vessel",
    )


def _write(plain: UNet, header: OnnxHeader, path: Path) -> None:
    """Write the graph with dynamic batch, height and width, and the header in the same file."""
    example = torch.zeros(2, 3, 4 * header.divisor, 6 * header.divisor)
    batch, height, width = torch.export.Dim("batch"), torch.export.Dim("height"), torch.export.Dim("width")
    sides = {2: header.divisor * height, 3: header.divisor * width}
    quiet = io.StringIO()  # the exporter reports its stages on stdout
    before = logging.root.manager.disable
    try:
        logging.disable(logging.WARNING)  # and warns of operators of torchvision, which no U-Net has
        with warnings.catch_warnings(), contextlib.redirect_stdout(quiet):
            warnings.simplefilter("ignore")  # deprecations inside torch and onnxscript, which users cannot mend
            program = torch.onnx.export(
                _Probability(plain).eval(),
                (example,),
                dynamo=True,
                external_data=False,
                input_names=[INPUT],
                output_names=[OUTPUT],
                dynamic_shapes=({0: batch, **sides},),
                verbose=False,
            )
    except Exception as error:  # whatever the exporter trips over: no file is left
        raise ExportError(f"torch {torch.__version__} could not export the model: {_first_line(error)}") from error
    finally:
        logging.disable(before)
    assert program is not None
    proto = program.model_proto
    remove_remarks(proto)
    write_header(proto, header)
    onnx.save_model(proto, str(path))


def _check(net: UNet, path: Path, divisor: int) -> float:
    """Largest difference in probability at several sizes; more than TOLERANCE is an error."""
    try:
        onnx.checker.check_model(str(path), full_check=True)
        engine = OnnxEngine(path, "cpu")
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, GesegError) as error:
        raise ExportError(f"the exported file is not valid: {_first_line(error)}; it was not kept") from error
    generator, worst = torch.Generator().manual_seed(0), 0.0
    for batch, rows, columns in CHECKED_SIZES:
        image = torch.randn(batch, 3, rows * divisor, columns * divisor, generator=generator)
        with torch.inference_mode():
            expected = torch.sigmoid(net(image))[:, 0].numpy()
        difference = float(np.abs(engine(image.numpy()) - expected).max())
        if not difference <= TOLERANCE:  # nan is a failure too
            raise ExportError(
                f"onnxruntime differs from torch by {difference:.2g} in probability, expected {TOLERANCE} at most"
            )
        worst = max(worst, difference)
    return worst


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
