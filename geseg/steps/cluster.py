"""Photographs over a cluster, with Ray: blocks of them go to workers, and those of one that dies go to another.

What needs a cluster to exist and to end is in `raysession`, what runs on its machines in `clusterworker`.
"""

import os
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from geseg.errors import ConfigError, GesegError, OutputError, ProcessError, StoppedError
from geseg.progress import Stop
from geseg.steps.clusterworker import Done, Order, Ready, Worker
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
DEATHS = 3
"""Of workers, over one photograph, until it is given up; or before any has begun, until all is."""
POLL_SECONDS = 0.2
THREADS = 1
"""Per worker; there is one for each core, or each GPU."""


@contextmanager
def join(config: "PredictConfig", photographs: int, stop: Stop) -> "Iterator[Cluster]":
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
        measure=config.measure is not None,
    )
    with session(config.ray or LOCAL) as ray:
        cluster = Cluster(ray, order)
        try:
            cluster.begin(photographs, stop)
            yield cluster
        finally:
            cluster.dismiss()


@dataclass(frozen=True, slots=True)
class Block:
    """Photographs for one worker, and how many have died over them."""

    jobs: Sequence[Job]
    deaths: int = 0


class Cluster:
    """Many nets, as `local.Crew`; what the attributes say is the same for all of them."""

    def __init__(self, ray: Ray, order: Order) -> None:
        self._ray, self._order = ray, order
        self._worker = ray.remote(Worker)
        self._busy: dict[Ray, tuple[Ray, Block | None]] = {}
        """What each worker will give, and its block; None while it begins."""
        self._idle: list[Ray] = []
        self._todo = deque[Block]()
        self._given_up: list[Job] = []
        self._false_starts = 0
        self._error: OutputError | None = None
        self._ready: Ready | None = None
        self._notes: dict[str, None] = {}

    def begin(self, photographs: int, stop: Stop) -> None:
        """Hire as many workers as there is work for, and wait for the first."""
        found = self._ray.cluster_resources()
        cores, gpus = int(found.get("CPU", 0)), int(found.get("GPU", 0))
        self._gpus = 1 if self._order.device == "cuda" or (self._order.device == "auto" and gpus) else 0
        self.size = min(gpus if self._gpus else cores, max(photographs, 1))
        if not self.size:
            raise ProcessError(f"the Ray cluster has {cores} CPUs and {gpus} GPUs, none to work with; add machines")
        for _ in range(self.size):
            self._hire()
        while self._ready is None:
            if stop():
                raise StoppedError("no photograph was begun")
            self._listen(None, lambda _: None)
        self.origin, self.path = self._ready.origin, self._ready.path
        self.device = f"{self._ready.device}, {self.size} workers of Ray"

    @property
    def notes(self) -> tuple[str, ...]:
        return tuple(self._notes)

    def run(self, jobs: Sequence[Job], table: Table | None, keep: Keep, stop: Stop) -> Generator[None, None, None]:
        size = max(1, min(LARGEST_BLOCK, len(jobs) // (BLOCKS_PER_WORKER * self.size)))
        self._todo.extend(Block(jobs[start : start + size]) for start in range(0, len(jobs), size))
        halted = False
        while self._todo or self._working():
            if not halted and (stop() or self._error):
                halted = True
                self._todo.clear()
                for actor, _ in self._busy.values():
                    actor.stop.remote()
            while self._todo and self._idle and not halted:
                self._give(self._idle.pop(), self._todo.popleft())
            yield from [None] * self._listen(table, keep)
            if halted:
                self._todo.clear()
        remove_leftovers(self._given_up, [])
        if self._error:
            raise self._error

    def dismiss(self) -> None:
        for actor in [*self._idle, *(actor for actor, _ in self._busy.values())]:
            self._ray.kill(actor)

    def _working(self) -> bool:
        return any(block for _, block in self._busy.values())

    def _hire(self) -> None:
        options = {"num_cpus": 1, "num_gpus": self._gpus, "scheduling_strategy": "SPREAD"}
        actor = self._worker.options(**options, max_concurrency=2).remote(self._order)  # two: `stop` beside `do`
        self._busy[actor.begin.remote(THREADS)] = actor, None

    def _give(self, actor: Ray, block: Block) -> None:
        self._busy[actor.do.remote(block.jobs, block.deaths > 0)] = actor, block

    def _listen(self, table: Table | None, keep: Keep) -> int:
        """Wait a moment for what workers have to say; how many photographs are through."""
        errors, through = self._ray.exceptions, 0
        for reference in self._ray.wait(list(self._busy), timeout=POLL_SECONDS)[0]:
            actor, block = self._busy.pop(reference)
            try:
                said = self._ray.get(reference)
            except errors.RayTaskError as error:  # a mistake of ours, or of the user
                self._idle.append(actor)
                if isinstance(error.cause, GesegError):
                    raise error.cause from None
                raise
            except errors.RayError as error:
                through += self._replace(block, keep, error)
                continue
            self._idle.append(actor)
            through += self._take(said, table, keep) if isinstance(said, Done) else self._welcome(said)
        return through

    def _take(self, done: Done, table: Table | None, keep: Keep) -> int:
        for row in done.rows:
            keep(row)
        self._notes |= dict.fromkeys(done.notes)
        self._error = self._error or done.error
        if table:
            for job, figures in done.figures:
                table.add(job, figures)
        return len(done.rows)

    def _welcome(self, ready: Ready) -> int:
        self._ready = self._ready or ready
        if ready.origin != self._ready.origin:
            raise ProcessError(
                f"workers would make different masks: {ready.origin} and {self._ready.origin}; install the same geseg "
                "on all machines, and choose --device cpu or cuda"
            )
        return 0

    def _replace(self, block: Block | None, keep: Keep, error: Exception) -> int:
        """Hire another worker, and put off the block of the one that has died, each photograph on its own."""
        self._hire()
        if block is None:
            self._false_starts += 1
            if self._false_starts == DEATHS:
                reason = " ".join(str(error).split())
                raise ProcessError(f"{DEATHS} workers of Ray died before they had their net; the last: {reason}")
            return 0
        deaths = block.deaths + 1
        if deaths == DEATHS:
            (job,) = block.jobs
            self._given_up.append(job)
            reason = f"{job.image} cannot be segmented: {DEATHS} workers of Ray died over it; it may need more memory"
            keep(ImageRow(image=job.name, status="failed", reason=reason))
            return 1
        self._todo.extendleft(Block([job], deaths) for job in reversed(block.jobs))
        return 0
