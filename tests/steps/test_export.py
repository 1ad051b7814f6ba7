import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image

from geseg.data.images import read_image
from geseg.errors import ConfigError, ExportError, ModelFileError, OutputError
from geseg.files import sha256
from geseg.inference.onnxfile import read_header
from geseg.model import modelfile
from geseg.steps import export, models
from geseg.steps.export import ExportConfig, run

ROOT = Path(__file__).parents[2]


def test_one_file_of_plain_convolutions(run_folder: Path, tmp_path: Path) -> None:
    result = run(ExportConfig(model=run_folder, out=tmp_path / "m.onnx"))
    assert [path.name for path in tmp_path.iterdir()] == ["m.onnx"]
    assert b"unet.py" not in result.out.read_bytes(), "where it was made does not decide what it is"
    model = onnx.load(result.out)
    onnx.checker.check_model(model, full_check=True)
    assert {node.op_type for node in model.graph.node} <= {"Conv", "Relu", "MaxPool", "Resize", "Add", "Sigmoid"}
    assert all(initializer.data_location == onnx.TensorProto.DEFAULT for initializer in model.graph.initializer)
    header = read_header(result.out)
    assert header.model_sha256 == sha256(run_folder / "model.safetensors")
    assert (header.group, header.widths, header.divisor) == ("d4", (1, 2, 2), 4)
    learned = modelfile.load(run_folder / "model.safetensors")[1]
    assert (header.diameters, header.calibre) == (learned.diameters, learned.calibre)


@pytest.mark.parametrize("shape", [(1, 4, 4), (3, 64, 20), (2, 12, 128)])
def test_any_batch_height_and_width(run_folder: Path, shape: tuple[int, int, int]) -> None:
    net, _ = modelfile.load(run_folder / "model.safetensors")
    b, h, w = shape
    image = torch.randn(b, 3, h, w)
    session = onnxruntime.InferenceSession(run_folder / "model.onnx", providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"image": image.numpy()})
    with torch.inference_mode():
        np.testing.assert_allclose(found, torch.sigmoid(net(image)).numpy(), atol=1e-4, rtol=0)


def test_a_file_that_differs_is_not_kept(run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "TOLERANCE", -1.0)
    with pytest.raises(ExportError, match="onnxruntime differs from torch by"):
        run(ExportConfig(model=run_folder, out=tmp_path / "m.onnx"))
    assert not list(tmp_path.iterdir())


def test_a_model_that_computes_nan_is_not_exported(run_folder: Path, tmp_path: Path) -> None:
    net, header = modelfile.load(run_folder / "model.safetensors")
    torch.nn.init.constant_(net.get_parameter("head.bias"), float("nan"))
    modelfile.save(net, header, tmp_path / "model.safetensors")
    with pytest.raises(ExportError, match="onnxruntime differs from torch by nan"):
        run(ExportConfig(model=tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]


def test_mistakes(run_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"model\.onnx exists already"):
        run(ExportConfig(model=run_folder))
    with pytest.raises(ConfigError, match="is an ONNX file already"):
        run(ExportConfig(model=run_folder / "model.onnx", out=tmp_path / "m.onnx"))
    with pytest.raises(ConfigError, match=r"net is not the name of an ONNX file; expected one such as net\.onnx"):
        run(ExportConfig(model=run_folder, out=tmp_path / "net"))
    with pytest.raises(ModelFileError, match=r"model\.safetensors is no file; expected a model"):
        run(ExportConfig(model=tmp_path))


def test_the_example_needs_no_geseg(run_folder: Path, patch_file: Path, tmp_path: Path) -> None:
    """onnxruntime, numpy and Pillow alone give geseg's probabilities, for sides divisible by the stated number.

    Others are made so in another way than geseg does it, but a turned photograph has the turned map then, too.
    """
    script = ROOT / "examples" / "onnx_alone.py"
    code = f"import sys; sys.modules['geseg'] = sys.modules['torch'] = None; exec(open({str(script)!r}).read())"
    model = models.load(run_folder / "model.onnx")
    with Image.open(next(patch_file.parent.glob("eyes/test/images/*.tif"))) as image:
        assert image.size == (68, 72)
        image.save(tmp_path / "even.png")
        odd = image.crop((0, 0, 67, 71))
    odd.save(tmp_path / "odd.png")
    odd.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png")
    for name in ("even", "odd", "turned"):
        arguments = [str(run_folder / "model.onnx"), str(tmp_path / f"{name}.png"), str(tmp_path / f"{name}.npy")]
        subprocess.run([sys.executable, "-c", code, *arguments], check=True)
    expected = model.segment(read_image(tmp_path / "even.png"))
    np.testing.assert_allclose(np.load(tmp_path / "even.npy"), expected, atol=1e-4, rtol=0)
    found = np.load(tmp_path / "odd.npy")
    assert found.shape == (71, 67)
    assert 0 <= found.min() < found.max() <= 1
    np.testing.assert_allclose(np.load(tmp_path / "turned.npy"), np.rot90(found), atol=1e-4, rtol=0)
    wrong = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert (wrong.returncode, "python onnx_alone.py MODEL.onnx PHOTO OUT.npy" in wrong.stderr) == (1, True)
