"""What goes wrong on a real Ray cluster: workers that die, places that cannot be written, signals."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from geseg.errors import OutputError
from geseg.steps import cluster, clusterstaff
from geseg.steps.clusterworker import Worker
from geseg.steps.predict import PredictResult

PHOTOGRAPHS = 18
BLOCK = 2
Predict = Callable[..., PredictResult]
Report = Callable[[Path], dict[str, Any]]
Contents = Callable[[Path], dict[str, bytes]]


def a_worker_that_dies(folder: Path, over: str, times: int) -> type[Worker]:
    """It is killed when it has begun to write that photograph, and tells what has come to the net."""

    class Dying(Worker):  # a class inside of a function travels to the worker as it is
        def do(self, *args: Any) -> Any:  # noqa: ANN401
            from geseg.steps import stages

            segment, write = stages.segment, stages.write

            def telling(photograph: Any, segmenter: Any) -> Any:  # noqa: ANN401
                (folder / f"{photograph.sha256}.{time.monotonic_ns()}").touch()
                return segment(photograph, segmenter)

            def dying(job: Any, *rest: Any) -> None:  # noqa: ANN401
                deaths = len(list(folder.glob("death*")))
                if job.name == over and deaths < times:
                    (folder / f"death{deaths}").touch()
                    mask = job.outputs["mask"]
                    mask.with_name(f".{mask.name}.{os.getpid()}.partial").write_bytes(b"half of it")
                    os.kill(os.getpid(), signal.SIGKILL)
                write(job, *rest)

            stages.segment, stages.write = telling, dying
            try:
                return super().do(*args)
            finally:
                stages.segment, stages.write = segment, write

    return Dying


@pytest.mark.parametrize("times", [1, 3])
def test_a_killed_worker_loses_nothing_and_repeats_at_most_its_block(
    predict: Predict,
    report: Report,
    contents: Contents,
    photos: Path,
    tmp_path: Path,
    address: str,
    monkeypatch: pytest.MonkeyPatch,
    times: int,
) -> None:
    """One that dies over the same photograph again and again is given up; the others are done all the same."""
    told = tmp_path / "told"
    told.mkdir()
    monkeypatch.setattr(clusterstaff, "Worker", a_worker_that_dies(told, "03.png", times))
    result = predict(ray=address, measure=tmp_path / "vessels.csv")
    assert len(list(told.glob("death*"))) == times
    predict(out=tmp_path / "one", measure=tmp_path / "one.csv")
    given_up = {"03.png"} if times == 3 else set()
    assert result.written == PHOTOGRAPHS - 1 - len(given_up)
    expected = {name: data for name, data in contents(tmp_path / "one").items() if name not in given_up}
    made = contents(tmp_path / "masks")
    del made["report.json"], expected["report.json"]
    assert made == expected, "and nothing half-written lies about"
    lines = (tmp_path / "one.csv").read_text().splitlines()
    assert (tmp_path / "vessels.csv").read_text().splitlines() == [x for x in lines if x[:6] not in given_up]
    segmented = len([path for path in told.iterdir() if not path.name.startswith("death")])
    assert segmented <= PHOTOGRAPHS - 1 + BLOCK * times
    if times == 1:
        assert report(tmp_path / "masks") == report(tmp_path / "one")
    else:
        assert result.failures[0] == (
            f"{photos / '03.png'} cannot be segmented: 3 workers of Ray died over it; it may need more memory"
        )


def test_a_worker_that_cannot_write_ends_the_run_as_it_would_end_alone(
    predict: Predict, report: Report, photos: Path, tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the block has written before is in the report."""
    monkeypatch.setattr(cluster, "BLOCKS_PER_WORKER", 1)  # the last of four
    (tmp_path / "photos" / "deep").mkdir(parents=True)
    for number, name in enumerate(["0", "1", "2", "3", "4", "5", "6", "deep/7"]):
        (tmp_path / "photos" / f"{name}.png").write_bytes((photos / f"{number:02}.png").read_bytes())
    (tmp_path / "photos" / "deep" / "7.png").write_bytes((photos / "08.png").read_bytes())
    (tmp_path / "overlay").mkdir()
    (tmp_path / "overlay" / "deep").touch()
    said = []
    for out, ray in ((tmp_path / "masks", address), (tmp_path / "one", None)):
        with pytest.raises(OutputError, match=r"cannot write .*: a file is where its folder .*; choose") as caught:
            predict(
                images=tmp_path / "photos",
                out=out,
                ray=ray,
                overlay=tmp_path / "overlay",
                recursive=True,
                overwrite=True,
            )
        said.append(str(caught.value))
    assert said[0] == said[1]
    assert report(tmp_path / "masks") == report(tmp_path / "one")
    assert report(tmp_path / "masks")["done"] == 7
    assert not list(tmp_path.rglob("*.partial"))


SLOWLY = """if True:
    import signal, sys, time
    signal.signal(signal.SIGINT, signal.default_int_handler)
    from geseg.steps import cluster, clusterstaff, clusterworker
    def slow():
        class Slow(clusterworker.Worker):
            def do(self, *args):
                from geseg.steps import stages
                segment = stages.segment
                stages.segment = lambda *a: (time.sleep(0.4), segment(*a))[1]
                try: return super().do(*args)
                finally: stages.segment = segment
        return Slow
    clusterstaff.Worker, cluster.LARGEST_BLOCK, cluster.BLOCKS_PER_WORKER = slow(), 9, 1
    from geseg.cli.app import main
    main()"""


def of_ray() -> set[int]:
    """Processes of clusters that geseg has started on this machine."""
    found = set()
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if b"/tmp/geseg-" in (path / "environ").read_bytes() + (path / "cmdline").read_bytes():
                found.add(int(path.name))
    return found


@pytest.mark.parametrize(
    ("number", "to_all"), [(signal.SIGINT, False), pytest.param(signal.SIGTERM, True, marks=pytest.mark.slow)]
)
def test_a_signal_ends_the_photographs_under_way_and_the_cluster_made_here(
    report: Report, photos: Path, tmp_path: Path, run_folder: Path, number: signal.Signals, to_all: bool
) -> None:
    """Two workers stop within their blocks of nine. A terminal sends Ctrl-C to a group, a scheduler SIGTERM to all."""
    before, folders = of_ray(), set(Path("/tmp").glob("geseg-*"))
    words = ["predict", str(photos), "-o", str(tmp_path / "masks"), "--model", str(run_folder), "--device", "cpu"]
    command = [sys.executable, "-c", SLOWLY, *words, "--ray"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    while process.poll() is None and len(list((tmp_path / "masks").glob("*.png"))) < 2:
        time.sleep(0.01)
    started = of_ray() - before
    assert len(started) > 3
    os.killpg(process.pid, number)
    for other in started if to_all else ():
        with contextlib.suppress(ProcessLookupError):
            os.kill(other, number)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 128 + number, stderr
    found = report(tmp_path / "masks")
    masks = len(list((tmp_path / "masks").glob("*.png")))
    assert 2 <= found["done"] == masks <= 8
    assert found["waiting"] == PHOTOGRAPHS - masks - found["failed"]
    assert f"{number.name} with {found['waiting']} images left; the same command goes on with them" in stderr
    assert f"{masks} masks at threshold" in stdout
    assert of_ray() <= before
    assert set(Path("/tmp").glob("geseg-*")) <= folders
    assert not list(tmp_path.rglob("*.partial"))
