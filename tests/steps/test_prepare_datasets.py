"""Every data set of the field goes into a patch file: drawn copies with their quirks, and the real ones."""

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from geseg.data.layouts import find_source
from geseg.data.patchfile import PatchFile
from geseg.steps.prepare import PrepareConfig, run
from geseg.steps.sources import read_whole

Known = Callable[[str], Path]
ALONE = " (whom they show is unknown: each image counts as a person)"


def pack(out: Path, *sources: Path, protocols: tuple[str, ...] = ()) -> list[str]:
    """Prepare a few small patches; returns what is said of them, after a look at every image in the file."""
    config = PrepareConfig(sources=sources, out=out, patch_size=32, patches_per_image=2, protocols=protocols)
    said = run(config).contents()
    with PatchFile.open(out) as file:
        train = [number for number, record in enumerate(file.header.samples) if record.split == "train"]
        np.testing.assert_array_equal(file.train_samples, np.repeat(train, 2))
        patches = file.train_patches(range(len(file.train_samples)))
        assert set(np.unique(patches[..., 4])) <= {0, 255}
        assert patches[..., 3].any() == bool(train)
        for split in ("val", "test"):
            for whole in file.whole(split):
                assert whole.fov.mean() > 0.3
                assert whole.record.labelled == (whole.label is not None)
                assert (whole.record.second_sha256 is None) == (whole.second is None)
                for mask in (whole.label, whole.second):
                    assert mask is None or 0.01 < mask[whole.fov].mean() < 0.4, whole.record
        assert all(file.header.samples[number].second_sha256 is None for number in train)
    return said


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("drive", "drive: 2 train patches of 1 image, 1 val image, 2 test images"),
        ("chasedb1", "chasedb1 (split 8/20): 12 train patches of 6 images, 2 val images, 20 test images"),
        ("stare", f"stare (split 10/10): 16 train patches of 8 images, 2 val images, 10 test images{ALONE}"),
        ("hrf", f"hrf (split 15/30): 24 train patches of 12 images, 3 val images, 30 test images{ALONE}"),
        ("primefp20", f"primefp20 (split fold1): 20 train patches of 10 images, 2 val images, 3 test images{ALONE}"),
        (
            "primefp20 flat",
            f"primefp20 (split fold1): 20 train patches of 10 images, 2 val images, 3 test images{ALONE}",
        ),
        ("fives", f"fives: 6 train patches of 3 images, 1 val image, 4 test images{ALONE}"),
        ("les-av", f"les-av: 10 train patches of 5 images, 1 val image, no test images{ALONE}"),
    ],
)
def test_drawn_copies(known_dataset: Known, tmp_path: Path, name: str, said: str) -> None:
    assert pack(tmp_path / "a.h5", known_dataset(name)) == [said]


def test_all_together(known_dataset: Known, tmp_path: Path) -> None:
    names = ["drive", "chasedb1", "stare", "hrf", "primefp20", "fives", "les-av"]
    said = pack(tmp_path / "a.h5", *map(known_dataset, names), protocols=("fold5", "20/8"))
    assert [phrase.partition(":")[0] for phrase in said] == [
        "drive", "chasedb1 (split 20/8)", "stare (split 10/10)", "hrf (split 15/30)", "primefp20 (split fold5)",
        "fives", "les-av",
    ]  # fmt: skip
    with PatchFile.open(tmp_path / "a.h5") as file:
        assert [source.protocol for source in file.header.sources] == [
            None, "20/8", "10/10", "15/30", "fold5", None, None,
        ]  # fmt: skip
        seconds = Counter(whole.record.dataset for whole in file.whole("test") if whole.second is not None)
    assert seconds == {"drive": 2, "chasedb1": 8, "stare": 10}


def test_the_eyes_of_a_child_stay_together(known_dataset: Known, tmp_path: Path) -> None:
    run(PrepareConfig(sources=(known_dataset("chasedb1"),), out=tmp_path / "a.h5", patch_size=8, patches_per_image=1))
    of: dict[str, set[str]] = {}
    for record in PatchFile.open(tmp_path / "a.h5").header.samples:
        of.setdefault(record.person, set()).add(record.split)
    assert len(of) == 14
    assert all(len(splits) == 1 for splits in of.values())


def test_a_list_with_people_for_some(make_generic: Callable[..., Path], tmp_path: Path) -> None:
    root = make_generic(stems="abcde")
    people = {"a": "Ann", "b": "Ann", "c": "Bob"}
    rows = [f"images/{name}.png,masks/{name}.png,{people.get(name, '')}" for name in "abcde"]
    (root / "samples.csv").write_text("\n".join(["image,label,person", *rows]))
    (said,) = pack(tmp_path / "a.h5", root)
    assert said.endswith(", no test images (whom 2 of all 5 images show is unknown: each counts as a person)")
    samples = PatchFile.open(tmp_path / "a.h5").header.samples
    assert {sample.person for sample in samples} == {"Ann", "Bob", "images/d.png", "images/e.png"}
    assert len({sample.split for sample in samples if sample.person == "Ann"}) == 1


REAL = {
    "DRIVE": "drive: 32 train patches of 16 images, 4 val images, 20 test images (20 without labels)",
    "CHASEDB1": "chasedb1 (split 8/20): 12 train patches of 6 images, 2 val images, no test images",
    "STARE": f"stare (split 10/10): 16 train patches of 8 images, 2 val images, no test images{ALONE}",
}


@pytest.mark.parametrize("name", REAL)
def test_real_data_sets(real_data: Path, tmp_path: Path, name: str) -> None:
    assert pack(tmp_path / "a.h5", real_data / name) == [REAL[name]]


def link_two_of_hrf(real_data: Path, root: Path) -> Path:
    """A folder with links to two photographs of HRF and what belongs to them: all fifteen take half a minute."""
    for name in ("images/01_dr.JPG", "manual1/01_dr.tif", "mask/01_dr_mask.tif"):
        for found in (name, name.replace("_dr", "_g").replace("JPG", "jpg")):
            (root / found).parent.mkdir(parents=True, exist_ok=True)
            (root / found).symlink_to(real_data / "HRF" / found)
    return root


def test_real_data_sets_together(real_data: Path, tmp_path: Path) -> None:
    hrf = link_two_of_hrf(real_data, tmp_path / "two")
    assert pack(tmp_path / "a.h5", hrf, *(real_data / name for name in REAL)) == [
        f"hrf (split 15/30): 2 train patches of 1 image, 1 val image, no test images{ALONE}",
        *REAL.values(),
    ]


def test_photographs_of_real_hrf(real_data: Path, tmp_path: Path) -> None:
    for sample in find_source(link_two_of_hrf(real_data, tmp_path)).samples:
        whole = read_whole(sample)
        assert whole.label is not None
        assert whole.image.shape == (2336, 3504, 3)
        assert whole.fov.mean() == pytest.approx(0.83, abs=0.05)
        assert 0.05 < whole.label[whole.fov].mean() < 0.15


def test_half_of_chasedb1_keeps_its_split(real_data: Path, tmp_path: Path) -> None:
    """The folder holds the children 01 to 04, who train in either split."""
    assert pack(tmp_path / "a.h5", real_data / "CHASEDB1", protocols=("20/8",)) == [
        REAL["CHASEDB1"].replace("8/20", "20/8")
    ]


def test_real_drive_with_the_usual_patches(real_data: Path, tmp_path: Path) -> None:
    start = time.perf_counter()
    result = run(PrepareConfig(sources=(real_data / "DRIVE",), out=tmp_path / "drive.h5"))
    assert time.perf_counter() - start < 60, "3 s on a usual computer"
    assert result.contents() == [
        "drive: 2,000 train patches of 16 images, 4 val images, 20 test images (20 without labels)"
    ]
    with PatchFile.open(tmp_path / "drive.h5") as file:
        assert [record.id for record in file.header.samples if record.split == "val"] == ["23", "27", "36", "40"]
        assert {record.fov for record in file.header.samples} == {"given"}
        for whole in file.whole("val"):
            assert whole.label is not None
            assert whole.label[whole.fov].mean() == pytest.approx(0.125, abs=0.04)
        patches = file.train_patches(range(0, 2000, 40))
        assert set(np.unique(patches[..., 3:])) == {0, 255}
