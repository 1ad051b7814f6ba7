"""Data sets are recognised by their files; what is wrong with a folder is said with names."""

import re
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from geseg.data.datasets import Layout, train_if
from geseg.data.layouts import find_source
from geseg.data.samples import Source
from geseg.errors import ConfigError, LayoutError

Make = Callable[..., Path]
MOLES = Layout(
    name="moles",
    looks="mole_1a.jpg with mole_1a_drawn.png",
    image=r"mole_(?P<id>(?P<person>\d)[a-z])(?P<packed>_packed)?\.jpg",
    label="mole_{id}_drawn{packed}.png",
    person="{person}",
    splits={
        "2/1": train_if(lambda at: int(at["person"]) <= 2),
        "1/2": train_if(lambda at: int(at["person"]) <= 1),
    },
)
"""A data set that is not in the table."""


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def splits(source: Source) -> dict[str, int]:
    return dict(Counter(sample.split for sample in source.samples))


def test_drive_without_test_labels(make_drive: Make) -> None:
    source = find_source(make_drive())
    assert (source.layout, source.dataset, splits(source)) == ("drive", "drive", {"test": 2, "train": 5})
    first, last = source.samples[0], source.samples[-1]
    assert (first.id, first.person, first.label) == ("01", "01", None)
    assert first.fov == source.root / "test/mask/01_test_mask.gif"
    assert last.label == source.root / "training/1st_manual/25_manual1.gif"


def test_drive_with_test_labels(make_drive: Make) -> None:
    source = find_source(make_drive(test_labels=True))
    assert source.samples[0].label == source.root / "test/1st_manual/01_manual1.gif"


def test_generic_is_named_after_its_folder(make_generic: Make) -> None:
    source = find_source(make_generic("cracks", ["a", "b.1"]))
    assert (source.layout, source.dataset) == ("generic", "cracks")
    assert [(sample.id, sample.person, sample.split, sample.fov) for sample in source.samples] == [
        ("a", "a", "train", None),
        ("b.1", "b.1", "train", None),
    ]
    assert source.unknown_persons == 2


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


def moles(root: Path) -> Path:
    names = ("mole_1a", "mole_1b", "mole_2a", "mole_3a")
    return touch(root, *(f"{name}.jpg" for name in names), *(f"{name}_drawn.png" for name in names))


def test_a_row_can_tell_persons_and_splits(tmp_path: Path) -> None:
    source = find_source(moles(tmp_path), layouts=[MOLES])
    assert [(sample.id, sample.person, sample.split) for sample in source.samples] == [
        ("1a", "1", "train"),
        ("1b", "1", "train"),
        ("2a", "2", "train"),
        ("3a", "3", "test"),
    ]
    assert (source.protocol, source.protocols, source.unknown_persons) == ("2/1", ("2/1", "1/2"), 0)
    other = find_source(tmp_path, ["8/20", "1/2", "1/2"], [MOLES])
    assert (other.protocol, splits(other)) == ("1/2", {"train": 2, "test": 2})


def test_one_data_set_follows_one_protocol(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        find_source(moles(tmp_path), ["1/2", "fold1", "2/1"], [MOLES])
    assert str(caught.value) == f"{tmp_path} (moles) can follow one protocol only; got 1/2, 2/1: leave all but one"


def test_a_row_can_use_groups_that_do_not_always_match(tmp_path: Path) -> None:
    touch(tmp_path, "mole_1a.jpg", "mole_1a_drawn.png", "mole_2a_packed.jpg", "mole_2a_drawn_packed.png")
    assert [s.label and s.label.name for s in find_source(tmp_path, layouts=[MOLES]).samples] == [
        "mole_1a_drawn.png",
        "mole_2a_drawn_packed.png",
    ]


def test_a_packed_image_may_have_an_unpacked_label(tmp_path: Path) -> None:
    source = find_source(touch(tmp_path, "images/a.PPM.gz", "masks/a.pbm", "images/b.ppm", "masks/b.pgm.GZ"))
    assert [(sample.id, sample.label and sample.label.name) for sample in source.samples] == [
        ("a", "a.pbm"),
        ("b", "b.pgm.GZ"),
    ]


def test_hidden_files_and_other_files_do_not_count(make_generic: Make) -> None:
    root = touch(make_generic(stems=["a"]), "images/._a.png", ".git/images/b.png", "images/notes.txt", "README")
    source = find_source(root)
    assert [sample.id for sample in source.samples] == ["a"]
    assert source.unused == ("README", "images/notes.txt")


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


WHAT_TO_DO = (
    "no data set that geseg knows (drive, chasedb1, stare, hrf, primefp20, fives, les-av): put images into images/ and "
    "their labels of the same names into masks/, or list them in samples.csv"
)


def test_empty_folder_lists_what_is_known(tmp_path: Path) -> None:
    assert error_of(tmp_path) == f"{tmp_path} holds no files and {WHAT_TO_DO}"


def test_other_files(tmp_path: Path) -> None:
    assert error_of(touch(tmp_path, "a.png", "b/c.png")) == f"{tmp_path} holds 2 files, first a.png, and {WHAT_TO_DO}"


def test_the_folder_above_a_data_set(make_drive: Make) -> None:
    root = make_drive()
    assert (
        error_of(root.parent) == f"{root.parent} is no data set that geseg knows, but holds some: give {root} instead"
    )


def test_the_folder_above_a_list(tmp_path: Path) -> None:
    touch(tmp_path, "mine/samples.csv", "other/a.png")
    assert error_of(tmp_path).endswith(f"but holds some: give {tmp_path / 'mine'} instead")


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
