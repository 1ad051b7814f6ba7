"""Whole nets on a photograph of DRIVE's size: geseg's kernel, and onnxruntime on the plain net that is exported."""

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch

from geseg.inference.onnx_engine import OnnxEngine
from geseg.model import modelfile
from geseg.model.group import Group
from geseg.model.modelheader import ModelHeader
from geseg.model.unet import build, find_widths
from geseg.native.engine import NativeEngine
from geseg.steps import export
from geseg.steps.export import ExportConfig
from tests.benchmarks import timing

HEIGHT, WIDTH = 592, 576
"""A photograph of DRIVE as one tile."""


def seconds(group: str, params: int, rounds: int) -> dict[str, list[float]]:
    """Seconds of one tile: on the kernel, on onnxruntime, and of a plain U-Net of as many parameters on onnxruntime."""
    tile = np.random.default_rng(0).normal(size=(1, 3, HEIGHT, WIDTH)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        weights, onnx = written(Path(folder), group, params)
        engines: dict[str, Callable[[np.ndarray], np.ndarray]] = {
            "native": NativeEngine(weights),
            "onnx": OnnxEngine(onnx, "cpu"),
            "plain": OnnxEngine(written(Path(folder), "c1", params)[1], "cpu"),
        }
        difference = float(np.abs(engines["native"](tile) - engines["onnx"](tile)).max())
        assert difference < 1e-4, difference
        return timing.race({name: partial(run, tile) for name, run in engines.items()}, rounds)


def written(folder: Path, group: str, params: int) -> tuple[Path, Path]:
    """A net of random weights as the file of a model, and exported."""
    torch.manual_seed(0)
    widths = find_widths(Group.parse(group), params)
    path = folder / f"{group}.safetensors"
    header = ModelHeader(group=group, widths=widths, normalisation="-", threshold=0.5)
    modelfile.save(build(Group.parse(group), widths).eval(), header, path)
    return path, export.run(ExportConfig(model=path, out=path.with_suffix(".onnx"))).out
