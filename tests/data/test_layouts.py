"""Data sets are recognised by their files; what is wrong with a folder is said with names."""

import re
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from geseg.data.layouts import Layout, Source, find_source
from geseg.errors import LayoutError

Make = Callable[..., Path]
CHASE = Layout(
    name="chase_db1",
    looks="Image_01L.jpg with Image_01L_1stHO.png",
    image=r"Image_(?P<id>(?P<child>\d\d)[LR])\.jpg",
    label="Image_{id}_1stHO.png",
    person="{child}",
    split=lambda at: "train" if int(at["child"]) <= 4 else "test",
)
STARE = Layout(
    name="stare",
    looks="stare-images/im0001.ppm.gz with labels-ah/im0001.ah.ppm.gz",
    image=r"stare-images/(?P<id>im\d{4})\.ppm(?P<gz>\.gz)?",
    label="labels-ah/{id}.ah.ppm{gz}",
)


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def splits(source: Source) -> dict[str, int]:
    return dict(Counter(sample.split for sample in source.samples))


def test_drive_without_test_labels(make_drive: Make) -> None:
    source = find_source(make_drive())
    assert (source.layout.name, source.dataset, splits(source)) == ("drive", "drive", {"test": 2, "train": 5})
    first, last = source.samples[0], source.samples[-1]
    assert (first.id, first.person, first.label) == ("01", "01", None)
    assert first.fov == source.root / "test/mask/01_test_mask.gif"
    assert last.label == source.root / "training/1st_manual/25_manual1.gif"


def test_drive_with_test_labels(make_drive: Make) -> None:
    source = find_source(make_drive(test_labels=True))
    assert source.samples[0].label == source.root / "test/1st_manual/01_manual1.gif"


def test_real_drive(real_data: Path) -> None:
    source = find_source(real_data / "DRIVE")
    assert splits(source) == {"test": 20, "train": 20}
    assert all(sample.fov for sample in source.samples)


def test_generic_is_named_after_its_folder(make_generic: Make) -> None:
    source = find_source(make_generic("cracks", ["a", "b.1"]))
    assert (source.layout.name, source.dataset) == ("generic", "cracks")
    assert [(sample.id, sample.person, sample.split, sample.fov) for sample in source.samples] == [
        ("a", "a", "train", None),
        ("b.1", "b.1", "train", None),
    ]
    assert source.layout.person is None


def test_generic_finds_the_field_of_view(make_generic: Make) -> None:
    assert find_source(make_generic(fov=True)).samples[0].fov is not None


def test_suffixes_may_differ_and_be_in_upper_case(tmp_path: Path) -> None:
    source = find_source(touch(tmp_path, "images/a.JPG", "masks/a.tiff", "images/b.png", "masks/b.GIF"))
    assert [sample.label and sample.label.name for sample in source.samples] == ["a.tiff", "b.GIF"]


def test_split_folders_keep_their_splits_and_restarting_names(make_generic: Make) -> None:
    root = make_generic(inside="train")
    make_generic(inside="test")
    shutil.rmtree(root / "test" / "masks")
    source = find_source(root)
    assert splits(source) == {"test": 3, "train": 3}
    assert {sample.id for sample in source.samples} == {
        f"{split}/{stem}" for split in ("train", "test") for stem in "abc"
    }


def test_a_row_can_tell_persons_and_splits(tmp_path: Path) -> None:
    images = [f"Image_{child:02}{eye}" for child in range(1, 15) for eye in "LR"]
    touch(tmp_path, *(f"{image}.jpg" for image in images), *(f"{image}_1stHO.png" for image in images))
    source = find_source(tmp_path, [CHASE])
    assert splits(source) == {"train": 8, "test": 20}
    assert {(sample.id, sample.person) for sample in source.samples} >= {("01L", "01"), ("01R", "01")}


def test_a_row_can_use_groups_that_do_not_always_match(tmp_path: Path) -> None:
    touch(tmp_path, "stare-images/im0001.ppm.gz", "labels-ah/im0001.ah.ppm.gz")
    touch(tmp_path, "stare-images/im0002.ppm", "labels-ah/im0002.ah.ppm")
    assert [s.label and s.label.name for s in find_source(tmp_path, [CHASE, STARE]).samples] == [
        "im0001.ah.ppm.gz",
        "im0002.ah.ppm",
    ]


def test_hidden_files_and_other_files_do_not_count(make_generic: Make) -> None:
    root = touch(make_generic(stems=["a"]), "images/._a.png", ".git/images/b.png", "images/notes.txt", "README")
    assert [sample.id for sample in find_source(root).samples] == ["a"]


def test_folders_may_be_links(make_generic: Make, tmp_path: Path) -> None:
    root = make_generic(stems=["a"])
    for name in ("images", "masks"):
        (tmp_path / "linked").mkdir(exist_ok=True)
        (tmp_path / "linked" / name).symlink_to(root / name)
    (tmp_path / "linked" / "again").symlink_to(tmp_path / "linked")  # a circle
    assert [sample.id for sample in find_source(tmp_path / "linked").samples] == ["a"]


def error_of(root: Path) -> str:
    with pytest.raises(LayoutError) as caught:
        find_source(root)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_missing_folder(tmp_path: Path) -> None:
    assert error_of(tmp_path / "drvie") == f"{tmp_path / 'drvie'} does not exist; give the folder of a data set"


def test_a_file_instead_of_a_folder(tmp_path: Path) -> None:
    assert error_of(touch(tmp_path, "drive.zip") / "drive.zip") == (
        f"{tmp_path / 'drive.zip'} is a file; give the folder of a data set"
    )


def test_empty_folder_lists_what_is_known(tmp_path: Path) -> None:
    assert error_of(tmp_path) == (
        f"{tmp_path} holds no files and no data set that geseg knows "
        "(drive: training/images/21_training.tif with training/1st_manual/21_manual1.gif; "
        "split folders: train/images/NAME.png with train/masks/NAME.png, and the same below test/ (and val/); "
        "generic: images/NAME.png with masks/NAME.png)"
    )


def test_other_files(tmp_path: Path) -> None:
    message = error_of(touch(tmp_path, "a.png", "b/c.png"))
    assert message.startswith(f"{tmp_path} holds 2 files and no data set that geseg knows (drive: ")


def test_the_folder_above_a_data_set(make_drive: Make) -> None:
    root = make_drive()
    assert (
        error_of(root.parent) == f"{root.parent} is no data set that geseg knows, but holds some: give {root} instead"
    )


def test_one_training_label_missing(make_drive: Make) -> None:
    root = make_drive()
    (root / "training/1st_manual/23_manual1.gif").unlink()
    assert error_of(root) == (
        f"{root} looks like drive (training/images/21_training.tif with training/1st_manual/21_manual1.gif), but 1 of "
        "its 7 images lack their label, first training/1st_manual/23_manual1.gif: add the labels or remove the images; "
        "only test images may go without"
    )


def test_all_labels_missing(make_generic: Make) -> None:
    root = make_generic()
    shutil.rmtree(root / "masks")
    assert re.search(
        r"looks like generic .* but 3 of its 3 images lack their label, first masks/a\.\*: ", error_of(root)
    )


def test_images_that_share_a_label(make_generic: Make) -> None:
    root = touch(make_generic(), "images/a.jpg")
    assert error_of(root) == (
        f"{root}/images/a.jpg and {root}/images/a.png differ in their suffix only, so that they share a label: "
        "rename or remove one"
    )


def test_two_labels_for_an_image(make_generic: Make) -> None:
    root = touch(make_generic(), "masks/a.gif")
    assert error_of(root) == (
        f"{root} holds masks/a.gif and masks/a.png, but only one can belong to the image: remove the others"
    )
