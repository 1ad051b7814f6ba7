"""The workers of a Ray cluster: hired, given blocks of photographs, heard, replaced when they die, and dismissed."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from geseg.errors import GesegError, ProcessError
from geseg.steps.clusterworker import Done, Order, Ready, Worker
from geseg.steps.jobs import Job, remove_leftovers
from geseg.steps.raysession import Ray, one_line

DEATHS = 3
"""Of workers, over a photograph, until it is given up; or one after the other before they have begun, until all is."""
POLL_SECONDS = 0.2
KILL_SECONDS = 5
"""Until those who were killed have surely gone."""
THREADS = 1
"""Per worker; there is one for each core, or each GPU."""


@dataclass(frozen=True, slots=True)
class Block:
    """Photographs for one worker, and how many have died over them."""

    jobs: Sequence[Job]
    deaths: int = 0


@dataclass(frozen=True, slots=True)
class Post:
    """A worker that is about to say something."""

    actor: Ray
    block: Block | None
    """None while it begins."""
    replaces: bool = False
    """Whether it begins in the place of one that has died."""


class Staff:
    """Workers with one order.

    Attributes:
        size: how many were hired; one that dies is replaced.
        gpus: that each of them has.
        idle: those that wait for a block.
        ready: what the first one said that has its net; None until there is one.
        notes: what is worth knowing about them.
    """

    def __init__(self, ray: Ray, order: Order, size: int, gpus: int) -> None:
        self.size, self.gpus = size, gpus
        self.idle: list[Ray] = []
        self.ready: Ready | None = None
        self.notes: list[str] = []
        self._ray, self._order = ray, order
        self._worker = ray.remote(Worker)
        self._posts: dict[Ray, Post] = {}
        """By what they will say."""
        self._false_starts = 0
        for _ in range(size):
            self._hire()

    @property
    def works(self) -> bool:
        """Whether a block is under way."""
        return any(post.block for post in self._posts.values())

    def give(self, block: Block) -> None:
        """To one that is idle."""
        actor = self.idle.pop()
        self._posts[actor.do.remote(block.jobs, block.deaths > 0)] = Post(actor, block)

    def stop(self) -> None:
        """Have all end their blocks after the photograph in the net."""
        for post in self._posts.values():
            post.actor.stop.remote()

    def listen(self) -> Iterator[Done | Block]:
        """Wait a moment for what workers have to say: what they have done, and blocks over which they have died.

        Raises:
            ProcessError: none is left that makes the same masks, or several have died one after the other before they
                had their net.
            GesegError: what has kept one from beginning.
        """
        errors = self._ray.exceptions
        for reference in self._ray.wait(list(self._posts), timeout=POLL_SECONDS)[0]:
            post = self._posts.pop(reference)
            try:
                said = self._ray.get(reference)
            except errors.RayTaskError as error:  # a mistake of ours, or of the user
                self.idle.append(post.actor)
                if isinstance(error.cause, GesegError):
                    raise error.cause from None
                raise
            except errors.RayError as error:
                if not post.block:
                    self._note_false_start(error)
                self._hire(replaces=True)
                if post.block:
                    yield Block(post.block.jobs, post.block.deaths + 1)
                continue
            self.idle.append(post.actor)
            if isinstance(said, Done):
                yield said
            else:
                self._welcome(said, post.replaces)

    def close(self) -> None:
        """Dismiss all, and remove what those at work have half-written."""
        left = [job for post in self._posts.values() if post.block for job in post.block.jobs]
        with suppress(self._ray.exceptions.RayError):  # a cluster that has gone is being told already
            for actor in [*self.idle, *(post.actor for post in self._posts.values())]:
                self._ray.kill(actor)
            if left:
                self._ray.wait(list(self._posts), num_returns=len(self._posts), timeout=KILL_SECONDS)
        self.idle.clear()
        self._posts.clear()
        remove_leftovers(left, [])

    def _hire(self, replaces: bool = False) -> None:
        options = {"num_cpus": 1, "num_gpus": self.gpus, "scheduling_strategy": "SPREAD"}
        actor = self._worker.options(**options, max_concurrency=2).remote(self._order)  # two: `stop` beside `do`
        self._posts[actor.begin.remote(THREADS)] = Post(actor, None, replaces)

    def _note_false_start(self, error: Exception) -> None:
        self._false_starts += 1
        if self._false_starts == DEATHS:
            raise ProcessError(f"{DEATHS} workers of Ray died before they had their net; the last: {one_line(error)}")

    def _welcome(self, ready: Ready, replaces: bool) -> None:
        """Keep the one that has just begun if its masks are those of the others.

        One in the place of another may be on another machine: it goes, as long as there are others.
        """
        self._false_starts = 0
        self.ready = self.ready or ready
        if ready.origin == self.ready.origin:
            return
        found = f"{ready.origin} and {self.ready.origin}"
        if not replaces or (len(self.idle) == 1 and not self._posts):
            raise ProcessError(
                f"workers would make different masks: {found}; install the same geseg on all machines, and choose "
                "--device cpu or cuda"
            )
        self._ray.kill(self.idle.pop())
        self.notes.append(f"a worker was not replaced, as the new one would make different masks: {found}")
