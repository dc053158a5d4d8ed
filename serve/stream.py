"""The life of one stream: read, answer, write, and end. Knows no images and no gRPC.

A frame waits, by the stream's policy; is in work, and then always answered; or is answered and on its way out. The
reader always reads, but for a stream that wants every frame answered. Its client is told what became of each frame;
where the client leaves answers unread, work pauses, and where it leaves too much unread, the stream ends.
All tasks of a stream live in one group: when its handler is cancelled, because the client went away or the server
stops, they all end at once, and work that has not begun is never begun.
"""

import asyncio
import logging
import math
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Generic, Protocol, TypeVar

from scene.errors import ConfigurationError, FrameError, LimitError, ServerError, StreetMaskError, UnreadError
from serve.clock import SenderClock
from serve.exchange import Drop, DropPolicy, Failure, FailureCode, Frame, In, Out, Reply, StreamOptions
from serve.logs import Seldom

LOG = logging.getLogger(__name__)

OUTGOING = 16
"""Answers that may wait for the client to read them before work pauses."""

FINISHED_IN_TURN = 4
"""The same for a stream whose answers are finished one after the other, so that none grows old before that."""

MOST_UNREAD = 1024
"""Replies that may wait for the client to read them before the stream ends: while work pauses, notices of drops."""

STALLED_S = 60.0
"""How long one reply may wait for a client that reads nothing."""

STOPPING = "the server is stopping; connect again"

READ_AHEAD = 8
"""Frames that wait in a stream that wants every frame answered, before reading pauses."""

MOST_WAITING_BYTES = 256 << 20
"""What the frames of one stream that wait may weigh together: there is always room for one."""

Payload_contra = TypeVar("Payload_contra", contravariant=True)
Result_co = TypeVar("Result_co", covariant=True)


class Admission(Protocol[Payload_contra, Result_co]):
    """The right to work on one frame now. It is used once at most, and released in any case."""

    async def answer(self, payload: Payload_contra, /) -> Result_co:
        """Answer the frame."""
        ...

    def release(self) -> None:
        """Give it back, if it was not used."""
        ...


class Waiting(Generic[In]):
    """The frames of one stream that wait, by its policy."""

    def __init__(self, options: StreamOptions, weigh: Callable[[In], int] = lambda _: 0) -> None:
        self._frames: deque[Frame[In]] = deque()
        self._weigh = weigh
        self._weight = 0
        self._policy = options.policy
        lengths = {DropPolicy.NEWEST: 1, DropPolicy.EVERY: READ_AHEAD, DropPolicy.QUEUE: options.queue_length}
        self._length = lengths[options.policy]
        self._closed = False
        self._changed = asyncio.Event()

    async def put(self, frame: Frame[In]) -> list[Reply[Out]]:
        """Let a frame wait; return the notices of those that give way to it. Waits for room where none may."""
        weight = self._weigh(frame.payload)
        while self._policy is DropPolicy.EVERY and self._full(weight) and not self._closed:
            self._changed.clear()
            await self._changed.wait()
        notices: list[Reply[Out]] = []
        while self._full(weight) and self._policy is not DropPolicy.EVERY:
            reason = Drop.NEWER_FRAME if self._policy is DropPolicy.NEWEST else Drop.QUEUE_FULL
            notices.append(reply(self._pop(), reason))
        self._frames.append(frame)
        self._weight += weight
        self._changed.set()
        return notices

    def close(self) -> None:
        """No frame will come after those that wait."""
        self._closed = True
        self._changed.set()

    async def ready(self) -> bool:
        """True as soon as a frame waits; False once none does and none will come."""
        while not self._frames and not self._closed:
            self._changed.clear()
            await self._changed.wait()
        return bool(self._frames)

    def next_arrived_s(self) -> float:
        """When the frame came that would be taken now; minus infinity where none waits."""
        return self._frames[0].arrived_s if self._frames else -math.inf

    def take(self) -> Frame[In] | None:
        """The frame whose turn it is, if any waits."""
        frame = self._pop() if self._frames else None
        self._changed.set()
        return frame

    def _full(self, weight: int) -> bool:
        too_heavy = bool(self._frames) and self._weight + weight > MOST_WAITING_BYTES
        return too_heavy or len(self._frames) >= self._length

    def _pop(self) -> Frame[In]:
        frame = self._frames.popleft()
        self._weight -= self._weigh(frame.payload)
        return frame


class FrameStream(Generic[In, Out]):
    """Answers the frames of one client until it is done, goes away, or ``stopping`` is set.

    ``admit`` waits for this stream's turn among all streams; only then is it chosen which frame that turn is for.
    ``finish`` is given each result in the order of the frames, before it is sent.
    """

    def __init__(
        self,
        frames: AsyncIterator[Frame[In]],
        admit: Callable[[], Awaitable[Admission[In, Out]]],
        send: Callable[[Reply[Out]], Awaitable[None]],
        stopping: asyncio.Event,
        options: StreamOptions | None = None,
        clock: SenderClock | None = None,
        finish: Callable[[Frame[In], Out], Awaitable[Out]] | None = None,
        name: str = "",
        weigh: Callable[[In], int] = lambda _: 0,
    ) -> None:
        self._options = options or StreamOptions()
        self._frames = frames
        self._admit = admit
        self._send = send
        self._stopping = stopping
        self._clock = clock or SenderClock()
        self._finish = finish
        self._name = name
        self._told = Seldom()  # a client must not fill the disk, or hold the event loop at a full pipe, by its mistakes
        self._waiting: Waiting[In] = Waiting(self._options, weigh)
        self._in_work: asyncio.Queue[tuple[Frame[In], asyncio.Task[Out | Failure]] | None] = asyncio.Queue()
        self._outgoing: asyncio.Queue[Reply[Out] | None] = asyncio.Queue()
        self._ended_by: Exception | None = None
        self._most_unsent = OUTGOING if finish is None else FINISHED_IN_TURN
        self._unsent = 0  # frames in work, and answers not yet sent
        self._sent = asyncio.Event()

    def next_arrived_s(self) -> float:
        """When the frame came that a turn would be for now, by this machine's monotonic clock."""
        return self._waiting.next_arrived_s()

    async def run(self) -> None:
        """Answer every frame that was read; raise the one error that ended the stream early.

        That is ``ConfigurationError`` for frame ids that do not grow, ``LimitError`` for a client that does not read,
        ``ServerError`` when the server is stopping, and whatever reading, admitting and sending raise.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                reader = tasks.create_task(self._read())
                stopper = tasks.create_task(self._stop(reader))
                tasks.create_task(self._write())
                tasks.create_task(self._deliver())
                await self._work(tasks)
                reader.cancel()  # nothing would be done with what it reads
                stopper.cancel()
                self._in_work.put_nowait(None)
        except BaseExceptionGroup as group:
            raise _first(group) from group
        if self._ended_by is not None:
            raise self._ended_by
        if self._stopping.is_set():
            raise ServerError(STOPPING)

    async def _read(self) -> None:
        newest = -1
        async for frame in self._frames:
            if frame.id <= newest:
                raise ConfigurationError("frame.id", f"expected more than {newest}, but {frame.id} came")
            newest = frame.id
            self._clock.note(frame.send_time_us, frame.arrived_s)
            notices: list[Reply[Out]] = await self._waiting.put(frame)
            for notice in notices:
                self._put(notice)
        self._waiting.close()

    async def _stop(self, reader: asyncio.Task[None]) -> None:
        await self._stopping.wait()
        self._waiting.close()
        await asyncio.sleep(0)  # a frame that was read and had no room finds some
        reader.cancel()

    async def _work(self, tasks: asyncio.TaskGroup) -> None:
        while await self._waiting.ready():
            while self._unsent >= self._most_unsent:
                self._sent.clear()
                await self._sent.wait()
            try:
                admission = await self._admit()
            except StreetMaskError as error:  # its model is not there any more: what is in work is answered still
                self._ended_by = error
                return
            frame = None
            try:
                frame = self._next_in_time()
            finally:
                if frame is None:
                    admission.release()
            if frame is not None:
                self._begin(frame, admission, tasks)

    def _begin(self, frame: Frame[In], admission: Admission[In, Out], tasks: asyncio.TaskGroup) -> None:
        task = tasks.create_task(self._outcome(frame, admission))
        task.add_done_callback(lambda _: admission.release())  # a task that is cancelled before it begins never runs
        self._unsent += 1
        self._in_work.put_nowait((frame, task))

    def _next_in_time(self) -> Frame[In] | None:
        """The frame whose turn it is; those that are too old by now are told so."""
        while (frame := self._waiting.take()) is not None:
            limit_ms = self._options.max_age_ms
            if limit_ms is None or self._age_ms(frame) <= limit_ms:
                return frame
            self._put(reply(frame, Drop.EXPIRED))
        return None

    async def _outcome(self, frame: Frame[In], admission: Admission[In, Out]) -> Out | Failure:
        try:
            return await admission.answer(frame.payload)
        except FrameError as error:
            self._tell("a frame cannot be used: %s%s", error, frame)
            return Failure(FailureCode.INVALID_FRAME, str(error))
        except LimitError as error:
            self._tell("a frame is refused: %s%s", error, frame)
            return Failure(FailureCode.INTERNAL, str(error))
        except Exception:
            return self._failed(frame)

    def _failed(self, frame: Frame[In]) -> Failure:
        """Called where the error is at hand."""
        if (silenced := self._told("a frame failed")) is not None:
            LOG.exception("a frame failed%s", _more(silenced), extra=self._names(frame))
        return Failure(FailureCode.INTERNAL, "the server failed on this frame; its log says why")

    def _tell(self, sentence: str, error: Exception, frame: Frame[In]) -> None:
        if (silenced := self._told(sentence)) is not None:
            LOG.info(sentence, error, _more(silenced), extra=self._names(frame))

    async def _deliver(self) -> None:
        """Results go out in the order of their frames, whichever was ready first."""
        while (item := await self._in_work.get()) is not None:
            frame, task = item
            outcome = await task
            if not isinstance(outcome, Failure):
                outcome = await self._finished(frame, outcome)
            self._put(replace(reply(frame, outcome), age_ms=self._age_ms(frame)))
        self._outgoing.put_nowait(None)

    async def _finished(self, frame: Frame[In], outcome: Out) -> Out | Failure:
        try:
            return outcome if self._finish is None else await self._finish(frame, outcome)
        except Exception:
            return self._failed(frame)

    def _put(self, answer: Reply[Out]) -> None:
        if self._outgoing.qsize() >= MOST_UNREAD:
            raise UnreadError(f"{MOST_UNREAD} replies wait for the client to read them; read while you write")
        self._outgoing.put_nowait(answer)

    async def _write(self) -> None:
        while (answer := await self._outgoing.get()) is not None:
            try:
                async with asyncio.timeout(STALLED_S):
                    await self._send(answer)
            except TimeoutError:
                raise UnreadError(f"the client has read nothing for {STALLED_S:g} s; read while you write") from None
            if not isinstance(answer.outcome, Drop):
                self._unsent -= 1
                self._sent.set()

    def _age_ms(self, frame: Frame[In]) -> float:
        return self._clock.age_ms(frame.send_time_us, frame.arrived_s, time.perf_counter())

    def _names(self, frame: Frame[In]) -> dict[str, object]:
        return {"stream": self._name, "frame": frame.id}


def _more(silenced: int) -> str:
    return f"; {silenced} more since the last such line" if silenced else ""


def reply(frame: Frame[In], outcome: Out | Failure | Drop) -> Reply[Out]:
    """The reply to a frame."""
    return Reply(frame.id, frame.capture_time_us, outcome)


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error that made the others end."""
    error = group.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error
