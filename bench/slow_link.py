"""A way to a server that carries so many bytes a second, falls silent or is cut, as a vehicle's does."""

import asyncio
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

_CHUNK_S = 0.01
_CHUNK_BYTES = (256, 1 << 16)
"""Passed on at a time: what the link carries in so many seconds, within bounds."""

_BURST_S = 0.02
"""How far it may make up for a moment in which its thread had no processor."""


class _Pipe:
    """One direction of a connection: takes bytes as they come, lets them go at its rate."""

    def __init__(
        self,
        source: asyncio.StreamReader,
        target: asyncio.StreamWriter,
        bytes_per_s: float,
        buffer_bytes: int,
        note: Callable[[int], None],
    ) -> None:
        self.frozen = False
        self._source = source
        self._target = target
        self._bytes_per_s = bytes_per_s
        least, most = _CHUNK_BYTES
        self._chunk_bytes = int(min(most, max(least, bytes_per_s * _CHUNK_S)))
        self._buffer_bytes = buffer_bytes
        self._note = note
        self._held: deque[bytes] = deque()
        self._held_bytes = 0
        self._ended = False
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """Carry until one end closes."""
        with suppress(OSError):
            await asyncio.gather(self._take(), self._give())
        self.close()

    def close(self) -> None:
        """Carry nothing any more."""
        self._ended = True
        self._changed.set()
        self._target.close()

    async def _take(self) -> None:
        try:
            while data := await self._source.read(self._chunk_bytes):
                while self._held_bytes >= self._buffer_bytes and not self._ended:
                    self._changed.clear()
                    await self._changed.wait()
                if not self.frozen:
                    self._hold(data)
        finally:
            self._ended = not self.frozen
            self._changed.set()

    def _hold(self, data: bytes) -> None:
        self._held.append(data)
        self._held_bytes += len(data)
        self._note(self._held_bytes)
        self._changed.set()

    async def _give(self) -> None:
        free_s = time.monotonic()
        while self._held or not self._ended:
            if not self._held:
                self._changed.clear()
                await self._changed.wait()
                continue
            free_s = max(free_s, time.monotonic() - _BURST_S) + len(self._held[0]) / self._bytes_per_s
            await asyncio.sleep(max(0.0, free_s - time.monotonic()))
            data = self._held.popleft()
            if not self.frozen:
                self._target.write(data)
                await self._target.drain()
            self._held_bytes -= len(data)
            self._changed.set()


class SlowLink:
    """A TCP proxy before the server at HOST:PORT, on a thread of its own, in a ``with`` statement.

    What clients send is held to ``bytes_per_s``. It takes as much as ``buffer_bytes`` ahead of that, as the buffers of
    a modem do, and counts what it holds: that is what grows old on the way. What the server sends passes unhindered.
    """

    def __init__(self, server: str, bytes_per_s: float = math.inf, buffer_bytes: int = 1 << 22) -> None:
        self.address = ""
        self.most_held_bytes = 0
        """The most that it has held at a time."""
        self._host, _, self._port = server.rpartition(":")
        self._bytes_per_s = bytes_per_s
        self._buffer_bytes = buffer_bytes
        self._pipes: list[_Pipe] = []
        self._listening = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), name="link", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._listening.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._left.set)
        self._thread.join()

    def freeze(self) -> None:
        """Of the connections until now nothing passes any more, and none is closed, as if the other host was gone."""
        for pipe in tuple(self._pipes):
            pipe.frozen = True

    def cut(self) -> None:
        """Close every connection and take no new one."""
        asyncio.run_coroutine_threadsafe(self._cut(), self._loop).result()

    async def _main(self) -> None:
        self._loop, self._left = asyncio.get_running_loop(), asyncio.Event()
        self._listener = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{self._listener.sockets[0].getsockname()[1]}"
        self._listening.set()
        await self._left.wait()
        await self._cut()

    async def _cut(self) -> None:
        self._listener.close()
        for pipe in self._pipes:
            pipe.close()

    async def _accept(self, near: asyncio.StreamReader, near_out: asyncio.StreamWriter) -> None:
        try:
            far, far_out = await asyncio.open_connection(self._host, self._port)
        except OSError:
            near_out.close()
            return
        up = _Pipe(near, far_out, self._bytes_per_s, self._buffer_bytes, self._note)
        down = _Pipe(far, near_out, math.inf, 1 << 16, lambda held: None)
        self._pipes += [up, down]
        await asyncio.gather(up.run(), down.run())

    def _note(self, held_bytes: int) -> None:
        self.most_held_bytes = max(self.most_held_bytes, held_bytes)
