"""Predict over a real Ray cluster of two workers on this machine: what they make is what one process makes."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from PIL import Image
from typer.testing import CliRunner

from geseg.cli.app import app
from geseg.data import drawn
from geseg.errors import ConfigError, ModelFileError, OutputError, ProcessError
from geseg.progress import Stop
from geseg.steps import cluster, predict
from geseg.steps.clusterworker import Worker
from geseg.steps.predict import PredictConfig, PredictResult, run

pytest.importorskip("ray", reason="Ray is not installed: pip install ray")
T = TypeVar("T")
PHOTOGRAPHS = 18
BLOCK = 2
BROKEN = "07.png"


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cluster") / "photos"
    folder.mkdir()
    for number in range(PHOTOGRAPHS):
        Image.fromarray(drawn.draw(number, 96 + number, 110).image).save(folder / f"{number:02}.png")
    (folder / BROKEN).write_bytes(b"no photograph")
    return folder


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Of a cluster of two cores that knows nothing of geseg."""
    code = """if True:
        import logging, ray, sys
        here = ray.init(address="local", num_cpus=2, num_gpus=0, include_dashboard=False, _temp_dir=sys.argv[1],
                        object_store_memory=100 << 20, logging_level=logging.CRITICAL)
        print(here.address_info["gcs_address"], flush=True)
        sys.stdin.read()
        ray.shutdown()"""
    with tempfile.TemporaryDirectory(prefix="geseg-test-", dir="/tmp", ignore_cleanup_errors=True) as folder:
        environment = os.environ | {
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_AUTH_MODE": "disabled",
        }  # as `ray start` has it
        head = subprocess.Popen(
            [sys.executable, "-c", code, folder],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        with head:
            assert head.stdout
            yield head.stdout.readline().strip()
            head.communicate()


Predict = Callable[..., PredictResult]


@pytest.fixture
def on_cluster(photos: Path, tmp_path: Path, run_folder: Path, address: str) -> Predict:
    def start(model: Path = run_folder, **changes: object) -> PredictResult:
        return run(config(photos, tmp_path / "masks", model, ray=address, **changes))

    return start


def config(photos: Path, out: Path, model: Path, **more: Any) -> PredictConfig:  # noqa: ANN401 - any field
    return PredictConfig(**{"images": photos, "out": out, "model": model, "device": "cpu"} | more)


def report(out: Path) -> dict[str, Any]:
    """The report without what may differ from run to run."""
    found: dict[str, Any] = json.loads((out / "report.json").read_text())
    for row in found["images"]:
        del row["seconds"]
    return found


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.*") if path.is_file()}


def test_it_makes_the_bytes_of_one_process(
    photos: Path, tmp_path: Path, run_folder: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every output, with a photograph that is none; names are relative, as the workers are in the same folder."""
    made, results = [], []
    for name, ray in (("one", None), ("many", address)):
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        Path("photos").symlink_to(photos)
        folders = {kind: Path(kind) for kind in ("probabilities", "overlay", "skeleton")}
        more = {"measure": Path("vessels.csv"), "threshold": 0.4, "ray": ray} | folders
        results.append(run(config(Path("photos"), Path("masks"), run_folder, **more)))
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
    on_cluster: Predict, photos: Path, tmp_path: Path, run_folder: Path, monkeypatch: pytest.MonkeyPatch, times: int
) -> None:
    """One that dies over the same photograph again and again is given up; the others are done all the same."""
    told = tmp_path / "told"
    told.mkdir()
    monkeypatch.setattr(cluster, "Worker", a_worker_that_dies(told, "03.png", times))
    result = on_cluster(measure=tmp_path / "vessels.csv")
    assert len(list(told.glob("death*"))) == times
    run(config(photos, tmp_path / "one", run_folder, measure=tmp_path / "one.csv"))
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


@pytest.mark.slow
def test_two_workers_are_1_7_times_as_fast_as_one(
    photos: Path, tmp_path: Path, run_folder: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Start-up apart; nets that wait need no core of their own, which two threads of one core would share."""
    ray = pytest.importorskip("ray")
    monkeypatch.setattr(cluster, "Worker", a_worker_that_waits(0.5))
    begin, took = cluster.Cluster.begin, []

    def begin_all(self: cluster.Cluster, photographs: int, stop: Stop) -> None:
        begin(self, photographs, stop)
        while len(self._idle) < self.size:
            self._listen(None, lambda _: None)

    def track(items: Iterable[T], label: str, total: int | None = None) -> Iterator[T]:
        start = time.monotonic()
        yield from items
        took.append(time.monotonic() - start)

    monkeypatch.setattr(cluster.Cluster, "begin", begin_all)
    for workers in (1, 2):
        monkeypatch.setattr(ray, "cluster_resources", lambda workers=workers: {"CPU": workers})
        run(config(photos, tmp_path / str(workers), run_folder, ray=address), track)
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


def test_a_worker_that_cannot_write_ends_the_run_as_it_would_end_alone(
    photos: Path, tmp_path: Path, run_folder: Path, address: str, monkeypatch: pytest.MonkeyPatch
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
        with pytest.raises(OutputError, match=r"cannot write .*: File exists; choose another place") as caught:
            run(
                config(
                    tmp_path / "photos",
                    out,
                    run_folder,
                    ray=ray,
                    overlay=tmp_path / "overlay",
                    recursive=True,
                    overwrite=True,
                )
            )
        said.append(str(caught.value))
    assert said[0] == said[1]
    assert report(tmp_path / "masks") == report(tmp_path / "one")
    assert report(tmp_path / "masks")["done"] == 7
    assert not list(tmp_path.rglob("*.partial"))


def test_what_keeps_workers_from_beginning_is_told_as_it_is(on_cluster: Predict, tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"nowhere does not exist; expected a run folder"):
        on_cluster(model=tmp_path / "nowhere")
    with pytest.raises(ProcessError, match=r"^the Ray cluster has 2 CPUs and 0 GPUs, none to work with; add machines$"):
        on_cluster(device="cuda")


def test_what_ray_cannot_do_is_told_before_it_starts(photos: Path, tmp_path: Path, run_folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"device is cuda:1, but Ray hands out the GPUs; use --device cuda, auto or"):
        run(config(photos, tmp_path / "masks", run_folder, ray="local", device="cuda:1"))


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

    monkeypatch.setattr(predict, "run", note)
    assert CliRunner().invoke(app, ["predict", *words]).exit_code == 2
    assert [(config.ray, config.images, config.out) for config in configs] == [(ray, Path("eyes"), Path("m"))]


SLOWLY = """if True:
    import signal, sys, time
    signal.signal(signal.SIGINT, signal.default_int_handler)
    from geseg.steps import cluster, clusterworker
    def slow():
        class Slow(clusterworker.Worker):
            def do(self, *args):
                from geseg.steps import stages
                segment = stages.segment
                stages.segment = lambda *a: (time.sleep(0.4), segment(*a))[1]
                try: return super().do(*args)
                finally: stages.segment = segment
        return Slow
    cluster.Worker, cluster.LARGEST_BLOCK, cluster.BLOCKS_PER_WORKER = slow(), 9, 1
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
    photos: Path, tmp_path: Path, run_folder: Path, number: signal.Signals, to_all: bool
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
