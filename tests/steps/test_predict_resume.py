"""A mask says what it was made of, and what is done is not done again."""

import dataclasses
import hashlib
import json
import shutil
from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import geseg
from geseg.data.pngtext import read_text
from geseg.errors import OutputError
from geseg.files import sha256
from geseg.steps import pipeline
from geseg.steps.origin import Origin
from geseg.steps.predict import PredictConfig, PredictResult, run
from geseg.steps.predictreport import NAME


@pytest.fixture
def photos(draw_eye: Callable, tmp_path: Path) -> Path:  # type: ignore[type-arg]
    folder = tmp_path / "photos"
    folder.mkdir()
    for seed, name in enumerate(("a.png", "b.tif", "c.png")):
        Image.fromarray(draw_eye(seed, 60 + seed, 51)[0]).save(folder / name)
    return folder


@pytest.fixture
def predict(photos: Path, tmp_path: Path, run_folder: Path) -> Callable[..., PredictResult]:
    def start(**changes: object) -> PredictResult:
        config = {"images": photos, "out": tmp_path / "masks", "model": run_folder, "device": "cpu"} | changes
        return run(PredictConfig(**config))  # type: ignore[arg-type]

    return start


def state(folder: Path) -> dict[str, tuple[int, int, bytes]]:
    """Of every PNG: whether it is the same file, and its bytes."""
    paths = sorted(folder.rglob("*.png"))
    return {str(path): (path.stat().st_ino, path.stat().st_mtime_ns, path.read_bytes()) for path in paths}


Predict = Callable[..., PredictResult]
Stage = Callable[[Any], Any]


def test_a_mask_says_all_that_decides_it_and_nothing_else(
    predict: Predict, photos: Path, tmp_path: Path, run_folder: Path, auto_engine: Callable[[str], str]
) -> None:
    result = predict(probabilities=tmp_path / "p", overlay=tmp_path / "overlay")
    (text,) = {read_text(tmp_path / folder / "b.png") for folder in ("masks", "p", "overlay")}
    header = json.loads(text or "")
    trust = header.pop("trust")
    assert header == {
        "format": 1,
        "geseg_version": geseg.__version__,
        "input_sha256": hashlib.sha256((photos / "b.tif").read_bytes()).hexdigest(),
        "model_sha256": hashlib.sha256((run_folder / "model.safetensors").read_bytes()).hexdigest(),
        "engine": auto_engine("cpu"),
        "device": "cpu",
        "threshold": result.threshold,
        "turns": 1,
    }
    assert set(trust) == {"fov", "fov_share", "scale", "vessel_share", "entropy_bits", "review"}


def test_the_torch_engine_names_the_same_weights(predict: Predict, tmp_path: Path) -> None:
    predict(engine="onnx")
    predict(out=tmp_path / "torch", engine="torch")
    onnx, torch = (json.loads(read_text(tmp_path / name / "a.png") or "") for name in ("masks", "torch"))
    assert onnx["model_sha256"] == torch["model_sha256"]
    assert (onnx["engine"], torch["engine"]) == ("onnx", "torch")


def test_a_repeated_command_does_nothing_and_says_so(predict: Predict, tmp_path: Path) -> None:
    first = predict()
    before = state(tmp_path / "masks")
    again = predict()
    assert (first.written, first.done_before, again.written, again.done_before) == (3, 0, 0, 3)
    assert state(tmp_path / "masks") == before


def test_the_same_command_makes_the_same_bytes(predict: Predict, tmp_path: Path, photos: Path) -> None:
    photos.rename(tmp_path / "moved")
    shutil.copytree(tmp_path / "moved", photos)
    predict(out=tmp_path / "one", probabilities=tmp_path / "one-p")
    predict(out=tmp_path / "two", probabilities=tmp_path / "two-p", images=tmp_path / "moved")
    for kind in ("", "-p"):
        one, two = ([data for *_, data in state(tmp_path / (name + kind)).values()] for name in ("one", "two"))
        assert one == two
        assert len(one) == 3


def test_a_photograph_that_lacks_an_output_is_done_again(predict: Predict, tmp_path: Path) -> None:
    predict()
    before = state(tmp_path / "masks")
    result = predict(probabilities=tmp_path / "p")
    assert (result.written, result.done_before) == (3, 0)
    assert [data for *_, data in state(tmp_path / "masks").values()] == [data for *_, data in before.values()]
    (tmp_path / "p" / "b.png").unlink()
    (tmp_path / "masks" / "c.png").unlink()
    kept = state(tmp_path / "masks")[str(tmp_path / "masks" / "a.png")]
    result = predict(probabilities=tmp_path / "p")
    assert (result.written, result.done_before) == (2, 1)
    assert state(tmp_path / "masks")[str(tmp_path / "masks" / "a.png")] == kept
    assert len(state(tmp_path / "p")) == len(state(tmp_path / "masks")) == 3


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"threshold": 0.123}, r"has threshold 0\.\d+, not 0\.123; choose another place"),
        ({"engine": "torch"}, r"has engine (native|onnx), not torch; go on with --engine \1, choose another place"),
    ],
)
def test_a_mask_of_other_options_is_an_error_that_names_overwrite(
    predict: Predict, tmp_path: Path, changes: dict[str, object], said: str
) -> None:
    predict()
    (tmp_path / "masks" / "a.png").unlink()
    before = state(tmp_path / "masks")
    with pytest.raises(OutputError, match=rf"b\.png exists already and {said} .* with --overwrite$"):
        predict(**changes)
    assert state(tmp_path / "masks") == before, "told before any work started"
    assert predict(**changes, overwrite=True).written == 3
    assert predict(**changes).done_before == 3


def test_a_mask_of_other_weights(predict: Predict, tmp_path: Path, untrained: Callable) -> None:  # type: ignore[type-arg]
    from geseg.model import modelfile

    header = modelfile.ModelHeader(group="d4", widths=(2, 2, 3), normalisation="", threshold=0.5)
    modelfile.save(untrained("d4").float(), header, tmp_path / "other.safetensors")
    untrained("d4").double()
    predict(engine="torch", threshold=0.5)
    with pytest.raises(OutputError, match=r"a\.png exists already and has model_sha256 \w{64}, not \w{64}; choose"):
        predict(model=tmp_path / "other.safetensors", threshold=0.5)


def test_a_mask_of_another_version(predict: Predict, monkeypatch: pytest.MonkeyPatch) -> None:
    predict()
    of = Origin.of
    monkeypatch.setattr(Origin, "of", lambda *given: dataclasses.replace(of(*given), geseg_version="9.9"))
    with pytest.raises(OutputError, match=r"has geseg_version \S+, not 9\.9; choose"):
        predict()


def test_a_photograph_that_changed(predict: Predict, photos: Path, tmp_path: Path) -> None:
    predict()
    before = state(tmp_path / "masks")
    shutil.copy(photos / "c.png", photos / "a.png")
    with pytest.raises(OutputError, match=r"a\.png exists already and is of another photograph, or of an older state"):
        predict()
    assert state(tmp_path / "masks") == before
    result = predict(overwrite=True)
    assert (result.written, result.done_before) == (1, 2), "what is of the same photograph, model and options is kept"


@pytest.mark.parametrize("data", [b"", b"no image", None])
def test_what_geseg_did_not_write_whole_is_never_taken_for_a_mask(
    predict: Predict, tmp_path: Path, data: bytes | None
) -> None:
    predict()
    path = tmp_path / "masks" / "b.png"
    path.write_bytes(path.read_bytes()[:-1] if data is None else data)
    with pytest.raises(OutputError, match=r"b\.png exists already and was not written by geseg, or is cut off; choose"):
        predict()
    assert predict(overwrite=True).written == 1


def test_the_report_is_the_same_from_masks_alone(predict: Predict, tmp_path: Path) -> None:
    predict()
    report = tmp_path / "masks" / NAME
    first = json.loads(report.read_text())
    report.unlink()
    predict()
    again = json.loads(report.read_text())
    assert all(row["seconds"] > 0 for row in first["images"])
    assert all(row["seconds"] is None for row in again["images"])
    for row in (*first["images"], *again["images"]):
        del row["seconds"]
    assert again == first


def test_a_report_of_another_program_is_not_replaced(predict: Predict, tmp_path: Path) -> None:
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / NAME).write_text('{"of": "a laboratory"}')
    with pytest.raises(OutputError, match=r"report\.json exists already and is no report of geseg; .*--overwrite"):
        predict()
    assert [path.name for path in (tmp_path / "masks").iterdir()] == [NAME]
    predict(overwrite=True)
    assert json.loads((tmp_path / "masks" / NAME).read_text())["done"] == 3


def test_photographs_that_leave_the_report_are_told(predict: Predict, tmp_path: Path, photos: Path) -> None:
    """As when a second folder is segmented into the masks of a first."""
    assert predict().notes == ()
    shutil.copytree(photos, tmp_path / "second")
    (tmp_path / "second" / "b.tif").rename(tmp_path / "second" / "e.tif")
    (note,) = predict(images=tmp_path / "second").notes
    report = tmp_path / "masks" / NAME
    words = f"{report} was about 1 photograph more, first b.tif: now it is about these alone, and no mask is gone; "
    assert note == words + "give each folder of photographs an -o of its own"
    assert json.loads(report.read_text())["notes"] == [note]
    assert predict(images=tmp_path / "second").notes == ()
    report.write_text(report.read_text().replace('"images": [', '"images": [['))
    assert predict().notes == (), "a report that somebody has damaged"


def test_leftovers_of_killed_runs_are_removed(predict: Predict, tmp_path: Path) -> None:
    (tmp_path / "masks").mkdir()
    for name in (".a.png.999999999.partial", f".{NAME}.999999999.partial", ".other.png.999999999.partial"):
        (tmp_path / "masks" / name).write_text("half")
    predict()
    assert [path.name for path in (tmp_path / "masks").glob(".*")] == [".other.png.999999999.partial"]


def test_a_step_that_is_asked_to_stop_finishes_the_photograph(
    predict: Predict, photos: Path, tmp_path: Path, run_folder: Path
) -> None:
    config, asked = PredictConfig(images=photos, out=tmp_path / "masks", model=run_folder, device="cpu"), []
    (tmp_path / "masks").mkdir()

    def stop() -> bool:
        """Says so when it is asked before the third photograph; it was before, to look for what is done."""
        asked.append(0)
        return len(asked) > 3 + 2

    result = run(config, stop=stop)
    assert (result.written, result.waiting) == (2, 1)
    rows = json.loads((tmp_path / "masks" / NAME).read_text())["images"]
    assert [(row["image"], row["status"]) for row in rows] == [
        ("a.png", "done"),
        ("b.tif", "done"),
        ("c.png", "waiting"),
    ]
    assert (predict().written, predict().done_before) == (1, 3)


def test_a_stop_while_looking_back_leaves_the_report(
    predict: Predict, photos: Path, tmp_path: Path, run_folder: Path
) -> None:
    predict()
    before = (tmp_path / "masks" / NAME).read_bytes()
    config = PredictConfig(images=photos, out=tmp_path / "masks", model=run_folder, device="cpu")
    result = run(config, stop=lambda: True)
    assert (result.written, result.waiting) == (0, 3)
    assert (tmp_path / "masks" / NAME).read_bytes() == before


def test_work_that_overlaps_makes_the_same_bytes_as_one_photograph_after_the_other(
    predict: Predict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predict(out=tmp_path / "overlap", probabilities=tmp_path / "overlap-p", overlay=tmp_path / "overlap-o")

    def one_by_one(
        items: Iterable[Any], before: Stage, during: Stage, after: Stage, *_: object
    ) -> Generator[Any, None, None]:
        for item in items:
            yield after(during(before(item)))

    monkeypatch.setattr(pipeline, "overlap", one_by_one)
    predict(out=tmp_path / "alone", probabilities=tmp_path / "alone-p", overlay=tmp_path / "alone-o")
    for kind in ("", "-p", "-o"):
        overlapping, alone = (
            [data for *_, data in state(tmp_path / (name + kind)).values()] for name in ("overlap", "alone")
        )
        assert overlapping == alone
        assert len(alone) == 3


def test_a_mask_that_has_come_to_be_meanwhile_stays(
    predict: Predict,
    photos: Path,
    tmp_path: Path,
    draw_eye: Callable,  # type: ignore[type-arg]
) -> None:
    """Another command with other photographs of the same names, and the same -o."""
    others = tmp_path / "others"
    others.mkdir()
    Image.fromarray(draw_eye(9, 60, 51)[0]).save(others / "b.png")
    config = PredictConfig(images=photos, out=tmp_path / "masks", model=predict().model, device="cpu", overwrite=False)
    shutil.rmtree(config.out)
    begun = list[int]()

    def stop() -> bool:
        begun.append(0)
        if len(begun) == 2:
            predict(images=others)
        return False

    with pytest.raises(OutputError, match=r"b\.png exists already and is of another photograph"):
        run(config, stop=stop)
    assert json.loads(read_text(tmp_path / "masks" / "b.png") or "")["input_sha256"] == sha256(others / "b.png")
