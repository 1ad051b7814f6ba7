import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from geseg.data.images import write_mask, write_probability
from geseg.errors import DataError, ImageError
from geseg.steps import maskfolder
from geseg.steps.maskfolder import holds_masks, read_map
from geseg.steps.truths import Photograph, open_truths


def photographs(*stems: str) -> list[Photograph]:
    """Photographs named as in DRIVE: the id is what stands before the underscore."""

    def read() -> None:
        raise AssertionError("pairing reads no image")

    return [Photograph("eyes", stem.partition("_")[0], stem, "test", read) for stem in stems]  # type: ignore[arg-type]


def folder(path: Path, *names: str) -> Path:
    for name in names:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4)).save(path / name)
    return path


def pair(maps: Path, wanted: list[Photograph]) -> dict[Photograph, Path]:
    return maskfolder.pair(maps, wanted, wanted)


@pytest.mark.parametrize("name", ["01_test.png", "01_test_prob.tif", "01.png", "01_manual2.gif", "deep/er/01_test.png"])
def test_names_that_belong(tmp_path: Path, name: str) -> None:
    (photograph,) = photographs("01_test")
    assert pair(folder(tmp_path, name), [photograph]) == {photograph: tmp_path / name}


def test_the_nearest_kind_of_name_wins_and_digits_go_on(tmp_path: Path) -> None:
    one, ten = photographs("im1", "im10")
    found = pair(folder(tmp_path, "im1.png", "im1_old.png", "im10_mask.png"), [one, ten])
    assert {p.stem: path.name for p, path in found.items()} == {"im1": "im1.png", "im10": "im10_mask.png"}


def test_a_name_that_begins_with_another(tmp_path: Path) -> None:
    one, two = photographs("eye", "eye_2")
    maps = folder(tmp_path, "eye_prob.png", "eye_2_prob.png")
    both = {one: tmp_path / "eye_prob.png", two: tmp_path / "eye_2_prob.png"}
    assert maskfolder.pair(maps, [one, two], [one, two]) == both
    (tmp_path / "eye_prob.png").unlink()
    assert maskfolder.pair(maps, [one, two], [one, two]) == {two: tmp_path / "eye_2_prob.png"}
    with pytest.raises(DataError, match="none is named like a photograph, such as eye"):
        maskfolder.pair(maps, [one], [one, two])


def test_names_that_repeat_from_folder_to_folder(tmp_path: Path) -> None:
    """A list has the folders of an image in its id, and predict --recursive writes its mask into such folders."""
    ids = ("left", "1/left", "2/left", "2/right", "0/1/left")
    known = [dataclasses.replace(photographs(Path(i).name)[0], id=i) for i in ids]
    for end in (".png", "_prob.tif"):
        maps = folder(tmp_path / end, *(f"{i}{end}" for i in ids))
        assert pair(maps, known) == {p: maps / f"{p.id}{end}" for p in known}
    flat = folder(tmp_path / "flat", "right.png")
    assert pair(flat, known) == {known[3]: flat / "right.png"}


def test_a_photograph_without_a_file_is_left_out(tmp_path: Path) -> None:
    assert len(pair(folder(tmp_path, "01_test.png"), photographs("01_test", "02_test"))) == 1


def test_two_files_for_one_photograph(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"01_test\.gif and .*01_test\.png both belong to photograph 01_test: keep one"):
        pair(folder(tmp_path, "01_test.png", "01_test.gif"), photographs("01_test"))


def test_one_file_for_two_photographs(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"01\.png could belong to eyes/01 and eyes/01: score the maps of"):
        pair(folder(tmp_path, "01.png"), photographs("01_test", "01_training"))


def test_splits_that_repeat_names(tmp_path: Path, known_dataset: Callable[[str], Path]) -> None:
    """As FIVES does: it is one data set, whose splits are scored one by one."""
    known = open_truths(known_dataset("fives")).photographs
    test = [photograph for photograph in known if photograph.split == "test"]
    maps = folder(tmp_path, *(f"{photograph.stem}.png" for photograph in test))
    with pytest.raises(DataError, match=r"fives/test/1_A and fives/train/1_A: say which with --split test or --spl"):
        maskfolder.pair(maps, known, known)
    assert set(maskfolder.pair(maps, test, known)) == set(test)


def test_no_file_for_any_photograph(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has 1 images, but none is named like a photograph, such as 01_test: rename"):
        pair(folder(tmp_path, "a.png"), photographs("01_test"))


def test_what_holds_masks(tmp_path: Path, run_folder: Path) -> None:
    assert holds_masks(folder(tmp_path / "masks", "a.png"))
    for name in ("model.safetensors", "model.onnx"):
        (folder(tmp_path / name, "curves.png") / name).touch()
        assert not holds_masks(tmp_path / name)
    assert not holds_masks(run_folder)
    assert not holds_masks(tmp_path / "masks" / "a.png")
    assert not holds_masks(tmp_path / "nowhere")


def test_masks_are_0_and_1_whatever_their_values(tmp_path: Path) -> None:
    mask = np.eye(5, dtype=bool)
    write_mask(tmp_path / "a.png", mask)
    Image.fromarray(mask.astype(np.uint8)).save(tmp_path / "b.gif")
    Image.fromarray(mask).save(tmp_path / "c.tif")
    for name in ("a.png", "b.gif", "c.tif"):
        np.testing.assert_array_equal(read_map(tmp_path / name, (5, 5)), mask.astype(np.float32))


def test_probabilities_are_shares_of_the_largest_value(tmp_path: Path) -> None:
    p = np.linspace(0, 1, 35, dtype=np.float32).reshape(5, 7)
    write_probability(tmp_path / "16.png", p)
    Image.fromarray(np.rint(p * 255).astype(np.uint8)).save(tmp_path / "8.png")
    Image.fromarray(p).save(tmp_path / "f.tif")
    for name, tolerance in {"16.png": 1e-5, "8.png": 2e-3, "f.tif": 1e-7}.items():
        np.testing.assert_allclose(read_map(tmp_path / name, (5, 7)), p, atol=tolerance)


def test_half_a_probability_stays_on_its_side_of_the_threshold(tmp_path: Path) -> None:
    p = np.array([[0.5, np.nextafter(np.float32(0.5), np.float32(0)), 0.1]], np.float32)
    write_probability(tmp_path / "a.png", p)
    assert (read_map(tmp_path / "a.png", (1, 3)) >= 0.5).tolist()[0][::2] == [True, False]


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (np.zeros((3, 9), np.uint8), "has 9x3 pixels, but its photograph 7x5: expected the same"),
        (np.arange(105, dtype=np.uint8).reshape(5, 7, 3), "is in colour; expected a mask or a grey map"),
        (np.linspace(-1, 3, 35, dtype=np.float32).reshape(5, 7), r"has values from -1\.0 to 3\.0; expected 8 or"),
        (
            np.where(np.eye(5, 7), np.nan, np.linspace(0, 1, 7)).astype(np.float32),
            r"has pixels that are no numbers \(NaN or infinite\)",
        ),
    ],
)
def test_what_is_no_map(tmp_path: Path, pixels: np.ndarray, message: str) -> None:
    Image.fromarray(pixels).save(tmp_path / "a.tif")
    with pytest.raises(ImageError, match=message):
        read_map(tmp_path / "a.tif", (5, 7))
