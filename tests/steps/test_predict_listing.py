"""Folders as they are: links, pipes, what may not be read, what vanishes, names of any bytes."""

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from geseg.data.images import read_mask
from geseg.errors import ConfigError, DataError, OutputError
from geseg.steps import jobs
from geseg.steps.jobs import list_images, plan
from geseg.steps.predict import PredictConfig, PredictResult, run
from geseg.steps.predictreport import NAME


@pytest.fixture
def photos(draw_eye: Callable, tmp_path: Path) -> Path:  # type: ignore[type-arg]
    (tmp_path / "photos").mkdir()
    Image.fromarray(draw_eye(0)[0]).save(tmp_path / "photos" / "m.png")
    return tmp_path / "photos"


@pytest.fixture
def predict(photos: Path, tmp_path: Path, run_folder: Path) -> Callable[..., PredictResult]:
    def start(**changes: object) -> PredictResult:
        config = {"images": photos, "out": tmp_path / "masks", "model": run_folder, "recursive": True} | changes
        return run(PredictConfig(**config))  # type: ignore[arg-type]

    return start


Predict = Callable[..., PredictResult]


def names(folder: Path, recursive: bool = True) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in list_images(folder, recursive).images]


def test_links_are_followed_but_not_in_circles(photos: Path, tmp_path: Path) -> None:
    (photos / "deep").mkdir()
    (photos / "deep" / "up").symlink_to(photos)
    (photos / "self").symlink_to(photos)
    (tmp_path / "far").mkdir()
    shutil.copy(photos / "m.png", tmp_path / "far" / "x.png")
    (tmp_path / "far" / "back").symlink_to(photos / "deep")
    (photos / "deep" / "far").symlink_to(tmp_path / "far")
    assert names(photos) == ["deep/far/x.png", "m.png"]
    (photos / "link.png").symlink_to(photos / "m.png")
    assert names(photos, recursive=False) == ["link.png", "m.png"]


def test_what_has_the_name_of_a_photograph_and_is_none(predict: Predict, photos: Path, tmp_path: Path) -> None:
    """Each is a line at the end; the others are done."""
    (photos / "folder.png").mkdir()
    (photos / "circle.png").symlink_to(photos / "circle.png")
    (photos / "dangling.png").symlink_to(photos / "nowhere")
    os.mkfifo(photos / "pipe.png")
    (photos / "empty.png").touch()
    result = predict()
    assert result.written == 1
    assert [line.removeprefix(str(photos)) for line in result.failures] == [
        "/circle.png cannot be read as an image: Too many levels of symbolic links; make it readable or remove it",
        "/dangling.png does not exist; expected an image",
        "/empty.png cannot be read as an image: it has no known format; replace or remove it",
        "/pipe.png cannot be read as an image: it is a pipe or a device, expected a file",
    ]
    rows = json.loads((tmp_path / "masks" / NAME).read_text())["images"]
    assert [(row["image"], row["status"]) for row in rows] == [
        *((f"{name}.png", "failed") for name in ("circle", "dangling", "empty")),
        ("m.png", "done"),
        ("pipe.png", "failed"),
    ]
    assert [row["reason"] for row in rows if row["reason"]] == list(result.failures)
    assert rows[0]["review"] is rows[0]["vessel_share"] is rows[0]["seconds"] is None


def test_photographs_that_vanish_or_change_after_they_were_listed(
    photos: Path, tmp_path: Path, run_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from geseg.data import images

    for name in ("a.png", "z.png"):
        shutil.copy(photos / "m.png", photos / name)

    def track(items: Iterable[object], label: str, total: int | None = None) -> Iterator[object]:
        (photos / "a.png").unlink()
        yield from items

    def read_while_somebody_writes(path: Path) -> object:
        pixels = read(path)
        if path.name == "z.png":
            path.write_bytes(path.read_bytes() + b"more")
        return pixels

    read = images.read_image
    monkeypatch.setattr(images, "read_image", read_while_somebody_writes)
    result = run(PredictConfig(images=photos, out=tmp_path / "masks", model=run_folder), track)  # type: ignore[arg-type]
    assert result.written == 1
    assert [line.removeprefix(str(photos)) for line in result.failures] == [
        "/a.png does not exist; expected an image",
        "/z.png changed while it was read; start again when it is complete",
    ]


def test_what_may_not_be_read_is_told(predict: Predict, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Permissions do not bind root, as whom tests may run."""
    shutil.copy(photos / "m.png", photos / "a.png")
    (photos / "locked").mkdir()
    iterdir, opening = Path.iterdir, Path.open

    def refuse(path: Path, *arguments: object, **more: object) -> object:
        if path.name in ("locked", "a.png") and path.parent == photos:
            raise PermissionError(13, "Permission denied", str(path))
        return (opening if arguments or more else iterdir)(path, *arguments, **more)  # type: ignore[arg-type,operator]

    monkeypatch.setattr(Path, "iterdir", refuse)
    monkeypatch.setattr(Path, "open", refuse)
    result = predict()
    assert result.written == 1
    assert [line.removeprefix(str(photos)) for line in result.failures] == [
        "/locked cannot be listed: Permission denied; make it readable",
        "/a.png cannot be read as an image: Permission denied; make it readable or remove it",
    ]


def test_a_mask_of_a_photograph_that_is_gone_does_not_stop_the_others(predict: Predict, photos: Path) -> None:
    shutil.copy(photos / "m.png", photos / "a.png")
    predict()
    (photos / "a.png").unlink()
    (photos / "a.png").symlink_to(photos / "nowhere")
    result = predict()
    assert (result.written, result.done_before, len(result.failures)) == (0, 1, 1)


def test_names_of_any_bytes(predict: Predict, photos: Path, tmp_path: Path) -> None:
    name = os.fsdecode(b"\xff\x1b[2J\n.png")
    shutil.copy(photos / "m.png", photos / name)
    assert predict().written == 2
    assert (tmp_path / "masks" / name).is_file()
    rows = json.loads((tmp_path / "masks" / NAME).read_text())["images"]
    assert [row["image"] for row in rows] == ["m.png", name]
    assert predict().done_before == 2


def test_the_longest_name(predict: Predict, photos: Path, tmp_path: Path) -> None:
    shutil.move(photos / "m.png", photos / ("x" * 251 + ".png"))
    assert predict().written == 1
    assert predict().done_before == 1


def test_one_name_in_two_folders_makes_two_masks(predict: Predict, photos: Path, tmp_path: Path) -> None:
    for folder in "xy":
        (photos / folder).mkdir()
        shutil.copy(photos / "m.png", photos / folder / "a.png")
    assert predict().written == 3
    masks = tmp_path / "masks"
    assert sorted(path.relative_to(masks).as_posix() for path in masks.rglob("*.png")) == [
        "m.png",
        "x/a.png",
        "y/a.png",
    ]


def test_an_overlay_in_the_place_of_a_mask(photos: Path, tmp_path: Path) -> None:
    (photos / "overlays").mkdir()
    shutil.copy(photos / "m.png", photos / "overlays" / "m.png")
    masks = tmp_path / "masks"
    with pytest.raises(ConfigError, match=r"m\.png and .*overlays/m\.png would both write .*masks/overlays/m\.png"):
        plan(photos, True, {"mask": masks, "overlay": masks / "overlays"})


@pytest.mark.parametrize("link", ["symlink_to", "hardlink_to"])
def test_a_photograph_is_not_replaced_through_a_link(photos: Path, tmp_path: Path, link: str) -> None:
    (tmp_path / "masks").mkdir()
    shutil.copy(photos / "m.png", photos / "other.png")
    getattr(tmp_path / "masks" / "m.png", link)(photos / "other.png")
    with pytest.raises(ConfigError, match=r"masks/m\.png is one of the photographs"):
        plan(photos, False, {"mask": tmp_path / "masks"})


def test_masks_are_not_written_where_photographs_are_looked_for(photos: Path, tmp_path: Path) -> None:
    (photos / "m.png").rename(photos / "m.bmp")
    below, hidden = photos / "masks", photos / ".masks"
    for folder, recursive in ((photos, False), (below, True), (photos / ".." / "photos", False)):
        with pytest.raises(ConfigError, match=r"would be searched for photographs when this is repeated; choose"):
            plan(photos, recursive, {"mask": folder})
    for folder, recursive in ((below, False), (hidden, True), (tmp_path, True)):
        plan(photos, recursive, {"mask": folder})
    plan(photos / "m.bmp", False, {"mask": photos})


def test_a_folder_in_the_place_of_a_mask(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "masks" / "m.png").mkdir(parents=True)
    with pytest.raises(OutputError, match=r"masks/m\.png is a folder, expected the name of a file"):
        plan(photos, False, {"mask": tmp_path / "masks"})


def test_a_folder_that_cannot_be_listed(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(DataError, match=r"photos cannot be listed: Permission denied; make it readable"):
        list_images(photos, True)


def test_many_photographs_are_planned_in_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The work must not grow with the square of their number: 100,000 take 15 s on a slow core."""
    import time

    from geseg.steps import jobs

    folder = tmp_path / "photos"
    folder.mkdir()
    listing = jobs.Listing(tuple(folder / f"{number:06}.jpg" for number in range(20_000)))
    monkeypatch.setattr(jobs, "list_images", lambda *_: listing)
    start = time.monotonic()
    planned, _ = plan(folder, False, {"mask": tmp_path / "masks", "overlay": tmp_path / "overlay"})
    assert len(planned) == 20_000
    assert time.monotonic() - start < 30


def test_what_is_left_out_is_told(predict: Predict, photos: Path, tmp_path: Path) -> None:
    """Nobody should believe that a whole folder was segmented when a part of it has other names."""
    for name in ("a.dcm", "b.DCM", "Thumbs.db", "notes", ".hidden.dcm"):
        (photos / name).touch()
    (photos / "deep").mkdir()
    (photos / "deep" / "c.dcm").touch()
    words = f"{photos}: files that were left out, as they do not have the names of images: 1 without a suffix, 1 .db, "
    assert predict(recursive=False).notes == (words + "2 .dcm",)
    assert predict().notes == (words + "3 .dcm",)
    assert json.loads((tmp_path / "masks" / NAME).read_text())["notes"] == [words + "3 .dcm"]


@pytest.mark.parametrize("suffix", [".webp", ".jp2"])
def test_newer_formats_are_found_too(predict: Predict, photos: Path, tmp_path: Path, suffix: str) -> None:
    with Image.open(photos / "m.png") as image:
        image.save(photos / f"n{suffix}", lossless=True)
    result = predict()
    assert (result.written, result.notes) == (2, ())
    mask, other = (read_mask(tmp_path / "masks" / name) for name in ("m.png", "n.png"))
    assert mask.any()
    np.testing.assert_array_equal(mask, other)


def test_names_that_differ_in_case_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a disk that ignores case, as those of macOS and of cameras do, they are one file."""
    for name in ("Eye.png", "eye.jpg", "caf\u00e9.png", "cafe\u0301.jpg"):
        (tmp_path / name).touch()
    folders: jobs.Folders = {"mask": tmp_path / "masks"}
    assert not jobs.ignores_case(tmp_path / "masks")
    assert len(jobs.plan(tmp_path, recursive=False, folders=folders)[0]) == 4
    monkeypatch.setattr(jobs, "ignores_case", lambda _: True)
    with pytest.raises(ConfigError, match=r"would both write .*; rename one of them"):
        jobs.plan(tmp_path, recursive=False, folders=folders)


def test_whether_a_disk_ignores_case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    identity = jobs._identity
    monkeypatch.setattr(jobs, "_identity", lambda path: identity(Path(str(path).lower())))
    lower = tmp_path / "eyes"
    lower.mkdir()
    assert jobs.ignores_case(lower) == (str(tmp_path) == str(tmp_path).lower())
    assert jobs.ignores_case(lower / "not there yet") == jobs.ignores_case(lower)
