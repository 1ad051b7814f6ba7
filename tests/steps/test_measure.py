"""A row of figures for every photograph that is done, by whichever run."""

import csv
import hashlib
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from geseg.data.fov import find_fov
from geseg.data.images import read_image, read_mask, write_mask
from geseg.data.pngtext import read_text
from geseg.errors import ConfigError, ImageError, OutputError
from geseg.metrics import morphometry
from geseg.steps import measure
from geseg.steps.jobs import Job
from geseg.steps.measure import COLUMNS, Row

Draw = Callable[..., tuple[np.ndarray, np.ndarray, np.ndarray]]


@pytest.fixture
def jobs(draw_eye: Draw, tmp_path: Path) -> list[Job]:
    """Three photographs with their masks, as `predict` leaves them."""
    made = []
    for seed, name in enumerate(("a", "b/c", "d, e")):
        image, label, _ = draw_eye(seed, 72, 68)
        label[:, 30:40] = False  # so that vessels end
        job = Job(tmp_path / "photos" / f"{name}.png", f"{name}.png", {"mask": tmp_path / "masks" / f"{name}.png"})
        job.image.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(job.image)
        write_mask(job.outputs["mask"], label & find_fov(image), "header")
        made.append(job)
    return made


@pytest.fixture
def masks(tmp_path: Path) -> Path:
    return tmp_path / "masks"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "vessels.csv"


def lines(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8", errors="surrogateescape") as opened:
        return list(csv.DictReader(opened))


def test_a_row_has_every_figure_under_its_unit(jobs: list[Job]) -> None:
    job = jobs[0]
    mask, fov = read_mask(job.outputs["mask"]), find_fov(read_image(job.image))
    f = morphometry.measure(mask, fov).figures
    row = measure.row_of(job, f)
    assert tuple(row) == COLUMNS
    assert row["image"] == "a.png"
    assert row["mask_sha256"] == hashlib.sha256(job.outputs["mask"].read_bytes()).hexdigest()
    expected = {
        "fov_diameter_px": max(np.ptp(side) + 1 for side in np.nonzero(fov)),
        "fov_area_px": fov.sum(),
        "vessel_area_px": mask.sum(),
        "vessel_density": mask.sum() / fov.sum(),
        "length_px": f.length,
        "length_per_diameter": f.length * f.fov_diameter / fov.sum(),
        "mean_width_px": f.width,
        "mean_width_diameters": f.width / f.fov_diameter,
        "branch_points": f.branch_points,
        "branch_points_per_diameter2": f.branch_points * f.fov_diameter**2 / fov.sum(),
        "end_points": f.end_points,
        "end_points_per_diameter2": f.end_points * f.fov_diameter**2 / fov.sum(),
        "tortuosity": f.tortuosity,
        "fractal_dimension": f.fractal_dimension,
    }
    assert set(expected) | {"image", "mask_sha256"} == set(COLUMNS)
    for name, value in expected.items():
        assert float(row[name]) == pytest.approx(float(value), rel=1e-5), name
    assert f.branch_points > 0
    assert f.end_points > 0


def test_a_finished_photograph_has_the_row_that_it_had_at_once(jobs: list[Job]) -> None:
    for job in jobs:
        mask, fov = read_mask(job.outputs["mask"]), find_fov(read_image(job.image))
        assert measure.row_of_done(job) == measure.row_of(job, morphometry.measure(mask, fov).figures)


def test_a_mask_without_a_vessel_leaves_empty_what_it_has_not(jobs: list[Job]) -> None:
    write_mask(jobs[0].outputs["mask"], np.zeros((72, 68), bool))
    row = measure.row_of_done(jobs[0])
    empty = {"mean_width_px", "mean_width_diameters", "tortuosity", "fractal_dimension"}
    assert {name for name, text in row.items() if not text} == empty
    assert row["length_px"] == row["vessel_density"] == "0"


def test_rows_are_written_and_kept(jobs: list[Job], masks: Path, file: Path) -> None:
    rows = [measure.row_of_done(job) for job in jobs]
    measure.write_rows(file, rows)
    assert lines(file) == rows
    assert file.read_bytes().startswith(",".join(COLUMNS).encode() + b"\r\n")
    assert measure.earlier_rows(file, masks, overwrite=False) == {row["image"]: row for row in rows}
    assert pickle.loads(pickle.dumps(rows)) == rows, "rows travel between processes"
    assert [path.name for path in file.parent.iterdir() if path.name.startswith(".")] == []


def test_a_row_counts_only_with_the_mask_that_it_is_of(jobs: list[Job], masks: Path, file: Path) -> None:
    measure.write_rows(file, [measure.row_of_done(job) for job in jobs])
    write_mask(jobs[1].outputs["mask"], np.ones((72, 68), bool))
    jobs[2].outputs["mask"].unlink()
    assert set(measure.earlier_rows(file, masks, overwrite=False)) == {"a.png"}


def test_nothing_is_there_yet(masks: Path, file: Path) -> None:
    assert measure.earlier_rows(file, masks, overwrite=False) == {}
    measure.write_rows(file, [])
    assert measure.earlier_rows(file, masks, overwrite=False) == {}, "a run that was stopped before its first mask"


def test_a_table_of_other_masks_is_not_replaced(jobs: list[Job], masks: Path, file: Path) -> None:
    measure.write_rows(file, [measure.row_of_done(job) for job in jobs[:2]])
    with pytest.raises(OutputError, match=r"vessels\.csv exists already and none of its 2 rows is of a mask that is h"):
        measure.earlier_rows(file, masks / "b", overwrite=False)
    assert measure.earlier_rows(file, masks / "b", overwrite=True) == {}


@pytest.mark.parametrize("text", ["", "image,width\na.png,3\n", "\0\n", 'image"x\n', "\udcff".join(COLUMNS)])
def test_another_file_is_not_replaced(masks: Path, file: Path, text: str) -> None:
    file.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(OutputError, match=r"exists already and is no table of geseg; choose .* --overwrite$"):
        measure.earlier_rows(file, masks, overwrite=False)
    assert measure.earlier_rows(file, masks, overwrite=True) == {}


def test_a_table_that_was_cut_off_or_edited_is_none(jobs: list[Job], masks: Path, file: Path) -> None:
    measure.write_rows(file, [measure.row_of_done(job) for job in jobs])
    file.write_text(file.read_text()[:-10])
    assert set(measure.earlier_rows(file, masks, overwrite=False)) == {"a.png", "b/c.png"}, "the last row is not whole"
    file.write_text(file.read_text() + "\none,two\n")
    with pytest.raises(OutputError, match="is no table of geseg"):
        measure.earlier_rows(file, masks, overwrite=False)


@pytest.mark.parametrize("name", ["vessels", "photo.png", "vessels.csv.gz"])
def test_only_a_csv_can_be_named(masks: Path, tmp_path: Path, name: str) -> None:
    """So that no photograph is replaced, not even with --overwrite."""
    with pytest.raises(ConfigError, match=r"is not the name of a CSV file; expected one such as .*\.csv$"):
        measure.earlier_rows(tmp_path / name, masks, overwrite=True)


def test_a_folder_in_its_place(masks: Path, file: Path) -> None:
    file.mkdir()
    with pytest.raises(OutputError, match=r"vessels\.csv cannot be read: .*; choose another place with --measure"):
        measure.earlier_rows(file, masks, overwrite=True)
    with pytest.raises(OutputError, match="cannot write"):
        measure.write_rows(file, [])


def test_names_that_are_no_text(jobs: list[Job], file: Path) -> None:
    row: Row = dict(measure.row_of_done(jobs[0])) | {"image": "caf\udce9,\n=1.png"}
    measure.write_rows(file, [row])
    assert lines(file) == [row]
    assert b"caf\xe9" in file.read_bytes()


def test_a_mask_of_another_size(jobs: list[Job]) -> None:
    write_mask(jobs[0].outputs["mask"], np.ones((9, 9), bool))
    with pytest.raises(ImageError, match=r"masks/a\.png has another size than .*photos/a\.png; remove the mask"):
        measure.row_of_done(jobs[0])


def test_a_mask_that_is_gone(jobs: list[Job]) -> None:
    figures = morphometry.measure(np.ones((9, 9), bool), np.ones((9, 9), bool)).figures
    jobs[0].outputs["mask"].unlink()
    with pytest.raises(OutputError, match=r"a\.png cannot be read any more: .*; start again"):
        measure.row_of(jobs[0], figures)
    with pytest.raises(ImageError, match="does not exist"):
        measure.row_of_done(jobs[0])


def test_a_skeleton_is_a_picture_of_one_bit(jobs: list[Job], tmp_path: Path) -> None:
    mask, fov = read_mask(jobs[0].outputs["mask"]), find_fov(read_image(jobs[0].image))
    skeleton = morphometry.measure(mask, fov).skeleton
    path = tmp_path / "skeletons" / "a.png"
    measure.write_skeleton(path, skeleton, "header")
    with Image.open(path) as image:
        assert (image.mode, image.size) == ("1", (68, 72))
        np.testing.assert_array_equal(np.asarray(image), skeleton)
    np.testing.assert_array_equal(read_mask(path), skeleton)
    assert read_text(path) == "header"
    assert skeleton.any()
    assert not (skeleton & ~mask).any()
