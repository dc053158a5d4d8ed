"""A client for asynchronous programs: pictures in, answers out.

    async with AsyncClient("127.0.0.1:50051") as client:
        async for received in client.stream(frames):
            if received.answer:
                for instance, mask in zip(received.answer.instances, received.answer.masks()):
                    print(received.frame_id, instance.class_name, instance.box_xyxy, mask.sum())

``await client.segment(image)`` answers one picture. All of it is ``serve.client``'s, with the threads that it runs on:
what they receive is handed to the event loop, so that any loop on any thread will do.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Iterable
from contextlib import suppress
from types import TracebackType
from typing import Self

import grpc

from serve import keepalive, wire
from serve.answer import Answer, Options
from serve.client_stream import ClientStream
from serve.connection import Captured, Connection, Image, encoded, now_us
from serve.daemon_thread import on_daemon_thread
from serve.exchange import Frame, StreamOptions
from serve.outbox import Received


class AsyncClient:
    """A connection to one server, made with the first call. Close it, or use it in ``async with``.

    ``timeout_s`` and ``keepalive_s`` are those of ``Client``.
    """

    def __init__(self, address: str, timeout_s: float = 30.0, keepalive_s: float = keepalive.INTERVAL_S) -> None:
        self._connection = Connection(address, timeout_s, keepalive_s)

    async def segment(self, image: Image, options: Options | None = None, timeout_s: float | None = None) -> Answer:
        """As ``Client.segment``; a call whose task is cancelled is cancelled."""
        await self._wait_until_ready()
        request = wire.segment_request(Frame(0, now_us(), encoded(image)), options or Options())
        call, told = self._connection.begin_segment(request, timeout_s), _Told()
        call.add_done_callback(lambda _: told.tell())
        try:
            await told.until(call.done)
        finally:
            call.cancel()  # type: ignore[no-untyped-call]
        if call.code() is not grpc.StatusCode.OK:
            raise self._connection.error_of(call)  # a call that failed is its error
        return wire.read_segment_response(call.result())

    async def stream(
        self,
        frames: Iterable[Image | Captured] | AsyncIterable[Image | Captured],
        options: Options | None = None,
        in_flight: int | None = None,
        stream: StreamOptions | None = None,
        reconnect: bool = True,
    ) -> AsyncGenerator[Received, None]:
        """As ``Client.stream``. Frames of an ordinary iterable are drawn on a thread, those of another in a task.

        Leave it early within ``contextlib.aclosing``: an asynchronous generator does not end by itself.
        """
        await self._wait_until_ready()
        told = _Told()
        running = ClientStream(self._connection, options, stream, in_flight, reconnect, told.tell)
        running.start()
        drawing = None
        if isinstance(frames, AsyncIterable):
            drawing = asyncio.create_task(_draw(frames, running, told))
        else:
            running.draw(frames)
        try:
            await told.until(running.readable)
            while (received := running.received()) is not None:
                yield received
                await told.until(running.readable)
        finally:
            running.close()
            if drawing is not None:
                drawing.cancel()
                await asyncio.wait([drawing])
        running.check()

    async def _wait_until_ready(self) -> None:
        if not self._connection.ready:
            await on_daemon_thread(self._connection.wait_until_ready, "ready")

    async def close(self) -> None:
        """End all calls and the connection."""
        self._connection.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


class _Told:
    """Wakes those who wait on this event loop when another thread says that something changed."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._changed = asyncio.Event()

    def tell(self) -> None:
        """On any thread."""
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._changed.set)

    async def until(self, ready: Callable[[], bool]) -> None:
        """Return once it is ready."""
        while not ready():
            self._changed.clear()
            await self._changed.wait()


async def _draw(frames: AsyncIterable[Image | Captured], running: ClientStream, told: _Told) -> None:
    error: BaseException | None = None
    try:
        source = aiter(frames)
        await told.until(running.drawable)
        while not running.ended():
            running.put(await anext(source))
            await asyncio.sleep(0)  # a source that never waits would else keep all others from their turn
            await told.until(running.drawable)
    except StopAsyncIteration:
        pass
    except Exception as raised:  # raised where the user waits
        error = raised
    running.close_source(error)
