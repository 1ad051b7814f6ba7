"""Tiny data sets, drawn with numpy alone so that they stay independent of what they test."""

import functools
import gzip
import io
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import settings
from PIL import Image
from torch import nn

from geseg.inference.driver import has_cuda_driver
from geseg.model.group import Group
from geseg.model.unet import UNet, build
from geseg.native import library
from geseg.steps import prepare
from geseg.steps.prepare import PrepareConfig

settings.register_profile("geseg", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("geseg")

REAL_DATA = Path(os.environ.get("GESEG_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))


Eye = tuple[np.ndarray, np.ndarray, np.ndarray]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="run the tests that take minutes, too")
    parser.addoption("--bench-json", type=Path, help="file for what pytest -m bench has measured")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--slow"):
        for item in items:
            if item.get_closest_marker("slow"):
                item.add_marker(pytest.mark.skip(reason="takes minutes: sh tests/run.sh --slow"))


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
def auto_engine() -> Callable[[str], str]:
    """Tells what `--engine auto` takes here on a device, "cpu" or "auto", for a run folder that is exported."""

    def tell(device: str) -> str:
        gpu = device == "auto" and has_cuda_driver()
        return "native" if library.best_set() >= library.AVX2 and not gpu else "onnx"

    return tell


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
    from geseg.steps.trainconfig import TrainConfig

    config = TrainConfig(
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


@pytest.fixture(scope="session")
def needs_kernel() -> None:
    """Skips tests of the compiled kernel where there is none; tests/native/test_packaging.py fails if one could be."""
    if library.load() is None:
        pytest.skip("no compiled kernel: geseg was installed without a C compiler")


def save_gz(path: Path, pixels: np.ndarray) -> None:
    """Write a gzipped netpbm file; grey pixels make a PGM, whatever its name says, as in STARE."""
    path.parent.mkdir(parents=True, exist_ok=True)
    plain = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8) * np.uint8(255) if pixels.dtype == bool else pixels).save(plain, "PPM")
    path.write_bytes(gzip.compress(plain.getvalue()))


def save_palette_gif(path: Path, mask: np.ndarray) -> None:
    """Write a GIF with the indices 0 and 1 into a palette of black and white."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(mask.astype(np.uint8))
    image.putpalette([0, 0, 0, 255, 255, 255])
    image.save(path, optimize=False)


def other_observer(label: np.ndarray) -> np.ndarray:
    """What somebody draws who misses the upper half."""
    return np.where(np.arange(len(label))[:, None] < len(label) // 2, False, label)


def write_chasedb1(root: Path) -> None:
    """28 photographs of 14 children, two observers as 1-bit PNG, no fields of view."""
    for number in range(28):
        name = f"Image_{number // 2 + 1:02}{'LR'[number % 2]}"
        image, label, _ = an_eye(number)
        save(root / f"{name}.jpg", image)
        for observer, drawn in (("1stHO", label), ("2ndHO", other_observer(label))):
            Image.fromarray(drawn).save(root / f"{name}_{observer}.png")


STARE_NUMBERS = (1, 2, 3, 4, 5, 44, 77, 81, 82, 139, 162, 163, 235, 236, 239, 240, 255, 291, 319, 324)


def write_stare(root: Path) -> None:
    """20 photographs, some files unpacked; no fields of view."""
    for number in STARE_NUMBERS:
        name = f"im{number:04}"
        image, label, _ = an_eye(number)
        files = {
            "stare-images/{}.ppm": image,
            "labels-ah/{}.ah.ppm": label,
            "labels-vk/{}.vk.ppm": other_observer(label),
        }
        for place, (path, pixels) in enumerate(files.items()):
            if number % 3 == place:
                save(root / path.format(name), pixels)
            else:
                save_gz(root / f"{path.format(name)}.gz", pixels)


def write_hrf(root: Path) -> None:
    """45 photographs, suffixes in upper and lower case, fields of view in colour."""
    for number in range(45):
        kind = ("dr", "g", "h")[number % 3]
        name = f"{number // 3 + 1:02}_{kind}"
        image, label, fov = an_eye(number)
        save(root / "images" / f"{name}.{'JPG' if kind == 'dr' else 'jpg'}", image)
        save(root / "manual1" / f"{name}.tif", label)
        save(root / "mask" / f"{name}_mask.tif", np.dstack([fov * np.uint8(255)] * 3))


def write_primefp20(root: Path, published: bool = True) -> None:
    """15 photographs with their angiograms, labels of 1 bit; in the folders of the publisher or flat."""
    for number in range(1, 16):
        image, label, fov = an_eye(number)
        for what, pixels in (("ImgFP", image), ("ImgFA", image[:, :, 1]), ("LabelFP", label), ("MaskFP", fov)):
            folder = {"Img": "Images", "Lab": "Labels", "Mas": "Masks"}[what[:3]] + f"_{what[-2:]}_PRIME-FP20"
            name = f"{folder}/{what}{number:02}_PRIME-FP20" if published else f"{what}{number}"
            path = root / f"{name}.{'tif' if what.startswith('Img') else 'png'}"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)


def write_fives(root: Path) -> None:
    """Names that restart in each split, some labels with an opaque fourth channel."""
    for seed, split in enumerate(("train", "test")):
        for number, kind in enumerate("ADGN", 1):
            image, label, _ = an_eye(10 * seed + number)
            save(root / split / "Original" / f"{number}_{kind}.png", image)
            opaque = np.dstack([label * np.uint8(255)] * 3 + [np.full(label.shape, 255, np.uint8)])
            save(root / split / "Ground truth" / f"{number}_{kind}.png", opaque if number % 2 else label)


def write_lesav(root: Path) -> None:
    """Fields of view in masks/, where other data sets have labels; arteries and veins beside."""
    for number in range(1, 7):
        image, label, fov = an_eye(number)
        save(root / "images" / f"{number}.png", image)
        save(root / "vessel-segmentations" / f"{number}.png", label)
        save(root / "arteries-and-veins" / f"{number}.png", np.dstack([label * np.uint8(255)] * 3))
        save(root / "masks" / f"{number}_mask.gif", fov)


def write_drive_with_second(root: Path) -> None:
    """Two training and two test images, the latter with a second observer as palette GIF."""
    for number, split in ((1, "test"), (2, "test"), (21, "training"), (22, "training")):
        image, label, fov = an_eye(number)
        save(root / split / "images" / f"{number:02}_{split}.tif", image)
        save(root / split / "mask" / f"{number:02}_{split}_mask.gif", fov)
        save(root / split / "1st_manual" / f"{number:02}_manual1.gif", label)
        if split == "test":
            save_palette_gif(root / split / "2nd_manual" / f"{number:02}_manual2.gif", other_observer(label))


DATASETS: dict[str, Callable[[Path], None]] = {
    "drive": write_drive_with_second,
    "chasedb1": write_chasedb1,
    "stare": write_stare,
    "hrf": write_hrf,
    "primefp20": write_primefp20,
    "primefp20 flat": functools.partial(write_primefp20, published=False),
    "fives": write_fives,
    "les-av": write_lesav,
}


@pytest.fixture(scope="session")
def known_dataset(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Gives a tiny drawn copy of a data set of the field, with its official names and quirks; not to be changed."""
    folder = tmp_path_factory.mktemp("known")

    @functools.cache
    def make(name: str) -> Path:
        root = folder / name / "a folder of any name"
        root.mkdir(parents=True)
        DATASETS[name](root)
        return root

    return make
