"""Tiny data sets, drawn with numpy alone so that they stay independent of what they test."""

import functools
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings
from PIL import Image
from torch import nn

from geseg.model.group import Group
from geseg.model.unet import UNet, build
from geseg.steps import prepare
from geseg.steps.prepare import PrepareConfig

settings.register_profile("geseg", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("geseg")

REAL_DATA = Path(os.environ.get("GESEG_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))


Eye = tuple[np.ndarray, np.ndarray, np.ndarray]


def an_eye(seed: int, height: int = 72, width: int = 68) -> Eye:
    """A bright disc with five dark lines: uint8[h, w, 3], and its label and field of view, bool[h, w]."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width] - np.array([height / 2, width / 2]).reshape(2, 1, 1)
    fov = np.hypot(y, x) < 0.47 * min(height, width)
    label = np.zeros_like(fov)
    for angle, offset in zip(rng.uniform(0, np.pi, 5), rng.uniform(-0.3, 0.3, 5), strict=True):
        label |= np.abs(np.cos(angle) * y + np.sin(angle) * x - offset * height) < 1.2
    label &= fov
    image = np.array([190, 95, 50]) * (1 - 0.45 * label[:, :, None]) + rng.normal(0, 4, (height, width, 3))
    return np.where(fov[:, :, None], image.clip(0, 255), 4).astype(np.uint8), label, fov


def save(path: Path, pixels: np.ndarray) -> None:
    """Write uint8 pixels, or booleans as 0 and 255, in the format of the suffix."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8) * np.uint8(255) if pixels.dtype == bool else pixels).save(path)


@pytest.fixture(scope="session")
def draw_eye() -> Callable[..., Eye]:
    """Draws a tiny photograph, its label and its field of view from (seed, height, width)."""
    return an_eye


@pytest.fixture
def make_drive(tmp_path: Path) -> Callable[..., Path]:
    """Writes a folder like DRIVE: two test images, and `train` training images from 21 on."""

    def make(name: str = "DRIVE", train: int = 5, test_labels: bool = False) -> Path:
        root = tmp_path / name
        for number in [1, 2, *range(21, 21 + train)]:
            split = "test" if number < 21 else "training"
            image, label, fov = an_eye(number)
            save(root / split / "images" / f"{number:02}_{split}.tif", image)
            save(root / split / "mask" / f"{number:02}_{split}_mask.gif", fov)
            if split == "training" or test_labels:
                save(root / split / "1st_manual" / f"{number:02}_manual1.gif", label)
        return root

    return make


@pytest.fixture
def make_generic(tmp_path: Path) -> Callable[..., Path]:
    """Writes a folder with images/ and masks/, and fov/ if asked; `inside` is a folder in between, such as `train`."""

    def make(name: str = "photos", stems: Sequence[str] = ("a", "b", "c"), fov: bool = False, inside: str = "") -> Path:
        for seed, stem in enumerate(stems):
            image, label, view = an_eye(seed)
            save(tmp_path / name / inside / "images" / f"{stem}.png", image)
            save(tmp_path / name / inside / "masks" / f"{stem}.png", label)
            if fov:
                save(tmp_path / name / inside / "fov" / f"{stem}.png", view)
        return tmp_path / name

    return make


@pytest.fixture(scope="session")
def patch_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A patch file of six tiny eyes laid out like DRIVE, five training people (one validates) and two test images."""
    root = tmp_path_factory.mktemp("data")
    for number in [1, 2, *range(21, 26)]:
        split = "test" if number < 21 else "training"
        image, label, fov = an_eye(number)
        save(root / "eyes" / split / "images" / f"{number:02}_{split}.tif", image)
        save(root / "eyes" / split / "mask" / f"{number:02}_{split}_mask.gif", fov)
        save(root / "eyes" / split / "1st_manual" / f"{number:02}_manual1.gif", label)
    config = PrepareConfig(sources=(root / "eyes",), out=root / "eyes.h5", patch_size=32, patches_per_image=8)
    return prepare.run(config).out


@pytest.fixture(scope="session")
def run_folder(patch_file: Path) -> Path:
    """A run folder with a small d4 model, trained for a moment on `patch_file`, and the same exported."""
    from geseg.steps import export, train

    config = train.TrainConfig(
        patches=patch_file, out=patch_file.parent / "run", widths=(1, 2, 2), epochs=6, batch_size=4, device="cpu"
    )
    train.run(config)
    export.run(export.ExportConfig(model=patch_file.parent / "run"))
    return patch_file.parent / "run"


@functools.cache
def an_untrained_net(name: str) -> UNet:
    """A net with random weights and norms, in float64; the norms' shifts keep its few fields alive."""
    torch.manual_seed(1)
    net = build(Group.parse(name), (2, 2, 3)).double()
    for _ in range(20):
        net(torch.randn(4, 3, 16, 16, dtype=torch.double))  # gives the norms statistics
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.uniform_(0.7, 1.3)
                module.bias.uniform_(0.5, 1.0)
    return net.eval()


@pytest.fixture(scope="session")
def untrained() -> Callable[[str], UNet]:
    """Gives a small net of a group with random weights, in float64 and evaluation mode."""
    return an_untrained_net


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of the real data sets; tests that need it are skipped where it is absent."""
    if not (REAL_DATA / "DRIVE").is_dir():
        pytest.skip(f"no real photographs at {REAL_DATA}: set GESEG_TEST_DATA to the folder that holds DRIVE/")
    return REAL_DATA
