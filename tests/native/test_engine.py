import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from geseg.errors import ConfigError, ModelFileError
from geseg.inference.onnx_engine import OnnxEngine
from geseg.model import bases, modelfile
from geseg.model.group import Group
from geseg.model.modelheader import ModelHeader
from geseg.model.restrict import restrict
from geseg.model.unet import UNet, build
from geseg.native import library
from geseg.native.engine import NativeEngine, reason_against
from geseg.steps import models
from geseg.steps.runfolder import ONNX, WEIGHTS

pytestmark = pytest.mark.usefixtures("needs_kernel")
SHIPPED = models.FOLDER


def a_net(group: str, widths: tuple[int, ...]) -> UNet:
    """With norms that do something."""
    torch.manual_seed(0)
    net = build(Group.parse(group), widths)
    for part in net.modules():
        if isinstance(part, torch.nn.BatchNorm2d):
            assert part.running_mean is not None
            assert part.running_var is not None
            for values, low, high in ((part.running_mean, -1, 1), (part.running_var, 0.5, 2), (part.weight, 0.5, 2)):
                torch.nn.init.uniform_(values, low, high)
    return net.eval()


def a_file(net: UNet, group: str, path: Path, kind: str = "trained") -> Path:
    header = ModelHeader(group=group, widths=net.widths, normalisation="-", threshold=0.5, kind=kind)
    modelfile.save(net, header, path)
    return path


def tiles_of(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("name", bases.GROUPS)
def test_it_computes_what_torch_computes(name: str, tmp_path: Path) -> None:
    """One to four levels; tiles of the smallest size, and ones that no vector fits; the same maps again."""
    for widths in ((2,), (1, 2), (2, 1, 3, 2)):
        net = a_net(name, widths)
        engine = NativeEngine(a_file(net, name, tmp_path / "model.safetensors"), threads=2)
        for rows, columns in ((1, 1), (5, 13), (1, 1), (9, 2)):
            tiles = tiles_of(2, 3, rows * net.divisor, columns * net.divisor)
            with torch.inference_mode():
                expected = torch.sigmoid(net(torch.from_numpy(tiles)))[:, 0].numpy()
            found = engine(tiles)
            assert found.dtype == np.float32
            np.testing.assert_allclose(found, expected, atol=1e-4)


def test_the_shipped_weights_agree_with_onnxruntime_to_a_hundredth_of_what_is_promised() -> None:
    tiles = tiles_of(2, 3, 96, 208)
    native, onnx = NativeEngine(SHIPPED / WEIGHTS, threads=1)(tiles), OnnxEngine(SHIPPED / ONNX, "cpu")(tiles)
    assert np.ptp(onnx) > 0.1
    np.testing.assert_allclose(native, onnx, atol=1e-5)


def test_threads_may_share_an_engine() -> None:
    """As those of a program that segments several photographs at a time; tiles of two sizes."""
    engine = NativeEngine(SHIPPED / WEIGHTS, threads=2)
    tiles = [tiles_of(1, 3, 64, 64 + 32 * (number % 2)) + number for number in range(8)]
    expected = [engine(tile) for tile in tiles]
    with ThreadPoolExecutor(4) as pool:
        for found, wanted in zip(pool.map(engine, tiles), expected, strict=True):
            np.testing.assert_array_equal(found, wanted)


def test_extreme_logits_are_probabilities_without_a_warning(tmp_path: Path) -> None:
    net = a_net("d4", (1,))
    torch.nn.init.constant_(net.head.bias, -1e4)
    found = NativeEngine(a_file(net, "d4", tmp_path / "model.safetensors"))(tiles_of(1, 3, 4, 4))
    assert (found == 0).all()


def test_what_it_does_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = a_file(a_net("c1", (2, 3)), "c1", tmp_path / "plain.safetensors")
    restricted = a_file(restrict(a_net("d4", (1, 2))), "d4", tmp_path / "restricted.safetensors", "restricted")
    for path, reason in ((plain, "it is a plain net"), (restricted, "its kernels are restricted")):
        with pytest.raises(ConfigError, match=rf"--engine native cannot run .*: {reason}.*; leave it out"):
            NativeEngine(path)
    monkeypatch.setattr(library, "best_set", lambda: 0)
    with pytest.raises(ConfigError, match="no compiled kernel"):
        NativeEngine(SHIPPED / WEIGHTS)
    monkeypatch.setattr(sys, "platform", "win32")  # where no compiler would help
    with pytest.raises(ConfigError, match="geseg's kernel is not built on Windows; leave it out"):
        NativeEngine(SHIPPED / WEIGHTS)


def test_weights_that_are_not_those_of_the_header(tmp_path: Path) -> None:
    """Of another net; sealed as they are, so that only their shapes tell."""
    net = a_net("d4", (1, 2))
    net.widths = (2, 1)
    with pytest.raises(ModelFileError, match=r"down\.0\.norms\.0\.norm\.weight should have shape \[2\], found \[1\]"):
        NativeEngine(a_file(net, "d4", tmp_path / "model.safetensors"))
    net.widths = (1, 2, 3)
    with pytest.raises(ModelFileError, match=r"down\.2\..* should have shape .*, found none"):
        NativeEngine(a_file(net, "d4", tmp_path / "model.safetensors"))


def test_weights_that_the_header_does_not_mention(tmp_path: Path) -> None:
    """Of a deeper net, whose upper part would run, and give other masks than torch, which refuses them, too."""
    net = a_net("d4", (1, 2, 2))
    net.widths = (1,)
    with pytest.raises(ModelFileError, match=r"down\.1\.convs\.0\.coefficients is of no part of a net of 1 level"):
        NativeEngine(a_file(net, "d4", tmp_path / "model.safetensors"))


@pytest.mark.parametrize("shape", [(1, 1, 16, 16), (1, 4, 16, 16), (1, 3, 17, 16), (1, 3, 16, 20), (1, 3, 0, 8)])
def test_tiles_of_another_shape_are_not_read(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"tiles have shape .*; expected \(b, 3, h, w\), h and w divisible by 8"):
        NativeEngine(SHIPPED / WEIGHTS)(tiles_of(*shape))


def test_it_works_on_after_a_tile_that_was_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """The memory of the smaller one is gone then, and must not be used."""
    engine, tile, larger = NativeEngine(SHIPPED / WEIGHTS, threads=1), tiles_of(1, 3, 32, 48), tiles_of(1, 3, 64, 64)
    expected = engine(tile)
    empty = np.empty

    def full(shape: object, *kind: type) -> np.ndarray:
        if isinstance(shape, int):  # as maps are made
            raise MemoryError
        return empty(shape, *kind)

    with monkeypatch.context() as patch:
        patch.setattr(np, "empty", full)
        with pytest.raises(MemoryError):
            engine(larger)
    assert not engine._net._levels
    np.testing.assert_array_equal(engine(tile), expected)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A run folder with both kinds of files."""
    return Path(shutil.copytree(SHIPPED, tmp_path / "run"))


def test_auto_takes_it_where_it_can(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "has_cuda_driver", lambda: False)
    monkeypatch.setattr(library, "best_set", lambda: library.AVX2)
    assert models.load(folder).engine == models.load(folder, device="cpu").engine == "native"
    assert models.load(folder / WEIGHTS).engine == "native"
    assert models.load(folder / ONNX).engine == "onnx"
    assert models.load(folder, "onnx").engine == "onnx"
    assert models.load(folder, "torch").engine == "torch"
    assert models.load(a_file(a_net("c1", (2, 3)), "c1", tmp_path / "c.safetensors")).engine == "torch"
    names = {models.load(folder, engine).weights_sha256 for engine in ("native", "onnx", "torch")}
    assert len(names) == 1, "all run the same weights"


def test_auto_leaves_it_where_something_else_is_faster(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(models, "has_cuda_driver", lambda: True)
        assert models.load(folder).engine == "onnx"
        assert models.load(folder, device="cpu").engine == "native"
    monkeypatch.setattr(library, "best_set", lambda: 1)
    assert models.load(folder).engine == "onnx"
    assert models.load(folder, "native").engine == "native"
    (folder / ONNX).unlink()
    assert models.load(folder).engine == "torch"


@pytest.mark.parametrize(
    ("file", "device", "error", "message"),
    [
        (ONNX, "cpu", ConfigError, "is an ONNX file, in which kernels are plain; --engine native takes the run folder"),
        (".", "cuda", ConfigError, "--engine native runs on the CPU, not on cuda"),
        ("none", "cpu", ModelFileError, "none does not exist"),
    ],
)
def test_mistakes(folder: Path, file: str, device: str, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        models.load(folder / file, "native", device)


def test_a_run_folder_without_weights(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=f"{WEIGHTS} does not exist; expected a run folder"):
        models.load(tmp_path, "native")


def test_it_needs_neither_torch_nor_onnxruntime() -> None:
    code = """
import sys, numpy as np, geseg
assert geseg.load("shipped", engine="native").segment(np.full((80, 90, 3), 99, np.uint8)).shape == (80, 90)
assert not {"torch", "onnxruntime", "onnx", "e2cnn"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_reasons_are_none_for_the_shipped_weights() -> None:
    assert not reason_against(NativeEngine(SHIPPED / WEIGHTS).header)
