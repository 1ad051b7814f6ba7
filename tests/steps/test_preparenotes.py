"""What `prepare` remarks on, and that it does not without a reason."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from geseg.data.patchfile import PatchFile
from geseg.errors import ConfigError, DataError, ImageError
from geseg.steps import train
from geseg.steps.prepare import PrepareConfig, PrepareResult, run
from geseg.steps.trainconfig import TrainConfig

Make = Callable[..., Path]


def prepare(out: Path, *sources: Path, shift: bool = False) -> PrepareResult:
    small = {"patch_size": 24, "patches_per_image": 6, "val_fraction": 0.4}
    return run(PrepareConfig(sources=sources, out=out, orientation_shift=shift, **small))  # type: ignore[arg-type]


def test_nothing_to_remark_on(make_generic: Make, make_drive: Make, tmp_path: Path) -> None:
    assert prepare(tmp_path / "a.h5", make_generic(fov=True), make_drive()).notes == ()


def test_files_that_belong_to_no_photograph(make_generic: Make, tmp_path: Path) -> None:
    root = make_generic(fov=True)
    for path in sorted((root / "fov").iterdir()):
        path.rename(path.with_stem(f"{path.stem}_fov"))
    (root / "images" / "._a.png").touch()  # hidden, as macOS leaves them
    count = len(list((root / "fov").iterdir()))
    (note,) = prepare(tmp_path / "a.h5", root).notes
    assert note == (
        f"{root}: {count} files left out, first fov/a_fov.png; expected only photographs, and labels and fields of "
        "view of the same names: rename what should count"
    )


def test_photographs_that_train_and_validate(make_generic: Make, tmp_path: Path) -> None:
    root = make_generic(stems=["a"])
    for name in ("images", "masks"):
        shutil.copy(root / name / "a.png", root / name / "a copy.png")
    result = prepare(tmp_path / "a.h5", root)
    trained, validated = (
        next(record.id for record in result.header.samples if record.split == split) for split in ("train", "val")
    )
    assert result.notes == (
        f"1 val or test image trained on as well, first photos/{validated} as photos/{trained}: give each photograph "
        "once",
    )


@pytest.mark.parametrize(("people", "torn"), [("Ada Ben Cleo", True), ("Dora Eve Fay", False), ("", False)])
def test_people_of_one_name_in_two_lists(make_generic: Make, tmp_path: Path, people: str, torn: bool) -> None:
    """With empty cells nobody knows whom the photographs show, which then have the same names in both."""
    roots = [shutil.copytree(make_generic(stems=["a", "b", "c"]), tmp_path / visit) for visit in ("one", "two")]
    for number, (root, names) in enumerate(zip(roots, ("Ada Ben Cleo" if people else "", people), strict=True)):
        who = names.split() or ["", "", ""]
        lines = [f"images/{stem}.png,masks/{stem}.png,{name}" for stem, name in zip("abc", who, strict=True)]
        (root / "samples.csv").write_text("\n".join(["image,label,person", *lines]))
        for path in (root / "images").iterdir():
            path.write_bytes(path.read_bytes() + bytes(number))  # no copies of each other
    result = prepare(tmp_path / "a.h5", *roots)
    splits: dict[str, set[tuple[str, str]]] = {}
    for record in result.header.samples:
        splits.setdefault(record.person, set()).add((record.dataset, record.split))
    if not torn:
        assert result.notes == ()
        return
    both = [name for name, places in splits.items() if len({split for _, split in places}) > 1]
    assert both, "the draws of the two lists differ"
    where = " and ".join(f"{split} of {dataset}" for dataset, split in sorted(splits[both[0]]))
    these = f"{both[0]} is" if len(both) == 1 else f"{len(both)} people, first {both[0]}, are"
    assert result.notes == (
        f"{these} in {where}, as somebody else in each list; expected one list of all if they are the same",
    )


def test_a_shift_without_any_vessel(make_generic: Make, tmp_path: Path) -> None:
    root = make_generic()
    for path in (root / "masks").iterdir():
        path.write_bytes(b"P1 68 72 " + b"1 " * (68 * 72))  # in which 1 is black
    with pytest.raises(ImageError, match="no patch of 3 labelled images shows vessels that run in one direction"):
        prepare(tmp_path / "a.h5", root, shift=True)
    assert not (tmp_path / "a.h5").exists()


def test_a_file_that_nothing_can_train_on(make_generic: Make, tmp_path: Path) -> None:
    root = make_generic()
    (tmp_path / "eyes" / "test").mkdir(parents=True)
    for name in ("images", "masks"):
        (root / name).rename(tmp_path / "eyes" / "test" / name)
    result = prepare(tmp_path / "a.h5", tmp_path / "eyes")
    assert not result.trains
    with PatchFile.open(tmp_path / "a.h5") as file, pytest.raises(DataError, match="from a data set with training"):
        train.run(TrainConfig(patches=file.path, out=tmp_path / "run", widths=(1, 1)))


def test_a_source_that_links_to_itself(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(Exception, match="loop does not exist; give the folder of a data set"):
        prepare(tmp_path / "a.h5", tmp_path / "loop")
    with pytest.raises(ConfigError, match="given twice"):
        prepare(tmp_path / "a.h5", tmp_path, tmp_path / "loop" / "..")
