import gzip
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from geseg.data import images
from geseg.data.decode import Pixels
from geseg.data.fov import find_fov
from geseg.data.images import read_image
from geseg.errors import ConfigError, DataError, DeviceError, GesegError, ModelFileError, OutputError
from geseg.metrics import morphometry
from geseg.steps import models
from geseg.steps.predict import PredictConfig, run

Eye = tuple[np.ndarray, np.ndarray, np.ndarray]
Draw = Callable[..., Eye]


def save(path: Path, pixels: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def mask(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        assert image.mode == "L"
        return np.asarray(image)


@pytest.fixture
def photos(draw_eye: Draw, tmp_path: Path) -> Path:
    for seed, name in enumerate(("a.png", "b.tif", "deep/er/c.jpg", "deep/a.png")):
        save(tmp_path / "photos" / name, draw_eye(seed, 40 + seed, 51)[0])
    (tmp_path / "photos" / "notes.txt").write_text("not an image")
    return tmp_path / "photos"


def test_masks_have_the_names_and_sizes_of_the_photographs(photos: Path, tmp_path: Path, run_folder: Path) -> None:
    out, p, overlay = tmp_path / "masks", tmp_path / "p", tmp_path / "overlay"
    config = PredictConfig(
        images=photos, out=out, model=run_folder, recursive=True, probabilities=p, overlay=overlay, device="cpu"
    )
    result = run(config)
    names = ["a.png", "b.png", "deep/a.png", "deep/er/c.png"]
    assert result.written == 4
    for folder in (out, p, overlay):
        assert sorted(f.relative_to(folder).as_posix() for f in folder.rglob("*.png")) == names
    model = models.load(run_folder)
    image = read_image(photos / "b.tif")
    probability = model.segment(image) * find_fov(image)
    np.testing.assert_array_equal(mask(out / "b.png"), 255 * (probability >= model.threshold))
    with Image.open(p / "b.png") as written:
        assert written.mode == "I;16"
        np.testing.assert_allclose(np.asarray(written) / 65535, probability, atol=1e-5, rtol=0)
    with Image.open(overlay / "b.png") as written:
        assert written.size == (51, 41)
        assert written.mode == "RGB"


def test_without_recursive_sub_folders_are_left_alone(photos: Path, tmp_path: Path, run_folder: Path) -> None:
    assert run(PredictConfig(images=photos, out=tmp_path / "masks", model=run_folder)).written == 2
    assert sorted(path.name for path in (tmp_path / "masks").glob("*.png")) == ["a.png", "b.png"]


def test_a_file_is_no_folder_to_write_to(photos: Path, tmp_path: Path, run_folder: Path) -> None:
    (taken := tmp_path / "eye.png").write_bytes(b"a photograph")
    for folders in ({"out": taken}, {"out": tmp_path / "masks", "overlay": taken}):
        with pytest.raises(OutputError, match=r"eye\.png is a file, expected the name of a folder to write to"):
            run(PredictConfig(images=photos, model=run_folder, **folders))
    assert taken.read_bytes() == b"a photograph"


def test_one_file(photos: Path, tmp_path: Path, run_folder: Path) -> None:
    run(PredictConfig(images=photos / "deep" / "a.png", out=tmp_path / "masks", model=run_folder))
    assert [path.name for path in (tmp_path / "masks").rglob("*.png")] == ["a.png"]


def test_both_engines_draw_the_same_masks(photos: Path, tmp_path: Path, run_folder: Path) -> None:
    by_onnx = run(PredictConfig(images=photos, out=tmp_path / "onnx", model=run_folder, engine="onnx"))
    by_torch = run(PredictConfig(images=photos, out=tmp_path / "torch", model=run_folder, engine="torch"))
    assert "onnxruntime CPUExecutionProvider" in by_onnx.device
    assert "torch" in by_torch.device
    for name in ("a.png", "b.png"):
        assert (mask(tmp_path / "onnx" / name) != mask(tmp_path / "torch" / name)).mean() < 1e-3


def test_a_threshold_of_ones_own(photos: Path, tmp_path: Path, run_folder: Path) -> None:
    shares = []
    for threshold in (0.05, 0.5, 0.999):
        out = tmp_path / str(threshold)
        run(PredictConfig(images=photos / "a.png", out=out, model=run_folder, threshold=threshold))
        shares.append((mask(out / "a.png") > 0).mean())
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > shares[-1]


def test_one_bad_image_does_not_stop_the_others(photos: Path, tmp_path: Path, run_folder: Path) -> None:
    (photos / "aa.png").write_bytes((photos / "a.png").read_bytes()[:100])
    result = run(PredictConfig(images=photos, out=tmp_path / "masks", model=run_folder))
    assert result.written == 2
    (failure,) = result.failures
    assert f"{photos / 'aa.png'} cannot be read as an image" in failure
    assert sorted(path.name for path in (tmp_path / "masks").glob("*.png")) == ["a.png", "b.png"]


def test_nothing_is_overwritten_unless_asked(photos: Path, tmp_path: Path, run_folder: Path) -> None:
    taken = save(tmp_path / "masks" / "b.png", np.zeros((2, 2), np.uint8))
    config = {"images": photos, "out": tmp_path / "masks", "model": run_folder}
    with pytest.raises(OutputError, match=r"b\.png exists already"):
        run(PredictConfig(**config))  # type: ignore[arg-type]
    assert [path.name for path in (tmp_path / "masks").glob("*.png")] == ["b.png"], "told before any work started"
    run(PredictConfig(**config, overwrite=True))  # type: ignore[arg-type]
    assert mask(taken).shape == (41, 51)


def test_photographs_are_never_replaced(photos: Path, run_folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"a\.png is one of the photographs"):
        run(PredictConfig(images=photos, out=photos, model=run_folder, overwrite=True))


def test_two_photographs_for_one_mask(photos: Path, tmp_path: Path, run_folder: Path, draw_eye: Draw) -> None:
    save(photos / "a.jpg", draw_eye(5)[0])
    with pytest.raises(ConfigError, match=r"a\.jpg and .*a\.png would both write .*a\.png; rename one"):
        run(PredictConfig(images=photos, out=tmp_path / "masks", model=run_folder))
    assert not (tmp_path / "masks").exists()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"model": Path("nowhere")}, ModelFileError, "nowhere does not exist; expected a run folder"),
        ({"images": Path("nowhere")}, DataError, "nowhere does not exist; expected an image or a folder"),
        ({"threshold": 50.0}, ConfigError, "threshold is 50.0; expected a probability"),
        ({"device": "cuda:7"}, DeviceError, "device cuda:7 was asked for"),
        ({"device": "cuda", "engine": "torch"}, DeviceError, "device cuda was asked for"),
    ],
)
def test_mistakes(
    photos: Path, tmp_path: Path, run_folder: Path, change: dict[str, object], error: type[GesegError], message: str
) -> None:
    config: dict[str, object] = {"images": photos, "out": tmp_path / "masks", "model": run_folder} | change
    with pytest.raises(error, match=message):
        run(PredictConfig(**config))  # type: ignore[arg-type]
    assert not (tmp_path / "masks").exists()


def test_an_empty_folder_and_one_with_images_further_down(photos: Path, tmp_path: Path, run_folder: Path) -> None:
    for name in ("a.png", "b.tif"):
        (photos / name).unlink()
    with pytest.raises(DataError, match=r"holds 2 entries, but no image \(\.png, .*sub-folders too with --recursive"):
        run(PredictConfig(images=photos, out=tmp_path / "masks", model=run_folder))


def test_an_onnx_file_of_other_weights_is_refused(photos: Path, tmp_path: Path, run_folder: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "model.onnx").write_bytes((run_folder / "model.onnx").read_bytes())
    (folder / "model.safetensors").write_bytes(b"other")
    with pytest.raises(ModelFileError, match=r"was exported from other weights than model\.safetensors beside it"):
        run(PredictConfig(images=photos, out=tmp_path / "masks", model=folder, engine="onnx"))


def test_with_onnx_neither_torch_nor_e2cnn_is_needed(photos: Path, tmp_path: Path, run_folder: Path) -> None:
    code = (
        "import sys; sys.modules['torch'] = sys.modules['e2cnn'] = sys.modules['onnx'] = None\n"
        "from geseg.cli.app import main; main()"
    )
    arguments = ["predict", str(photos), "-o", str(tmp_path / "masks"), "--model", str(run_folder / "model.onnx"), "-q"]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, env=os.environ)
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "masks").glob("*.png"))) == 2


def test_gzipped_photographs_give_masks_of_their_stem(tmp_path: Path, run_folder: Path, draw_eye: Draw) -> None:
    """As STARE has them; the mask is that of the same photograph in another format."""
    pixels = draw_eye(3, 41, 52)[0]
    save(tmp_path / "plain" / "im0001.png", pixels)
    (tmp_path / "photos").mkdir()
    data = b"P6\n52 41\n255\n" + pixels.tobytes()
    (tmp_path / "photos" / "im0001.ppm.gz").write_bytes(gzip.compress(data))
    (tmp_path / "photos" / "IM0002.v1.PPM.GZ").write_bytes(gzip.compress(data))
    for name in ("photos", "plain"):
        run(PredictConfig(images=tmp_path / name, out=tmp_path / f"{name}-masks", model=run_folder))
    masks = sorted((tmp_path / "photos-masks").glob("*.png"))
    assert [path.name for path in masks] == ["IM0002.v1.png", "im0001.png"]
    expected = mask(tmp_path / "plain-masks" / "im0001.png")
    assert (expected > 0).any()
    for path in masks:
        np.testing.assert_array_equal(mask(path), expected)


def test_a_gzipped_and_a_plain_photograph_for_one_mask(photos: Path, tmp_path: Path, run_folder: Path) -> None:
    (photos / "a.ppm.gz").write_bytes(gzip.compress(b"P6 1 1 255 abc"))
    with pytest.raises(ConfigError, match=r"a\.png and .*a\.ppm\.gz would both write .*a\.png; rename one"):
        run(PredictConfig(images=photos, out=tmp_path / "masks", model=run_folder))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_masks_are_oriented_as_the_photograph_is_displayed(
    tmp_path: Path, run_folder: Path, draw_eye: Draw, orientation: int
) -> None:
    stored, exif = draw_eye(2, 40, 61)[0], Image.Exif()
    exif[0x0112] = orientation
    (tmp_path / "photos").mkdir()
    path = tmp_path / "photos" / "a.jpg"
    Image.fromarray(stored).save(path, exif=exif, quality=95)
    with Image.open(path) as image:
        save(tmp_path / "shown" / "a.png", np.asarray(ImageOps.exif_transpose(image)))
    for name in ("photos", "shown"):
        out, overlay = tmp_path / f"{name}-masks", tmp_path / f"{name}-overlays"
        run(PredictConfig(images=tmp_path / name, out=out, overlay=overlay, model=run_folder))
    found = mask(tmp_path / "photos-masks" / "a.png")
    assert found.shape == ((61, 40) if orientation > 4 else (40, 61))
    assert (found > 0).any()
    np.testing.assert_array_equal(found, mask(tmp_path / "shown-masks" / "a.png"))
    overlays = [read_image(tmp_path / f"{name}-overlays" / "a.png") for name in ("photos", "shown")]
    np.testing.assert_array_equal(*overlays)
    with Image.open(tmp_path / "photos-masks" / "a.png") as image:
        assert not image.getexif(), "a viewer must not turn it again"


def test_hidden_files_are_left_alone(photos: Path, tmp_path: Path, run_folder: Path) -> None:
    """macOS puts a file ._a.png beside a.png on foreign disks."""
    (photos / "._a.png").write_bytes(b"no image")
    save(photos / ".thumbnails" / "b.png", np.zeros((9, 9), np.uint8))
    result = run(PredictConfig(images=photos, out=tmp_path / "masks", model=run_folder, recursive=True))
    assert (result.written, result.failures) == (4, ())


def test_a_hidden_folder_may_be_asked_for(photos: Path, tmp_path: Path, run_folder: Path) -> None:
    photos.rename(tmp_path / ".photos")
    assert run(PredictConfig(images=tmp_path / ".photos", out=tmp_path / "masks", model=run_folder)).written == 2


def test_several_pages_are_reported(photos: Path, tmp_path: Path, run_folder: Path) -> None:
    Image.new("L", (9, 9)).save(photos / "c.tif", save_all=True, append_images=[Image.new("L", (9, 9))])
    result = run(PredictConfig(images=photos, out=tmp_path / "masks", model=run_folder))
    assert result.written == 2
    (failure,) = result.failures
    assert f"{photos / 'c.tif'} cannot be read as an image: it holds 2 pages, expected one" in failure


def test_one_file_of_a_suffix_that_is_not_looked_for(tmp_path: Path, run_folder: Path, draw_eye: Draw) -> None:
    Image.fromarray(draw_eye(0)[0]).save(tmp_path / "eye.jpe", format="JPEG")
    run(PredictConfig(images=tmp_path / "eye.jpe", out=tmp_path / "masks", model=run_folder))
    assert [path.name for path in (tmp_path / "masks").glob("*.png")] == ["eye.png"]


@pytest.mark.parametrize("fits", [True, False])
def test_photographs_that_lack_memory_beside_others_are_done_again_alone(
    photos: Path, tmp_path: Path, run_folder: Path, monkeypatch: pytest.MonkeyPatch, fits: bool
) -> None:
    """One lacks it where it is decoded, another where it is measured; in the end they are in the main thread, alone."""
    for number in range(5):
        save(photos / f"{number}.png", read_image(photos / "a.png"))

    def beside_others(function: Callable[..., object], height: int) -> Callable[..., object]:
        def work(*given: Any) -> object:  # noqa: ANN401
            result = function(*given)
            found = result.values if isinstance(result, Pixels) else given[0]
            if len(found) == height and not (fits and threading.current_thread() is threading.main_thread()):
                raise MemoryError
            return result

        return work

    monkeypatch.setattr(images, "decode", beside_others(images.decode, 40))
    monkeypatch.setattr(morphometry, "measure", beside_others(morphometry.measure, 41))
    seen = list[object]()

    def track(items: Iterable[Any], label: str, total: int | None = None) -> Iterator[Any]:
        seen.append(total)
        for item in items:
            seen.append(item)
            yield item

    table = tmp_path / "vessels.csv"
    result = run(PredictConfig(images=photos, out=tmp_path / "masks", model=run_folder, measure=table), track)
    assert seen == [7, *[None] * 7]
    note = "memory ran out with several photographs under way; those that lacked it were done again, each alone"
    assert result.notes == (*result.notes[:1], *[note] * fits), "the first is about a file that is no image"
    assert (result.written, len(result.failures)) == ((7, 0) if fits else (0, 7))
    assert len(table.read_text().splitlines()) == 1 + result.written
