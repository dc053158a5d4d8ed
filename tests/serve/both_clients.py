"""The same stream by either client, as an iterator of a test that is not asynchronous."""

import asyncio
import queue
import threading
from collections.abc import Iterable, Iterator
from contextlib import aclosing
from typing import Literal

from serve.async_client import AsyncClient
from serve.client import Client
from serve.connection import Captured, Image
from serve.exchange import StreamOptions
from serve.outbox import Received

Kind = Literal["sync", "async"]


def received_by(
    kind: Kind,
    address: str,
    frames: Iterable[Image | Captured],
    stream: StreamOptions | None = None,
    in_flight: int | None = None,
    reconnect: bool = True,
    timeout_s: float = 60.0,
    keepalive_s: float = 10.0,
) -> Iterator[Received]:
    """What a client of that kind receives, to the end; what it raises is raised here."""
    if kind == "sync":
        with Client(address, timeout_s, keepalive_s) as client:
            yield from client.stream(frames, stream=stream, in_flight=in_flight, reconnect=reconnect)
        return
    outcomes: queue.Queue[Received | BaseException | None] = queue.Queue()

    async def receive() -> None:
        async with AsyncClient(address, timeout_s, keepalive_s) as client:
            replies = client.stream(frames, stream=stream, in_flight=in_flight, reconnect=reconnect)
            async with aclosing(replies):
                async for received in replies:
                    outcomes.put(received)

    def run() -> None:
        try:
            asyncio.run(receive())
            outcomes.put(None)
        except BaseException as error:  # raised by the test's thread
            outcomes.put(error)

    threading.Thread(target=run, daemon=True).start()
    while (outcome := outcomes.get()) is not None:
        if isinstance(outcome, BaseException):
            raise outcome
        yield outcome
