"""Every data set of the field is recognised by its official names, with its splits, persons and second observers."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from geseg.data.datasets import LAYOUTS
from geseg.data.images import read_mask
from geseg.data.layouts import find_source
from geseg.data.samples import Source

Known = Callable[[str], Path]


def splits(source: Source) -> dict[str, int]:
    return dict(Counter(sample.split for sample in source.samples))


def ids(source: Source, split: str) -> set[str]:
    return {sample.id for sample in source.samples if sample.split == split}


@pytest.mark.parametrize(
    ("name", "protocol", "counts", "people", "given", "observers"),
    [
        ("drive", None, {"train": 2, "test": 2}, 4, True, 2),
        ("chasedb1", "8/20", {"train": 8, "test": 20}, 14, False, 28),
        ("stare", "10/10", {"train": 10, "test": 10}, 20, False, 20),
        ("hrf", "15/30", {"train": 15, "test": 30}, 45, True, 0),
        ("primefp20", "fold1", {"train": 12, "test": 3}, 15, True, 0),
        ("primefp20 flat", "fold1", {"train": 12, "test": 3}, 15, True, 0),
        ("fives", None, {"train": 4, "test": 4}, 8, False, 0),
        ("les-av", None, {"train": 6}, 6, True, 0),
    ],
)
def test_what_is_known_of_a_data_set(
    known_dataset: Known, name: str, protocol: str | None, counts: dict[str, int], people: int, given: bool,
    observers: int,
) -> None:  # fmt: skip
    source = find_source(known_dataset(name))
    assert (source.layout, source.dataset) == (name.removesuffix(" flat"), name.removesuffix(" flat"))
    assert (source.protocol, splits(source)) == (protocol, counts)
    assert len({sample.person for sample in source.samples}) == people
    assert source.unknown_persons == (0 if name in ("drive", "chasedb1") else people)
    assert {sample.fov is not None for sample in source.samples} == {given}
    assert sum(sample.second is not None for sample in source.samples) == observers
    for sample in source.samples:
        assert sample.label is not None
        for path in filter(None, (sample.image, sample.label, sample.fov, sample.second)):
            assert path.is_file()
        assert len({sample.image, sample.label, sample.fov, sample.second} - {None}) == 2 + given + bool(sample.second)


def test_every_row_of_the_table_is_tried() -> None:
    tested = {"drive", "chasedb1", "stare", "hrf", "primefp20", "fives", "les-av", "split folders", "generic"}
    assert {layout.name for layout in LAYOUTS} == tested


def test_names_do_not_decide_but_places(known_dataset: Known) -> None:
    """The number of a photograph and that of its label, observer and view are one."""
    for name in ("chasedb1", "stare", "hrf", "primefp20", "primefp20 flat", "les-av"):
        for sample in find_source(known_dataset(name)).samples:
            for path in filter(None, (sample.label, sample.fov, sample.second)):
                assert sample.id in path.name


def test_chasedb1_is_split_by_child_in_either_way(known_dataset: Known) -> None:
    root = known_dataset("chasedb1")
    usual, other = find_source(root), find_source(root, ["20/8"])
    assert (usual.protocol, other.protocol, usual.protocols) == ("8/20", "20/8", ("8/20", "20/8"))
    assert ids(usual, "train") == {f"{child:02}{eye}" for child in range(1, 5) for eye in "LR"}
    assert ids(other, "test") == {f"{child:02}{eye}" for child in range(11, 15) for eye in "LR"}
    for source in (usual, other):
        of = {part: {s.person for s in source.samples if s.split == part} for part in ("train", "test")}
        assert not of["train"] & of["test"]


def test_a_part_of_a_data_set_keeps_its_split(tmp_path: Path) -> None:
    for name in ("im0139", "im0162", "im0324"):
        for path in (f"stare-images/{name}.ppm", f"labels-ah/{name}.ah.ppm.gz"):
            (tmp_path / path).parent.mkdir(exist_ok=True)
            (tmp_path / path).touch()
    source = find_source(tmp_path)
    assert (ids(source, "train"), ids(source, "test")) == ({"im0139"}, {"im0162", "im0324"})


def test_stare_and_hrf_test_on_the_later_ones(known_dataset: Known) -> None:
    stare = find_source(known_dataset("stare"))
    assert max(ids(stare, "train")) == "im0139"
    assert min(ids(stare, "test")) == "im0162"
    assert {name[:2] for name in ids(find_source(known_dataset("hrf")), "train")} == {"01", "02", "03", "04", "05"}


@pytest.mark.parametrize("name", ["primefp20", "primefp20 flat"])
def test_the_folds_of_primefp20_test_on_each_image_once(known_dataset: Known, name: str) -> None:
    tested = [ids(find_source(known_dataset(name), [f"fold{number}"]), "test") for number in range(1, 6)]
    numbers = [sorted(map(int, fold)) for fold in tested]
    assert numbers == [[1, 2, 3], [4, 5, 6], [7, 8, 9], [10, 11, 12], [13, 14, 15]]


def test_protocols_of_other_data_sets_do_not_matter(known_dataset: Known) -> None:
    assert find_source(known_dataset("hrf"), ["fold3", "20/8"]).protocol == "15/30"
    assert find_source(known_dataset("fives"), ["20/8"]).protocol is None


def test_names_of_fives_restart_in_each_split(known_dataset: Known) -> None:
    source = find_source(known_dataset("fives"))
    assert {sample.id for sample in source.samples} >= {"train/1_A", "test/1_A"}
    assert len({sample.id for sample in source.samples}) == 8


def test_les_av_wins_over_images_and_masks(tmp_path: Path) -> None:
    """Also where somebody has put masks of the same names beside the fields of view: these are predictions."""
    for path in ("images/1.png", "vessel-segmentations/1.png", "masks/1_mask.gif", "masks/1.png"):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).touch()
    (sample,) = find_source(tmp_path).samples
    assert (sample.dataset, sample.label) == ("les-av", tmp_path / "vessel-segmentations/1.png")
    assert sample.fov == tmp_path / "masks/1_mask.gif"


def test_the_quirks_are_drawn(known_dataset: Known) -> None:
    """Keeps the tests that read these files honest: plain files would pass them."""
    modes = {}
    for path in [
        "drive/test/2nd_manual/01_manual2.gif", "primefp20/Labels_FP_PRIME-FP20/LabelFP01_PRIME-FP20.png",
        "fives/train/Ground truth/1_A.png", "fives/train/Ground truth/2_D.png", "hrf/mask/01_dr_mask.tif",
        "chasedb1/Image_01L_1stHO.png",
    ]:  # fmt: skip
        name, _, inner = path.partition("/")
        with Image.open(known_dataset(name) / inner) as image:
            modes[name + inner[-7:-4]] = image.mode, np.asarray(image).max()
    assert modes == {
        "driveal2": ("P", 1), "primefp20P20": ("1", True), "fives1_A": ("RGBA", 255), "fives2_D": ("L", 255),
        "hrfask": ("RGB", 255), "chasedb1tHO": ("1", True),
    }  # fmt: skip
    hrf = {path.suffix for path in (known_dataset("hrf") / "images").iterdir()}
    stare = {path.suffix for path in known_dataset("stare").rglob("*.*")}
    assert (hrf, stare) == ({".JPG", ".jpg"}, {".ppm", ".gz"})


@pytest.mark.parametrize(
    "name", ["drive", "chasedb1", "stare", "hrf", "primefp20", "primefp20 flat", "fives", "les-av"]
)
def test_no_label_is_empty_and_none_is_full(known_dataset: Known, name: str) -> None:
    for sample in find_source(known_dataset(name)).samples:
        for path in filter(None, (sample.label, sample.second)):
            assert 0.01 < read_mask(path).mean() < 0.4, path


@pytest.mark.parametrize(
    ("name", "counts", "observers"),
    [
        ("DRIVE", {"train": 20, "test": 20}, 0),
        ("CHASEDB1", {"train": 8}, 8),
        ("STARE", {"train": 10}, 10),
        ("HRF", {"train": 15}, 0),
    ],
)
def test_real_data_sets(real_data: Path, name: str, counts: dict[str, int], observers: int) -> None:
    source = find_source(real_data / name)
    assert (source.dataset, splits(source)) == (name.lower(), counts)
    assert sum(sample.second is not None for sample in source.samples) == observers
    assert {sample.fov is not None for sample in source.samples} == {name in ("DRIVE", "HRF")}
    assert all(sample.label for sample in source.samples if sample.split == "train")
