"""Figures and centre lines of the vessels beside the masks: a row for every photograph that is done, by any run."""

import csv
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from geseg.data import images
from geseg.data.fov import find_fov
from geseg.data.pngtext import read_text
from geseg.errors import ConfigError, OutputError
from geseg.metrics import morphometry
from geseg.steps import measure, stages, vesseltable
from geseg.steps import predict as predict_step
from geseg.steps.clusterworker import Order, Worker
from geseg.steps.jobs import Job, plan
from geseg.steps.predict import PredictConfig, PredictResult, run
from geseg.steps.segmenting import Segmenter
from geseg.steps.shards import Shard

Predict = Callable[..., PredictResult]


@pytest.fixture
def photos(draw_eye: Callable, tmp_path: Path) -> Path:  # type: ignore[type-arg]
    folder = tmp_path / "photos"
    folder.mkdir()
    for seed, name in enumerate(("a.png", "b.tif", "c.png", "d.jpg")):
        Image.fromarray(draw_eye(seed, 60 + seed, 51)[0]).save(folder / name)
    (folder / "bad.png").write_text("no image")
    return folder


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return tmp_path / "vessels.csv"


@pytest.fixture
def predict(photos: Path, tmp_path: Path, run_folder: Path, table: Path) -> Predict:
    def start(**changes: object) -> PredictResult:
        config = {"images": photos, "out": tmp_path / "masks", "model": run_folder, "device": "cpu", "measure": table}
        return run(PredictConfig(**config | changes))  # type: ignore[arg-type]

    return start


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_rows_and_centre_lines_are_those_of_the_masks(
    predict: Predict, photos: Path, tmp_path: Path, table: Path
) -> None:
    predict(skeleton=tmp_path / "lines", threshold=0.3)
    assert [row["image"] for row in rows(table)] == ["a.png", "b.tif", "c.png", "d.jpg"], "none of what failed"
    for row in rows(table):
        path = (tmp_path / "masks" / row["image"]).with_suffix(".png")
        mask, view = images.read_mask(path), find_fov(images.read_image(photos / row["image"]))
        expected = morphometry.measure(mask, view)
        assert float(row["vessel_area_px"]) == mask.sum()
        assert float(row["length_px"]) == pytest.approx(expected.figures.length, rel=1e-5)
        with Image.open(tmp_path / "lines" / path.name) as lines:
            assert lines.mode == "1"
            np.testing.assert_array_equal(np.asarray(lines), expected.skeleton)
        assert read_text(tmp_path / "lines" / path.name) == read_text(path)
    assert sum(float(row["length_px"]) for row in rows(table)) > 20


def test_on_many_cores_several_are_read_and_written_at_once_and_no_byte_changes(
    predict: Predict, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(7):
        shutil.copy(photos / "a.png", photos / f"copy{number}.png")
    written, reading = [], stages.read
    for cores, readers in ((1, 1), (8, 4)):
        all_here = threading.Barrier(readers)

        def read(path: Path, segmenter: Segmenter, all_here: threading.Barrier = all_here) -> stages.Photograph:
            all_here.wait(30)
            return reading(path, segmenter)

        monkeypatch.setattr(stages, "read", read)
        monkeypatch.setattr(predict_step, "count_cores", lambda cores=cores: cores)
        out, table = tmp_path / f"{cores}", tmp_path / f"{cores}.csv"
        result = predict(out=out, measure=table)
        assert (result.written, len(result.failures)) == (11, 1), "twelve come in fours"
        written.append([path.read_bytes() for path in (*sorted(out.glob("*.png")), table)])
    assert len(written[0]) == 12
    assert written[0] == written[1]


def test_a_repeated_command_keeps_the_rows_and_a_lost_table_is_made_again(
    predict: Predict, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predict()
    whole = table.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(measure, "row_of_done", lambda job: pytest.fail("measured again"))
        assert predict().done_before == 4
    assert table.read_bytes() == whole
    table.unlink()
    assert predict().written == 0
    assert table.read_bytes() == whole
    (tmp_path / "masks" / "b.png").unlink()
    assert predict().written == 1
    assert table.read_bytes() == whole


def test_masks_that_exist_are_measured_several_at_once_and_alone_where_memory_is_short(
    predict: Predict, table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predict()
    whole = table.read_bytes()
    table.unlink()
    measuring, together, beside = measure.row_of_done, threading.Barrier(2), list[str]()

    def work(job: Job) -> measure.Row:
        if threading.current_thread() is not threading.main_thread():
            beside.append(job.name)
            together.wait(30)
            if job.name == "c.png":
                raise MemoryError
        return measuring(job)

    monkeypatch.setattr(measure, "row_of_done", work)
    monkeypatch.setattr(predict_step, "count_cores", lambda: 2)
    assert predict().done_before == len(beside) == 4
    assert table.read_bytes() == whole


def test_a_row_stays_as_long_as_its_mask(predict: Predict, photos: Path, table: Path, tmp_path: Path) -> None:
    """Without the photograph it could not be made again."""
    predict()
    whole = rows(table)
    (photos / "b.tif").rename(tmp_path / "b.tif")
    predict()
    assert rows(table) == [*(row for row in whole if row["image"] != "b.tif"), whole[1]]
    (tmp_path / "masks" / "b.png").unlink()
    predict()
    assert [row["image"] for row in rows(table)] == ["a.png", "c.png", "d.jpg"]


def test_each_shard_has_its_table_and_a_run_without_shards_takes_their_rows(
    predict: Predict, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in (1, 2):
        predict(shard=Shard(number, 2))
    assert not table.exists()
    parts = [tmp_path / f"vessels-{number}-of-2.csv" for number in (1, 2)]
    with monkeypatch.context() as patch:
        patch.setattr(measure, "row_of_done", lambda job: pytest.fail("measured again"))
        predict()
    assert sorted(row["image"] for part in parts for row in rows(part)) == [row["image"] for row in rows(table)]
    assert len(rows(table)) == 4


def test_a_long_run_saves_its_table_now_and_then(
    predict: Predict, table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that is killed then has lost a minute of measuring at most."""
    monkeypatch.setattr(vesseltable, "SAVE_SECONDS", 0.0)
    monkeypatch.setattr(predict_step, "count_cores", lambda: 1)  # then one is written after the other
    seen = list[int]()
    write_mask = images.write_mask

    def look(*arguments: object) -> None:
        seen.append(len(rows(table)) if table.exists() else 0)
        write_mask(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(images, "write_mask", look)
    predict()
    assert seen == [0, 1, 2, 3]


def test_a_stop_while_looking_back_keeps_what_was_measured(
    predict: Predict, photos: Path, tmp_path: Path, run_folder: Path, table: Path
) -> None:
    predict()
    table.unlink()
    config = PredictConfig(images=photos, out=tmp_path / "masks", model=run_folder, measure=table, device="cpu")
    asked = list[int]()

    def stop() -> bool:
        asked.append(0)
        return len(asked) > 2

    result = run(config, stop=stop)
    assert (result.waiting, result.report) == (3, None)
    assert [row["image"] for row in rows(table)] == ["a.png", "b.tif"]


def test_what_cannot_be_measured_is_told_each_time_and_stops_no_other(
    predict: Predict, photos: Path, table: Path, tmp_path: Path, run_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its mask is there, so that the next run has nothing to do but to measure; so has a second worker of Ray."""
    measured = morphometry.measure

    def short(mask: np.ndarray, view: np.ndarray) -> object:
        if len(mask) == 62:
            raise MemoryError
        return measured(mask, view)

    monkeypatch.setattr(morphometry, "measure", short)
    said = f"{photos / 'c.png'} cannot be segmented: it needs more memory than there is"
    first, again = predict(), predict()
    assert (first.written, again.done_before) == (3, 3)
    assert first.failures[1] == again.failures[1] == said
    assert [row["image"] for row in rows(table)] == ["a.png", "b.tif", "d.jpg"]
    jobs = plan(photos, False, {"mask": tmp_path / "masks"})[0]
    order = Order(
        folder=str(tmp_path),
        model=run_folder,
        engine="auto",
        device="cpu",
        threshold=None,
        turns=1,
        overwrite=False,
        measure=True,
    )
    monkeypatch.chdir(tmp_path)
    worker = Worker(order)
    worker.begin(1)
    done = worker.do([job for job in jobs if job.name != "bad.png"], again=True)
    assert {row.image: row.reason for row in done.rows} == {"a.png": None, "b.tif": None, "c.png": said, "d.jpg": None}
    assert {job.name for job, _ in done.figures} == {"a.png", "b.tif", "d.jpg"}


def test_a_mask_that_was_replaced_and_not_measured_has_no_row(
    predict: Predict, table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predict(threshold=0.3)

    def broken(*_: object) -> None:
        raise ZeroDivisionError("of all things")

    monkeypatch.setattr(morphometry, "measure", broken)
    assert predict(threshold=0.4, overwrite=True).written == 0
    assert rows(table) == []


@pytest.mark.parametrize("lost", ["vessels.csv", "masks/report.json"])
def test_a_table_that_cannot_be_written_keeps_no_report_from_it_nor_the_other_way_round(
    photos: Path, tmp_path: Path, run_folder: Path, table: Path, lost: str
) -> None:
    config = PredictConfig(images=photos, out=tmp_path / "masks", model=run_folder, measure=table, device="cpu")

    def stop() -> bool:
        (tmp_path / lost).mkdir(parents=True, exist_ok=True)
        return False

    with pytest.raises(OutputError, match=lost):
        run(config, stop=stop)
    (other,) = {table, config.report} - {tmp_path / lost}
    assert other.is_file()


@pytest.mark.parametrize("out", ["masks", "others"])
def test_a_table_that_has_come_to_be_meanwhile_is_treated_as_an_earlier_one(
    predict: Predict, photos: Path, tmp_path: Path, run_folder: Path, table: Path, out: str
) -> None:
    """Another command writes it, with a photograph of another name; so it is with the report."""
    (tmp_path / "second").mkdir()
    shutil.copy(photos / "a.png", tmp_path / "second" / "e.png")
    config = PredictConfig(images=photos, out=tmp_path / "masks", model=run_folder, measure=table, device="cpu")

    def stop() -> bool:
        if not table.exists():
            assert predict(images=tmp_path / "second", out=tmp_path / out).written == 1
        return False

    if out == "others":
        with pytest.raises(
            OutputError, match=r"exists already and none of its 1 rows is of a mask that is here; .*--m"
        ):
            run(config, stop=stop)
        assert [row["image"] for row in rows(table)] == ["e.png"]
    else:
        (note,) = run(config, stop=stop).notes
        assert note.startswith(f"{config.report} was about 1 photograph more, first e.png: now it is about these alone")
        assert [row["image"] for row in rows(table)] == ["a.png", "b.tif", "c.png", "d.jpg", "e.png"]


def test_what_is_refused_before_any_work(predict: Predict, table: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"is not the name of a CSV file"):
        predict(measure=tmp_path / "vessels.png")
    with pytest.raises(
        ConfigError, match=r"masks, probabilities, overlays and skeletons have the same names; give each"
    ):
        predict(skeleton=tmp_path / "masks")
    with pytest.raises(
        OutputError, match=r"^cannot write /proc/vessels\.csv: .*; choose another place with --measure$"
    ):
        predict(measure=Path("/proc/vessels.csv"))
    table.write_text("of a laboratory")
    with pytest.raises(OutputError, match=r"vessels\.csv exists already and is no table of geseg; .* --overwrite"):
        predict()
    assert not (tmp_path / "masks").exists()
    assert predict(overwrite=True).written == 4
    assert len(rows(table)) == 4
