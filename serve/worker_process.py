"""A worker as its supervisor sees it: a spawned process at the other end of a pipe."""

import asyncio
import logging
import multiprocessing
import os
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from multiprocessing import resource_tracker
from typing import TypeVar

from serve.pipe import PipeEnd
from serve.worker import Post, work

LOG = logging.getLogger(__name__)

Kind = TypeVar("Kind")

_MULTIPROCESS = "PROMETHEUS_MULTIPROC_DIR"


class WorkerProcess:
    """One worker, from its start to its end. It is told what to do once it is ``connected``."""

    def __init__(self, post: Post) -> None:
        self.number = post.number
        self.listening = False
        self._socket, theirs = socket.socketpair()
        self._pipe: PipeEnd | None = None
        self._process = multiprocessing.get_context("spawn").Process(
            target=work, args=(theirs, post), name=f"worker {post.number}", daemon=True
        )
        with _worker_environment(post), theirs:
            self._process.start()
        self._exited = asyncio.Event()
        asyncio.get_running_loop().add_reader(self._process.sentinel, self._notice_exit)
        LOG.info("worker %d is process %d", post.number, self.pid)

    @property
    def pid(self) -> int:
        """Its process's number."""
        return self._process.pid or 0

    async def connect(self, answer: Callable[[object], Awaitable[object]]) -> None:
        """Begin to talk; ``answer`` is for what it asks on behalf of its callers."""
        self._pipe = await PipeEnd.open(self._socket, answer)

    async def order(self, message: object) -> None:
        """Have something done; raises what it raises, and ``PeerGoneError`` if it ends before."""
        await self.ask(message, type(None))

    async def ask(self, message: object, kind: type[Kind]) -> Kind:
        """As ``order``, for what has an answer."""
        return await self._connection().ask(message, kind)

    async def hung_up(self) -> None:
        """Return when it has ended, or drains and is about to."""
        await self._connection().gone.wait()
        self.listening = False

    async def ended(self, patience_s: float) -> str:
        """Hang up, which it takes as an order to drain and end; after so many seconds kill it. Say how it ended."""
        self.listening = False
        (self._pipe or self._socket).close()
        try:
            await asyncio.wait_for(self._exited.wait(), patience_s)
        except TimeoutError:
            self.kill()
            await self._exited.wait()
        self._process.join()
        return _how(self._process.exitcode or 0)

    def kill(self) -> None:
        """End it at once."""
        self.listening = False
        self._process.kill()

    def _connection(self) -> PipeEnd:
        if self._pipe is None:
            raise RuntimeError("connect comes first")
        return self._pipe

    def _notice_exit(self) -> None:
        asyncio.get_running_loop().remove_reader(self._process.sentinel)
        self._exited.set()


@contextmanager
def _worker_environment(post: Post) -> Iterator[None]:
    """What a process inherits that is started in the block: where to count, and no ear for Ctrl-C."""
    resource_tracker.ensure_running()  # its own start would open that ear again
    former = os.environ.get(_MULTIPROCESS)
    os.environ[_MULTIPROCESS] = str(post.metrics_folder)
    heard = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, heard)
        os.environ.pop(_MULTIPROCESS)
        if former is not None:
            os.environ[_MULTIPROCESS] = former


def _how(code: int) -> str:
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
