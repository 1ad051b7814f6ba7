"""Photographs over a cluster, with Ray: blocks of them go to workers, and those of one that dies go to another.

What needs a cluster to exist and to end is in `raysession`, the workers seen from here are in `clusterstaff`, and what
runs on its machines is in `clusterworker`.
"""

import os
import time
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING

from geseg.errors import ConfigError, OutputError, ProcessError, StoppedError
from geseg.progress import Stop, Track
from geseg.steps.clusterstaff import DEATHS, Block, Staff
from geseg.steps.clusterworker import Done, Order, Ready
from geseg.steps.jobs import Job, remove_leftovers
from geseg.steps.local import Keep
from geseg.steps.predictreport import ImageRow
from geseg.steps.raysession import LOCAL, Ray, session
from geseg.steps.stages import Table

if TYPE_CHECKING:
    from geseg.steps.predict import PredictConfig

LARGEST_BLOCK = 8
BLOCKS_PER_WORKER = 4
"""At least, where there are photographs enough, so that none waits long for the last one."""
PATIENCE_SECONDS = 10.0
"""From when on it is told that no worker has come: Ray waits for ever for a core that is busy."""


@contextmanager
def join(config: "PredictConfig", photographs: int, stop: Stop, track: Track) -> "Iterator[Cluster]":
    """Gather workers for so many photographs; they are dismissed at the end of the block.

    Raises:
        ConfigError, ProcessError: as `raysession.session`; a GPU is asked for by number; no machine has what it takes,
            or its workers cannot begin.
        StoppedError: `stop` said so before there was a worker.
        ModelFileError, DeviceError: as `models.load`.
    """
    if config.device.startswith("cuda:"):
        raise ConfigError(f"device is {config.device}, but Ray hands out the GPUs; use --device cuda, auto or cpu")
    order = Order(
        folder=os.getcwd(),  # noqa: PTH109 - a text
        model=config.model,
        engine=config.engine,
        device=config.device,
        threshold=config.threshold,
        turns=config.turns,
        overwrite=config.overwrite,
        measure=config.measure is not None,
    )
    with session(config.ray or LOCAL) as ray, ExitStack() as stack:
        staff = stack.enter_context(closing(_hire(ray, order, photographs, config.device != "cpu")))
        ready = _first(staff, stop, track)
        if staff.gpus and config.device == "auto" and ready.origin.device == "cpu":  # GPUs that do not work
            staff.close()
            staff = stack.enter_context(closing(_hire(ray, order, photographs, False)))
            ready = _first(staff, stop, track)
        yield Cluster(staff, ready)


def _hire(ray: Ray, order: Order, photographs: int, on_gpus: bool) -> Staff:
    """As many workers as there is work for, on GPUs if there are any, or must be."""
    found = ray.cluster_resources()
    cores, gpus = int(found.get("CPU", 0)), int(found.get("GPU", 0))
    on_gpus = on_gpus and (gpus > 0 or order.device == "cuda")
    size = min(gpus if on_gpus else cores, max(photographs, 1))
    if not size:
        raise ProcessError(f"the Ray cluster has {cores} CPUs and {gpus} GPUs, none to work with; add machines")
    return Staff(ray, order, size, int(on_gpus))


def _first(staff: Staff, stop: Stop, track: Track) -> Ready:
    """What the first worker says that has its net."""
    waiting = _wait(staff, stop)
    late = time.monotonic() + PATIENCE_SECONDS
    for _ in waiting:
        if time.monotonic() >= late:
            for _ in track(waiting, f"wait for a free {'GPU' if staff.gpus else 'core'} of the Ray cluster"):
                pass
    assert staff.ready, "else they wait"
    return staff.ready


def _wait(staff: Staff, stop: Stop) -> Iterator[None]:
    """Until there is a first worker, with a sign of life about every second."""
    last = time.monotonic()
    while staff.ready is None:
        if stop():
            raise StoppedError("no photograph was begun")
        for _ in staff.listen():
            pass
        if time.monotonic() - last >= 1:
            last = time.monotonic()
            yield


class Cluster:
    """Many nets, as `local.Crew`; what the attributes say is the same for all of them."""

    def __init__(self, staff: Staff, ready: Ready) -> None:
        self.origin, self.path = ready.origin, ready.path
        self.device = f"{ready.device}, {staff.size} workers of Ray"
        self._staff = staff
        self._notes: dict[str, None] = {}

    @property
    def notes(self) -> tuple[str, ...]:
        return (*self._notes, *dict.fromkeys(self._staff.notes))

    def run(self, jobs: Sequence[Job], table: Table | None, keep: Keep, stop: Stop) -> Generator[None, None, None]:
        size = max(1, min(LARGEST_BLOCK, len(jobs) // (BLOCKS_PER_WORKER * self._staff.size)))
        todo = deque(Block(jobs[start : start + size]) for start in range(0, len(jobs), size))
        cut_off: list[Job] = []
        error: OutputError | None = None
        halted = False
        while todo or self._staff.works:
            if not halted and (stop() or error):
                halted = True
                todo.clear()
                self._staff.stop()
            while todo and self._staff.idle:
                block = todo.popleft()
                if table:
                    for job in block.jobs:
                        table.forget(job)
                self._staff.give(block)
            for said in self._staff.listen():
                if isinstance(said, Done):
                    error = error or said.error
                    yield from [None] * self._take(said, table, keep)
                elif said.deaths == DEATHS:
                    cut_off += said.jobs
                    keep(_given_up(*said.jobs))
                    yield
                elif halted:
                    cut_off += said.jobs
                else:
                    todo.extendleft(Block([job], said.deaths) for job in reversed(said.jobs))
        remove_leftovers(cut_off, [])
        if error:
            raise error

    def _take(self, done: Done, table: Table | None, keep: Keep) -> int:
        """How many photographs are through."""
        for row in done.rows:
            keep(row)
        self._notes |= dict.fromkeys(done.notes)
        if table:
            for job, figures in done.figures:
                table.add(job, figures)
        return len(done.rows)


def _given_up(job: Job) -> ImageRow:
    reason = f"{job.image} cannot be segmented: {DEATHS} workers of Ray died over it; it may need more memory"
    return ImageRow(image=job.name, status="failed", reason=reason)
