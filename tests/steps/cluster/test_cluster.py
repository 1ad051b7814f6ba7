"""Predict over a real Ray cluster of two workers on this machine: what they make is what one process makes."""

import json
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from typer.testing import CliRunner

from geseg.cli.app import app
from geseg.errors import ConfigError, ModelFileError, ProcessError
from geseg.progress import Stop, Track
from geseg.steps import cluster, clusterstaff
from geseg.steps import predict as predict_step
from geseg.steps.clusterstaff import Staff
from geseg.steps.clusterworker import Ready, Worker
from geseg.steps.predict import PredictConfig, PredictResult

T = TypeVar("T")
PHOTOGRAPHS = 18
Predict = Callable[..., PredictResult]
Report = Callable[[Path], dict[str, Any]]
Contents = Callable[[Path], dict[str, bytes]]


def test_it_makes_the_bytes_of_one_process(
    predict: Predict,
    report: Report,
    contents: Contents,
    photos: Path,
    tmp_path: Path,
    address: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every output, with a photograph that is none; names are relative, as the workers are in the same folder."""
    made, results = [], []
    for name, ray in (("one", None), ("many", address)):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        Path("photos").symlink_to(photos)
        folders = {kind: Path(kind) for kind in ("probabilities", "overlay", "skeleton")}
        more = {"measure": Path("vessels.csv"), "threshold": 0.4, "turns": 2, "ray": ray} | folders
        results.append(predict(images=Path("photos"), out=Path("masks"), **more))
        assert report(Path("masks"))["images"][7]["status"] == "failed"
        Path("masks/report.json").write_text(json.dumps(report(Path("masks"))))
        Path("photos").unlink()
        made.append(contents(Path()))
    assert made[0] == made[1]
    assert len(made[0]) == 4 * (PHOTOGRAPHS - 1) + 2
    one, many = results
    assert one.failures == many.failures
    assert (many.written, many.model, many.threshold) == (PHOTOGRAPHS - 1, one.model, 0.4)
    assert many.device == f"{one.device}, 2 workers of Ray"


@pytest.mark.slow
def test_two_workers_are_1_7_times_as_fast_as_one(
    predict: Predict, tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Start-up apart; nets that wait need no core of their own, which two threads of one core would share."""
    ray = pytest.importorskip("ray")
    monkeypatch.setattr(clusterstaff, "Worker", a_worker_that_waits(0.5))
    first, took = cluster._first, []

    def all_of_them(staff: Staff, stop: Stop, track: Track) -> Ready:
        ready = first(staff, stop, track)
        while len(staff.idle) < staff.size:
            assert not list(staff.listen())
        return ready

    def track(items: Iterable[T], label: str, total: int | None = None) -> Iterator[T]:
        start = time.monotonic()
        yield from items
        took.append(time.monotonic() - start)

    monkeypatch.setattr(cluster, "_first", all_of_them)
    for workers in (1, 2):
        monkeypatch.setattr(ray, "cluster_resources", lambda workers=workers: {"CPU": workers})
        predict(out=tmp_path / str(workers), ray=address, track=track)
    one, two = took
    assert one > (PHOTOGRAPHS - 1) * 0.5
    assert one / two >= 1.7, f"{one:.2f} s with one worker, {two:.2f} s with two"


def a_worker_that_waits(seconds: float) -> type[Worker]:
    class Waiting(Worker):
        def do(self, *args: Any) -> Any:  # noqa: ANN401
            from geseg.steps import stages

            segment = stages.segment

            def waiting(*args: Any) -> Any:  # noqa: ANN401
                time.sleep(seconds)
                return segment(*args)

            stages.segment = waiting
            try:
                return super().do(*args)
            finally:
                stages.segment = segment

    return Waiting


def test_what_keeps_workers_from_beginning_is_told_as_it_is(predict: Predict, address: str, tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"nowhere does not exist; expected a run folder"):
        predict(ray=address, model=tmp_path / "nowhere")
    with pytest.raises(ProcessError, match=r"^the Ray cluster has 2 CPUs and 0 GPUs, none to work with; add machines$"):
        predict(ray=address, device="cuda")


def test_what_ray_cannot_do_is_told_before_it_starts(predict: Predict) -> None:
    with pytest.raises(ConfigError, match=r"device is cuda:1, but Ray hands out the GPUs; use --device cuda, auto or"):
        predict(ray="local", device="cuda:1")


@pytest.mark.parametrize(
    ("words", "ray"),
    [
        (["eyes", "-o", "m", "--ray"], "local"),
        (["eyes", "--ray", "-o", "m"], "local"),
        (["eyes", "--ray", "auto", "-o", "m"], "auto"),
        (["eyes", "-o", "m", "--ray", "head:6379"], "head:6379"),
        (["eyes", "-o", "m", "--ray=head:6379"], "head:6379"),
        (["eyes", "-o", "m"], None),
    ],
)
def test_the_address_may_be_left_out(words: list[str], ray: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    configs: list[PredictConfig] = []

    def note(config: PredictConfig, **_: object) -> None:
        configs.append(config)
        raise ConfigError("enough")

    monkeypatch.setattr(predict_step, "run", note)
    assert CliRunner().invoke(app, ["predict", *words]).exit_code == 2
    assert [(config.ray, config.images, config.out) for config in configs] == [(ray, Path("eyes"), Path("m"))]
