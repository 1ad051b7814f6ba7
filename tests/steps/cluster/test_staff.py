"""Workers who would make other masks, who do not come, or who die: a stub of Ray, whose workers follow a script."""

import dataclasses
import itertools
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import pytest

from geseg.errors import ProcessError, StoppedError
from geseg.progress import Stop, Track, never, silent
from geseg.steps import cluster
from geseg.steps.clusterworker import Done, Order, Ready, Worker
from geseg.steps.jobs import Job
from geseg.steps.origin import Origin
from geseg.steps.predict import PredictConfig
from geseg.steps.predictreport import ImageRow
from geseg.steps.stages import Table

T = TypeVar("T")


class RayError(Exception):
    """As those of Ray: a worker has died."""


class RayTaskError(RayError):
    """A worker has raised `cause`."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(cause)
        self.cause = cause


Said = Ready | Done | Exception | None
"""None: not yet."""
ORIGIN = Origin(model_sha256="0" * 64, engine="native", device="cpu", threshold=0.5)
READY = Ready(ORIGIN, "cpu (geseg's kernel)", Path("model.safetensors"))
OTHER = Ready(dataclasses.replace(ORIGIN, geseg_version="0.0"), READY.device, READY.path)
ON_GPU = Ready(dataclasses.replace(ORIGIN, engine="onnx", device="cuda"), "cuda:0", READY.path)
DIED = RayError("The actor\ndied unexpectedly")


class Stub:
    """As much of Ray as geseg uses: workers begin as `begins` says, one after the other, and do as `work` says."""

    exceptions = SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError)

    def __init__(self, begins: Iterable[Said], work: Callable[[Sequence[Job]], Said], **found: int) -> None:
        self.begins, self.work, self.found = iter(begins), work, {"CPU": 2} | found
        self.hired: list[dict[str, Any]] = []
        self.killed: list[object] = []
        self.said: dict[object, Said] = {}

    def cluster_resources(self) -> dict[str, int]:
        return self.found

    def remote(self, _: type) -> object:
        return SimpleNamespace(options=self._options)

    def _options(self, **options: object) -> object:
        self.hired.append(options)
        return SimpleNamespace(remote=lambda _: _Actor(self))

    def say(self, said: Said) -> object:
        reference = object()
        self.said[reference] = said
        return reference

    def wait(self, references: list[object], timeout: float, num_returns: int = 1) -> tuple[list[object], None]:
        assert references, "Ray refuses to wait for nothing"
        ready = [reference for reference in references if self.said[reference]]
        if len(ready) < num_returns:
            time.sleep(min(timeout, 0.1))
        return ready[:num_returns], None

    def get(self, reference: object) -> Said:
        said = self.said.pop(reference)
        if isinstance(said, Exception):
            raise said
        return said

    def kill(self, actor: object) -> None:
        self.killed.append(actor)


class _Actor:
    def __init__(self, ray: Stub) -> None:
        self.begin = SimpleNamespace(remote=lambda _: ray.say(next(ray.begins)))
        self.do = SimpleNamespace(remote=lambda jobs, _: ray.say(ray.work(jobs)))


def done(jobs: Sequence[Job]) -> Done:
    return Done([ImageRow(image=job.name, status="done") for job in jobs])


def first(said: Said) -> Callable[[Sequence[Job]], Said]:
    """Work of which the first block ends so, and the others well."""
    sayings = itertools.chain([said], itertools.repeat(None))
    return lambda jobs: next(sayings) or done(jobs)


@pytest.fixture
def jobs(tmp_path: Path) -> list[Job]:
    return [Job(tmp_path / f"{n}.png", f"{n}.png", {"mask": tmp_path / "masks" / f"{n}.png"}) for n in range(4)]


Run = Callable[..., tuple[int, tuple[str, ...], str]]


@pytest.fixture
def run(jobs: list[Job], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Segments four photographs over a stub: how many are done, the notes, and what they were done on."""

    def start(
        ray: Stub, stop: Stop = never, track: Track = silent, table: Table | None = None
    ) -> tuple[int, tuple[str, ...], str]:
        @contextmanager
        def session(_: str) -> Iterator[Stub]:
            yield ray

        monkeypatch.setattr(cluster, "session", session)
        rows: list[ImageRow] = []
        config = PredictConfig(images=Path("photos"), out=Path("masks"), ray="auto")
        with cluster.join(config, len(jobs), stop, track) as crew:
            for _ in crew.run(jobs, table, rows.append, stop):
                pass
        return sum(row.status == "done" for row in rows), crew.notes, crew.device

    return start


def test_all_goes_well(run: Run) -> None:
    ray = Stub([READY, READY], done)
    assert run(ray) == (4, (), "cpu (geseg's kernel), 2 workers of Ray")
    assert len(ray.killed) == 2


def test_figures_of_a_block_are_forgotten_before_it_is_given(run: Run, jobs: list[Job]) -> None:
    """It may die when it has replaced the masks."""
    told = list[str]()

    def work(given: Sequence[Job]) -> Said:
        told.extend(f"work on {job.name}" for job in given)
        return DIED

    run(
        Stub(itertools.repeat(READY), work), table=SimpleNamespace(forget=lambda job: told.append(f"forget {job.name}"))
    )
    first = [(told.index(f"forget {job.name}"), told.index(f"work on {job.name}")) for job in jobs]
    assert all(forgotten < begun for forgotten, begun in first)


@pytest.mark.parametrize("other", [OTHER, ON_GPU])
def test_workers_who_would_make_other_masks_are_refused(run: Run, other: Ready) -> None:
    said = r"^workers would make different masks: Origin\(.*\) and Origin\(.*\); install the same geseg on all mach"
    with pytest.raises(ProcessError, match=said):
        run(Stub([READY, other], lambda _: None))


def test_one_in_the_place_of_another_goes_while_others_work(run: Run) -> None:
    ray = Stub([READY, READY, OTHER], first(DIED))
    count, notes, _ = run(ray)
    assert count == 4
    assert len(notes) == 1
    assert notes[0].startswith("a worker was not replaced, as the new one would make different masks: Origin(")
    with pytest.raises(ProcessError, match="workers would make different masks"):
        run(Stub([READY, OTHER], first(DIED), CPU=1))


def test_deaths_before_the_net_count_one_after_the_other(run: Run) -> None:
    ray = Stub([DIED, DIED, READY, DIED, DIED, READY], first(DIED), CPU=1)
    assert run(ray)[0] == 4
    said = r"^3 workers of Ray died before they had their net; the last: The actor died unexpectedly$"
    with pytest.raises(ProcessError, match=said):
        run(Stub([DIED, DIED, DIED], done, CPU=1))


def test_a_stop_before_the_first_worker(run: Run) -> None:
    ray = Stub([None, None], done)
    with pytest.raises(StoppedError, match=r"^no photograph was begun$"):
        run(ray, stop=lambda: True)
    assert len(ray.killed) == 2


@pytest.mark.parametrize(("gpus", "said"), [(0, "core"), (2, "GPU")])
def test_a_long_wait_for_the_first_worker_is_told(
    run: Run, monkeypatch: pytest.MonkeyPatch, gpus: int, said: str
) -> None:
    labels: list[str] = []

    def track(items: Iterable[T], label: str, total: int | None = None) -> Iterator[T]:
        labels.append(label)
        for item in items:
            for reference in ray.said:
                ray.said[reference] = ON_GPU
            yield item

    monkeypatch.setattr(cluster, "PATIENCE_SECONDS", 0)
    ray = Stub([None, None], done, GPU=gpus)
    assert run(ray, track=track)[0] == 4
    assert labels == [f"wait for a free {said} of the Ray cluster"]


def test_gpus_that_do_not_work_leave_the_cores(run: Run) -> None:
    ray = Stub([READY] * 5, done, CPU=4, GPU=1)
    assert run(ray) == (4, (), "cpu (geseg's kernel), 4 workers of Ray")
    assert [options["num_gpus"] for options in ray.hired] == [1, 0, 0, 0, 0]
    assert len(ray.killed) == 5
    ray = Stub([ON_GPU], done, CPU=4, GPU=1)
    assert run(ray)[0] == 4
    assert len(ray.hired) == 1


def test_what_others_have_half_written_goes_when_one_fails(run: Run, jobs: list[Job]) -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    mask = jobs[1].outputs["mask"]
    partial = mask.with_name(f".{mask.name}.{process.pid}.partial")
    partial.parent.mkdir()
    partial.write_bytes(b"half of it")
    with pytest.raises(RayTaskError):
        run(Stub([READY, READY], lambda given: None if jobs[1] in given else RayTaskError(KeyError("bug"))))
    assert not partial.exists()


def test_a_folder_that_is_not_shared_is_told_as_the_worker_tells_it(run: Run, tmp_path: Path) -> None:
    order = Order(
        folder=str(tmp_path / "gone"),
        model=Path("shipped"),
        engine="auto",
        device="cpu",
        threshold=None,
        turns=1,
        overwrite=False,
        measure=False,
    )
    with pytest.raises(ProcessError, match="start geseg in a folder that all machines of the cluster share") as caught:
        Worker(order).begin(1)
    assert str(caught.value).startswith(f"{tmp_path / 'gone'} cannot be entered on ")
    with pytest.raises(ProcessError) as told:
        run(Stub([RayTaskError(caught.value), READY], done))
    assert told.value is caught.value
