"""The life of one stream: read, answer, write, and end. Knows no images and no gRPC.

A frame is in one of three places: waiting (one at most: a newer frame takes its place), in work (one at most, always
answered), or answered and on its way out (a bounded queue; when it is full, reading stops until the client reads).
All tasks of a stream live in one group: when its handler is cancelled, because the client went away or the server
stops, they all end at once, and work that has not begun is never begun.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from typing import Generic, TypeVar

from scene.errors import ConfigurationError, FrameError, ServerError

LOG = logging.getLogger(__name__)

OUTGOING = 16
"""Replies that may wait for the client to read them."""

In = TypeVar("In")
Out = TypeVar("Out")


@dataclass(frozen=True)
class Frame(Generic[In]):
    """A frame as the client numbered it. ``capture_time_us`` is handed back unchanged."""

    id: int
    capture_time_us: int
    payload: In


class FailureCode(Enum):
    """Whose fault it is that a frame has no answer."""

    UNKNOWN = "unknown"
    INVALID_FRAME = "invalid_frame"
    INTERNAL = "internal"


@dataclass(frozen=True)
class Failure:
    """Why one frame has no answer."""

    code: FailureCode
    message: str


class Drop(Enum):
    """Why a frame was not looked at."""

    UNKNOWN = "unknown"
    NEWER_FRAME = "newer_frame"


@dataclass(frozen=True)
class Reply(Generic[Out]):
    """What became of one frame."""

    frame_id: int
    capture_time_us: int
    outcome: Out | Failure | Drop


class WaitingFrame(Generic[In]):
    """Room for the one frame that waits, and for the one worker that takes it."""

    def __init__(self) -> None:
        self._frame: Frame[In] | None = None
        self._closed = False
        self._taker: asyncio.Future[Frame[In] | None] | None = None

    def put(self, frame: Frame[In]) -> Frame[In] | None:
        """Hand a frame to an idle worker, or else let it wait; return the one whose place it takes."""
        if self._hand_over(frame):
            return None
        replaced, self._frame = self._frame, frame
        return replaced

    def close(self) -> None:
        """No frame will come after the one that waits."""
        self._closed = True
        self._hand_over(None)

    async def take(self) -> Frame[In] | None:
        """The waiting frame as soon as there is one; None once it is closed and empty."""
        if self._frame is None and not self._closed:
            self._taker = asyncio.get_running_loop().create_future()
            return await self._taker
        frame, self._frame = self._frame, None
        return frame

    def _hand_over(self, frame: Frame[In] | None) -> bool:
        """Whether a worker stood idle. A frame in its hands is in work, even before the worker has woken up."""
        if self._taker is None or self._taker.done():
            return False
        self._taker.set_result(frame)
        return True


class FrameStream(Generic[In, Out]):
    """Answers the frames of one client until it is done, goes away, or ``stopping`` is set."""

    def __init__(
        self,
        frames: AsyncIterator[Frame[In]],
        answer: Callable[[In], Awaitable[Out]],
        send: Callable[[Reply[Out]], Awaitable[None]],
        stopping: asyncio.Event,
    ) -> None:
        self._frames = frames
        self._answer = answer
        self._send = send
        self._stopping = stopping
        self._waiting: WaitingFrame[In] = WaitingFrame()
        self._outgoing: asyncio.Queue[Reply[Out] | None] = asyncio.Queue(OUTGOING)

    async def run(self) -> None:
        """Answer every frame that was read; raise the one error that ended the stream early.

        That is ``ConfigurationError`` for frame ids that do not grow, ``ServerError`` when the server is stopping, and
        whatever reading and sending raise.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                reader = tasks.create_task(self._read())
                stopper = tasks.create_task(self._stop(reader))
                tasks.create_task(self._write())
                await self._work()
                stopper.cancel()
                await self._outgoing.put(None)
        except BaseExceptionGroup as group:
            raise _first(group) from group
        if self._stopping.is_set():
            raise ServerError("the server is stopping; connect again")

    async def _read(self) -> None:
        newest = -1
        async for frame in self._frames:
            if frame.id <= newest:
                raise ConfigurationError("frame.id", f"expected more than {newest}, but {frame.id} came")
            newest = frame.id
            replaced = self._waiting.put(frame)
            if replaced is not None:
                await self._outgoing.put(_reply(replaced, Drop.NEWER_FRAME))
        self._waiting.close()

    async def _stop(self, reader: asyncio.Task[None]) -> None:
        await self._stopping.wait()
        reader.cancel()
        self._waiting.close()

    async def _work(self) -> None:
        """Between a reply and the next frame nothing else runs, unless the queue is full.

        So a client with two unanswered frames, one in work and one waiting, sees neither dropped.
        """
        while (frame := await self._waiting.take()) is not None:
            await self._outgoing.put(_reply(frame, await self._outcome(frame)))

    async def _outcome(self, frame: Frame[In]) -> Out | Failure:
        try:
            return await self._answer(frame.payload)
        except FrameError as error:
            return Failure(FailureCode.INVALID_FRAME, str(error))
        except Exception:
            LOG.exception("frame %d failed", frame.id)
            return Failure(FailureCode.INTERNAL, "the server failed on this frame; its log says why")

    async def _write(self) -> None:
        while (reply := await self._outgoing.get()) is not None:
            await self._send(reply)


def _reply(frame: Frame[In], outcome: Out | Failure | Drop) -> Reply[Out]:
    return Reply(frame.id, frame.capture_time_us, outcome)


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error that made the others end."""
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
