import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from geseg.errors import ConfigError, DeviceError, ModelFileError
from geseg.inference import onnx_engine
from geseg.inference.onnx_engine import OnnxEngine
from geseg.inference.onnxfile import OnnxHeader, read_header, write_header
from geseg.inference.tiling import segment

no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="about a machine without a GPU")


@pytest.fixture(scope="module")
def conv() -> nn.Conv2d:
    torch.manual_seed(0)
    return nn.Conv2d(3, 1, 3, padding=1)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory, conv: nn.Conv2d) -> Path:
    """A convolution and a sigmoid, in the form of an exported model."""
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["B", 3, "H", "W"])
    probability = helper.make_tensor_value_info("probability", TensorProto.FLOAT, ["B", 1, "H", "W"])
    weights = [numpy_helper.from_array(p.detach().numpy(), name) for name, p in conv.named_parameters()]
    nodes = [
        helper.make_node("Conv", ["image", "weight", "bias"], ["logits"], pads=[1, 1, 1, 1]),
        helper.make_node("Sigmoid", ["logits"], ["probability"]),
    ]
    graph = helper.make_graph(nodes, "tiny", [image], [probability], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    words = dict.fromkeys(("geseg_version", "model_sha256", "normalisation", "input", "output"), "-")
    write_header(model, OnnxHeader(**words, group="c1", widths=(1,), divisor=1, threshold=0.5))
    onnx.save(model, result := tmp_path_factory.mktemp("onnx") / "model.onnx")
    return result


@pytest.mark.parametrize("shape", [(1, 3, 8, 8), (5, 3, 16, 24), (2, 3, 7, 1)])
def test_agrees_with_torch(path: Path, conv: nn.Conv2d, shape: tuple[int, ...]) -> None:
    tiles = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    expected = torch.sigmoid(conv(torch.from_numpy(tiles)))[:, 0].detach().numpy()
    result = OnnxEngine(path, device="cpu", threads=1)(tiles)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected, atol=1e-6)


def test_a_graph_that_cannot_be_run(path: Path, tmp_path: Path) -> None:
    """Weights for one channel in place of three: onnxruntime finds out when there is a tile."""
    model = onnx.load(path)
    (weight,) = (tensor for tensor in model.graph.initializer if tensor.name == "weight")
    weight.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(weight)[:, :1], "weight"))
    write_header(model, read_header(path))
    onnx.save(model, tmp_path / "odd.onnx")
    with pytest.raises(ModelFileError, match=r"onnxruntime cannot run \S+odd\.onnx: .*; export it again"):
        OnnxEngine(tmp_path / "odd.onnx", "cpu")(np.zeros((1, 3, 8, 8), np.float32))


def test_a_gpu_that_fails_is_not_the_fault_of_the_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = OnnxEngine(path, "cpu")
    monkeypatch.setattr(engine, "device", "cuda:0 (onnxruntime CUDAExecutionProvider)")
    with pytest.raises(DeviceError, match=r"onnxruntime failed on cuda:0 \(.*\): .*; try --device cpu"):
        engine(np.zeros((1, 4, 8, 8), np.float32))


def test_tells_what_runs_and_what_the_file_says(path: Path) -> None:
    engine = OnnxEngine(path, device="cpu")
    assert engine.device == "cpu (onnxruntime CPUExecutionProvider)"
    assert engine.header.group == "c1"


def test_runs_through_the_tiling(path: Path) -> None:
    image = np.random.default_rng(0).normal(size=(3, 37, 150)).astype(np.float32)
    engine = OnnxEngine(path, device="cpu")
    result = segment(image, engine, engine.header.divisor)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, engine(image[None])[0], atol=1e-6)


@pytest.mark.parametrize(("allowed", "threads"), [({1, 5, 6}, 3), (set(range(8)), 0)])
def test_threads_are_the_cores_allowed_or_its_own_choice(
    allowed: set[int], threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: allowed, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    assert onnx_engine._options(None).intra_op_num_threads == threads
    assert onnx_engine._options(2).intra_op_num_threads == 2


@no_gpu
def test_auto_without_a_gpu_is_quiet(path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert OnnxEngine(path).device == "cpu (onnxruntime CPUExecutionProvider)"
    assert capfd.readouterr() == ("", "")


@no_gpu
def test_auto_with_a_driver_alone_is_quiet_too(
    path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_engine, "_cuda_may_work", lambda: True)
    assert OnnxEngine(path).device == "cpu (onnxruntime CPUExecutionProvider)"
    assert capfd.readouterr() == ("", "")


@no_gpu
@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_a_gpu_that_is_not_used_is_an_error(path: Path, capfd: pytest.CaptureFixture[str], device: str) -> None:
    pattern = rf"device {device} was asked for, but onnxruntime would run on the CPU \(.+\); install .* --device cpu$"
    with pytest.raises(DeviceError, match=pattern) as caught:
        OnnxEngine(path, device=device)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", ""), "onnxruntime must not talk beside our message"


def test_a_gpu_that_fails_to_start_is_an_error(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = ort.InferenceSession

    def start(*args: object, providers: list[object], **more: object) -> ort.InferenceSession:
        if providers != ["CPUExecutionProvider"]:
            raise RuntimeError("CUDA failure 101:\n invalid device ordinal")
        return session(*args, providers=providers, **more)

    monkeypatch.setattr(ort, "InferenceSession", start)
    with pytest.raises(DeviceError, match="CUDA failure 101: invalid device ordinal"):
        OnnxEngine(path, device="cuda:9")


def test_a_broken_file_is_not_blamed_on_the_gpu(tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"no model")
    with pytest.raises(ModelFileError, match=r"broken\.onnx cannot be read as an ONNX file"):
        OnnxEngine(broken, device="cuda")


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:x", "cpu:0", ""])
def test_an_unknown_device(path: Path, device: str) -> None:
    with pytest.raises(ConfigError, match=rf"device '{device}' is not known; expected auto, cpu, cuda or cuda:N"):
        OnnxEngine(path, device=device)


def test_needs_neither_torch_nor_onnx(path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from geseg.inference.onnx_engine import OnnxEngine\n"
        "OnnxEngine(Path(sys.argv[1]))\n"
        "assert not {'torch', 'onnx'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=True)
