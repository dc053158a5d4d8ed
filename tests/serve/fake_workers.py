"""Workers under a test's control, in place of processes."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from serve.deployment import ModelStatus
from serve.orders import Prepare
from serve.pipe import PeerGoneError
from serve.worker import Post


class FakeWorkers:
    """Makes workers that note their orders; ``answer`` says what becomes of an order to a worker: it may raise."""

    def __init__(self, answer: Callable[["FakeWorker", object], Awaitable[None]] | None = None) -> None:
        self.answer = answer
        self.all: list[FakeWorker] = []

    def __call__(self, post: Post) -> "FakeWorker":
        self.all.append(FakeWorker(self, post))
        return self.all[-1]


class FakeWorker:
    """As ``WorkerProcess``; ``life`` is how many it is that were made, from 0."""

    def __init__(self, crew: FakeWorkers, post: Post) -> None:
        self.post = post
        self.number = post.number
        self.life = len(crew.all)
        self.pid = 1_000_000 + self.life
        self.listening = False
        self.orders: list[object] = []
        self._crew = crew
        self._gone = asyncio.Event()

    async def connect(self, answer: Callable[[object], Awaitable[object]]) -> None:
        self.request = answer

    async def order(self, message: object) -> None:
        await self.ask(message, object)

    async def ask(self, message: object, kind: Any) -> Any:
        self.orders.append(message)
        if self._crew.answer is not None:
            await self._crew.answer(self, message)
        if self._gone.is_set():
            raise PeerGoneError("gone")
        if isinstance(message, Prepare):
            wanted = message.wanted
            return ModelStatus(wanted.name, wanted.version or 7, True, wanted.runs_on or f"engine {self.number}", 1.0)
        return None

    async def hung_up(self) -> None:
        await self._gone.wait()
        self.listening = False

    async def ended(self, patience_s: float) -> str:
        self.kill()
        return "was ended by a test"

    def kill(self) -> None:
        self.listening = False
        self._gone.set()

    @property
    def dead(self) -> bool:
        return self._gone.is_set()
