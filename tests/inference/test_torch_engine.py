import numpy as np
import pytest
import torch
from torch import nn

from geseg.errors import ConfigError, DeviceError
from geseg.inference.tiling import segment
from geseg.inference.torch_engine import TorchEngine, choose_device

no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="about a machine without a GPU")


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 1, 1))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_gives_probabilities_in_the_precision_of_the_net(dtype: type) -> None:
    module = net().eval().to(torch.from_numpy(np.zeros(1, dtype)).dtype)
    tiles = np.random.default_rng(0).normal(size=(2, 3, 8, 12)).astype(dtype)
    expected = torch.sigmoid(module(torch.from_numpy(tiles)))[:, 0].detach().numpy()
    result = TorchEngine(module, "cpu")(tiles)
    assert result.dtype == dtype
    np.testing.assert_allclose(result, expected, atol=1e-6 if dtype is np.float32 else 1e-12)


def test_leaves_the_net_as_it_was() -> None:
    module = net().train()
    tiles = np.ones((2, 3, 8, 8), np.float32)
    engine = TorchEngine(module, "cpu")
    np.testing.assert_array_equal(engine(tiles), engine(tiles))
    assert all(part.training for part in module.modules())
    assert module[1].running_mean.abs().sum() == 0
    assert module[0].weight.is_contiguous()


def test_a_net_without_parameters_and_the_tiling() -> None:
    image = np.random.default_rng(0).normal(size=(3, 40, 131))
    engine = TorchEngine(nn.AvgPool3d((3, 1, 1)), "cpu")  # the mean of the three channels
    np.testing.assert_allclose(segment(image, engine, 4), 1 / (1 + np.exp(-image.mean(0))), atol=1e-12)


def test_says_what_runs() -> None:
    assert TorchEngine(net(), "cpu").device == f"cpu (torch {torch.__version__})"


@no_gpu
def test_devices_without_a_gpu() -> None:
    assert choose_device("auto") == choose_device("cpu") == torch.device("cpu")
    for name in ("cuda", "cuda:2"):
        with pytest.raises(
            DeviceError, match=rf"device {name} was asked for, but torch .* sees 0 GPUs; .* --device cpu"
        ):
            choose_device(name)


def test_devices_with_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert choose_device("auto") == choose_device("cuda") == torch.device("cuda", 0)
    assert choose_device("cuda:1") == torch.device("cuda", 1)
    assert choose_device("cpu") == torch.device("cpu")
    with pytest.raises(DeviceError, match="sees 2 GPUs"):
        choose_device("cuda:2")


@pytest.mark.parametrize("name", ["gpu", "cuda:", "mps"])
def test_an_unknown_device(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"device '{name}' is not known; expected auto, cpu, cuda or cuda:N"):
        choose_device(name)
