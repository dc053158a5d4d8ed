"""So many workers at a time: whoever ends is replaced, after a pause that grows while they keep ending."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence

from scene.errors import ServerError, StreetMaskError
from serve.pipe import PeerGoneError
from serve.worker import Post
from serve.worker_process import WorkerProcess

LOG = logging.getLogger(__name__)

_FIRST_PAUSE_S = 0.1
_LONGEST_PAUSE_S = 5.0
_SOUND_S = 10.0
"""A worker that was up for so long has nothing to do with the end of the one before."""
_TRIES = 5
_GRACE_S = 5.0
"""What a worker gets beyond the time for draining, to close its models."""


class Crew:
    """A worker for each post. ``bring_up`` makes one of a fresh process, ``answer`` is for what workers ask.

    ``lost`` is told the process's number of each that has ended and will be replaced.
    """

    def __init__(
        self,
        posts: Sequence[Post],
        bring_up: Callable[[WorkerProcess], Awaitable[None]],
        answer: Callable[[object], Awaitable[object]],
        lost: Callable[[int], None],
    ) -> None:
        self._posts = posts
        self._bring_up = bring_up
        self._answer = answer
        self._lost = lost
        self._workers: dict[int, WorkerProcess] = {}
        self._never_up = {post.number for post in posts}
        self._failures = {post.number: 0 for post in posts}
        self._complete = asyncio.Event()
        self._manning: list[asyncio.Task[None]] = []

    @property
    def pids(self) -> list[int]:
        """Of the processes that there are."""
        return [worker.pid for worker in list(self._workers.values())]

    @property
    def listening(self) -> list[WorkerProcess]:
        """Those that answer calls; raises ``ServerError`` if none does."""
        listening = [worker for _, worker in sorted(self._workers.items()) if worker.listening]
        if not listening:
            raise ServerError("no worker of this server is up just now; try again")
        return listening

    async def assemble(self) -> None:
        """Return when all have come up; raises ``StreetMaskError`` for what keeps one from it."""
        self._manning = [asyncio.create_task(self._man(post)) for post in self._posts]
        complete = asyncio.create_task(self._complete.wait())
        await self._first_of(complete, *self._manning)

    async def stay(self) -> None:
        """Never return; raises ``ServerError`` when no post can be manned any more."""
        await self._first_of(*self._manning)

    async def dismiss(self, drain_s: float) -> None:
        """Let all drain, and end those that are not done in time."""
        for task in self._manning:
            task.cancel()
        await asyncio.gather(*self._manning, return_exceptions=True)
        await asyncio.gather(*(worker.ended(drain_s + _GRACE_S) for worker in self._workers.values()))
        self._workers.clear()

    async def _first_of(self, *tasks: asyncio.Task[object] | asyncio.Task[None]) -> None:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()

    async def _man(self, post: Post) -> None:
        """Keep a worker at the post; raises ``ServerError`` after five in a row that never came up, at every post.

        As long as another post is manned, the port answers, and what keeps a worker from coming up may pass.
        """
        ends = 0
        while True:
            up_s = await self._one_life(post)
            if up_s is None:
                self._failures[post.number] += 1
            ends = ends + 1 if up_s is None or up_s < _SOUND_S else 0
            pause_s = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2 ** max(0, ends - 1))
            if self._failures[post.number] >= _TRIES:
                self._check_others(post.number)
                pause_s = _LONGEST_PAUSE_S
            await asyncio.sleep(pause_s)

    def _check_others(self, number: int) -> None:
        """Raise ``ServerError`` if the server has never been complete, or no other post can be manned either."""
        told = f"worker {number} ended {self._failures[number]} times before it was ready; the lines above say why"
        if self._never_up or min(self._failures.values()) >= _TRIES:
            raise ServerError(told)
        LOG.error("%s; it is tried again every %g s, and the others go on", told, _LONGEST_PAUSE_S)

    async def _one_life(self, post: Post) -> float | None:
        """Seconds for which a worker was up, from its start to its end; None if it never was."""
        worker = self._workers[post.number] = WorkerProcess(post)
        await worker.connect(self._answer)
        up_s: float | None = None
        try:
            await self._bring_up(worker)
            began_s = time.monotonic()
            self._note_up(post.number)
            await worker.hung_up()
            up_s = time.monotonic() - began_s
        except PeerGoneError:
            pass
        except StreetMaskError as error:
            if self._never_up:
                raise
            LOG.error("worker %d is not ready: %s", post.number, error)
            worker.kill()
        how = await worker.ended(post.settings.drain_s + _GRACE_S)
        LOG.warning("worker %d (%d) %s; another takes its place", post.number, worker.pid, how)
        del self._workers[post.number]
        self._lost(worker.pid)
        return up_s

    def _note_up(self, number: int) -> None:
        self._never_up.discard(number)
        self._failures[number] = 0
        if not self._never_up:
            self._complete.set()
