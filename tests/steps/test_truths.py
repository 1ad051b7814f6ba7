from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from geseg.errors import DataError, LayoutError, PatchFileError
from geseg.steps.prepare import PrepareConfig, run
from geseg.steps.truths import choose, open_truths

Make = Callable[..., Path]


def test_a_folder_and_its_patch_file_show_the_same_photographs(make_drive: Make, tmp_path: Path) -> None:
    root = make_drive(test_labels=True)
    out = run(PrepareConfig(sources=(root,), out=tmp_path / "p.h5", patch_size=16, patches_per_image=1)).out
    _, packed, notes = choose(open_truths(out), "test")
    _, plain, _ = choose(open_truths(root), "test")
    assert notes == ()
    assert [(p.dataset, p.id, p.stem, p.split) for p in packed] == [(p.dataset, p.id, p.stem, p.split) for p in plain]
    assert [p.stem for p in plain] == ["01_test", "02_test"]
    for one, other in zip((p.read() for p in packed), (p.read() for p in plain), strict=True):
        assert one.record == other.record
        for name in ("image", "label", "fov"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_a_folder_has_its_training_images_too(make_drive: Make) -> None:
    truths = open_truths(make_drive())
    split, photographs, notes = choose(truths, None)
    assert (split, len(photographs)) == ("train", 5)
    assert notes == (f"{truths.path} has no labelled test images: scored on the training images instead",)
    with pytest.raises(DataError, match=r"has no labelled test images; it has labels for train$"):
        choose(truths, "test")


def test_what_is_neither_a_patch_file_nor_a_data_set(tmp_path: Path) -> None:
    (tmp_path / "a.h5").write_text("no")
    with pytest.raises(PatchFileError, match="cannot be read as HDF5"):
        open_truths(tmp_path / "a.h5")
    with pytest.raises(LayoutError, match="no data set that geseg knows"):
        open_truths(tmp_path)


def test_a_data_set_without_labels(make_drive: Make, tmp_path: Path) -> None:
    out = tmp_path / "p.h5"
    run(PrepareConfig(sources=(make_drive(train=1),), out=out, patch_size=16, patches_per_image=1))
    with pytest.raises(DataError, match="has no whole images with labels to score; prepare it from more people"):
        choose(open_truths(out), None)
