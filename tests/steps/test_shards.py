"""Parts of a folder for job arrays: together they are all of it, no two share a photograph, and they cost the same."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from geseg.data import drawn
from geseg.data.images import read_image
from geseg.errors import ConfigError
from geseg.steps.jobs import plan
from geseg.steps.predict import PredictConfig, PredictResult, run
from geseg.steps.shards import Shard, choose, share

OF = 16
GOOD, BAD = 19, 4


@given(sizes=st.lists(st.integers(0, 10**8), max_size=60), parts=st.integers(1, 20))
def test_parts_are_balanced(sizes: list[int], parts: int) -> None:
    chosen = share(sizes, parts)
    assert len(chosen) == len(sizes)
    totals = np.bincount(chosen, weights=sizes, minlength=parts) if sizes else np.zeros(parts)
    assert len(totals) == parts
    least_possible = max([sum(sizes) / parts, *sizes])
    assert totals.max() <= 2 * least_possible
    assert totals.max() - totals.min() <= max(sizes, default=0), "no photograph could be moved to a part with less"
    assert share(sizes, parts) == chosen


def test_by_hand() -> None:
    assert share([5, 9, 4, 4, 2], 2) == [1, 0, 1, 0, 1]
    assert share([3, 3, 3, 3], 4) == [0, 1, 2, 3], "of equal ones the first goes to the first"


@pytest.mark.parametrize("text", ["", "3", "0/4", "5/4", "-1/4", "1/0", "1.5/4", "1/4 ", "a/b", "1/4/7", "²/4"])
def test_what_is_no_shard(text: str) -> None:
    with pytest.raises(ConfigError, match=r"is not known; expected K/N with K from 1 to N, such as 3/16$"):
        Shard.parse(text)


def test_a_shard_reads_as_it_is_written() -> None:
    assert str(Shard.parse("3/16")) == "3/16"
    assert Shard.parse("03/16") == Shard(3, 16)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn photographs of very different sizes and kinds, bad files among them."""
    folder = tmp_path_factory.mktemp("shards") / "photos"
    (folder / "deep").mkdir(parents=True)
    for number in range(GOOD):
        image = Image.fromarray(drawn.draw(number % 5, 40 + 3 * number, 60 + number).image)
        image.save(folder / ("deep" if number % 3 else "") / f"{number:02}.{('png', 'tif', 'jpg', 'ppm')[number % 4]}")
    for number in range(BAD):
        (folder / f"bad{number}.png").write_bytes((folder / "00.png").read_bytes()[: 40 * number])
    return folder


@pytest.fixture
def predict(photos: Path, tmp_path: Path, run_folder: Path) -> Callable[..., PredictResult]:
    def start(**changes: object) -> PredictResult:
        config = {"images": photos, "out": tmp_path / "masks", "model": run_folder, "device": "cpu"}
        return run(PredictConfig(**config | changes, recursive=True))  # type: ignore[arg-type]

    return start


def report(path: Path) -> dict[str, object]:
    return json.loads(path.read_text())  # type: ignore[no-any-return]


def test_shards_do_all_of_a_folder_and_a_run_without_shards_merges_the_reports(
    predict: Callable[..., PredictResult], tmp_path: Path
) -> None:
    masks, seen = tmp_path / "masks", list[str]()
    for number in range(1, OF + 1):
        before = {path: path.stat().st_mtime_ns for path in masks.rglob("*.png")}
        result = predict(shard=Shard(number, OF))
        assert result.report == masks / f"report-{number}-of-{OF}.json"
        part = report(result.report)
        assert part["shard"] == f"{number}/{OF}"
        assert (part["done"], part["failed"], part["waiting"]) == (result.written, len(result.failures), 0)
        seen += [row["image"] for row in part["images"]]  # type: ignore[attr-defined]
        assert {path: path.stat().st_mtime_ns for path in before} == before, "disjoint: no mask is written twice"
    assert len(seen) == len(set(seen)) == GOOD + BAD
    assert not (masks / "report.json").exists()
    made = {path.relative_to(masks): path.read_bytes() for path in masks.rglob("*.png")}
    assert len(made) == GOOD

    merged = predict()
    assert (merged.written, merged.done_before, len(merged.failures)) == (0, GOOD, BAD)
    whole = report(masks / "report.json")
    assert (whole["shard"], whole["done"], whole["failed"]) == (None, GOOD, BAD)
    assert sorted(seen) == sorted(row["image"] for row in whole["images"])  # type: ignore[attr-defined]

    once = tmp_path / "at once"
    assert predict(out=once).written == GOOD
    assert {path.relative_to(once): path.read_bytes() for path in once.rglob("*.png")} == made


def test_shards_have_about_as_many_pixels(photos: Path, tmp_path: Path) -> None:
    jobs, _ = plan(photos, True, {"mask": tmp_path / "masks"})
    pixels = []
    for number in range(1, 5):
        shapes = [read_image(job.image).shape for job in choose(jobs, Shard(number, 4)) if "bad" not in job.name]
        pixels.append(sum(height * width for height, width, _ in shapes))
    assert max(pixels) < 1.2 * min(pixels), pixels


def test_a_shard_is_the_same_whoever_asks(photos: Path, tmp_path: Path) -> None:
    shutil.copytree(photos, tmp_path / "copy")
    for number in range(1, 4):
        parts = [
            [job.name for job in choose(plan(folder, True, {"mask": tmp_path / "m"})[0], Shard(number, 3))]
            for folder in (photos, tmp_path / "copy")
        ]
        assert parts[0] == parts[1]
        assert parts[0]


def test_a_shard_without_photographs(predict: Callable[..., PredictResult], photos: Path, tmp_path: Path) -> None:
    result = predict(images=photos / "00.png", shard=Shard(2, 2))
    assert (result.written, result.failures) == (0, ())
    assert report(result.report)["images"] == []


def test_a_shard_leaves_what_others_are_writing(predict: Callable[..., PredictResult], tmp_path: Path) -> None:
    """A process on another machine is none of this one; its partial files must stay."""
    (tmp_path / "masks").mkdir()
    predict(shard=Shard(1, 2))
    rows = report(tmp_path / "masks" / "report-1-of-2.json")["images"]
    mine = {Path(row["image"]).stem for row in rows}  # type: ignore[attr-defined]
    stem = next(f"{number:02}" for number in range(0, GOOD, 3) if f"{number:02}" not in mine)
    partial = tmp_path / "masks" / f".{stem}.png.999999999.partial"
    partial.write_text("half")
    predict(shard=Shard(1, 2))
    assert partial.exists()
    predict(shard=Shard(2, 2))
    assert not partial.exists()
