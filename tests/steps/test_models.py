"""How many threads a model is opened for; what `auto` takes is in tests/native/test_engine.py."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import geseg
from geseg.errors import ConfigError
from geseg.native import library

IMAGE = np.full((64, 80, 3), 99, np.uint8)


@pytest.mark.parametrize("engine", ["auto", "native", "onnx", "torch"])
@pytest.mark.parametrize("threads", [0, -1])
def test_no_threads_are_refused(run_folder: Path, engine: str, threads: int) -> None:
    with pytest.raises(ConfigError, match=rf"^threads is {threads}; expected 1 or more, or None for one per core$"):
        geseg.load(run_folder, engine, "cpu", threads=threads)  # type: ignore[arg-type]


@pytest.mark.parametrize("engine", ["tensorrt", "Native", ""])
def test_unknown_engines_are_refused(run_folder: Path, engine: str) -> None:
    with pytest.raises(ConfigError, match=f"engine '{engine}' is not known; choose one of auto, native, onnx, torch"):
        geseg.load(run_folder, engine)  # type: ignore[arg-type]


def test_threads_reach_the_kernel(run_folder: Path, needs_kernel: None, monkeypatch: pytest.MonkeyPatch) -> None:
    run, found = library.run, set[int]()

    def note(layer: library.Layer, images: int, dtype: type, threads: int, instructions: int) -> None:
        found.add(threads)
        run(layer, images, dtype, threads, instructions)

    monkeypatch.setattr(library, "run", note)
    geseg.load(run_folder, "native", threads=3).segment(IMAGE)
    assert found == {3}


def test_threads_reach_onnxruntime(run_folder: Path) -> None:
    net: Any = geseg.load(run_folder, "onnx", "cpu", threads=3).segmenter.net
    assert net._session.get_session_options().intra_op_num_threads == 3


@pytest.fixture
def threads_of_torch() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_threads_reach_torch(run_folder: Path, threads_of_torch: None) -> None:
    geseg.load(run_folder, "torch", "cpu", threads=3)
    assert torch.get_num_threads() == 3
