"""What becomes of the frames of one stream on the client's side: which waits, which is on its way, what was answered.

Both clients are this and the moving of bytes. No thread, no socket and no gRPC here: whoever holds an outbox calls it
from one place at a time. A frame that the source yielded waits until it may be sent; is sent, and unanswered until its
reply was handed to the user; or gives way. Each has exactly one outcome, unless the stream ends with an error.
"""

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Generic, NamedTuple

from scene.errors import ServerError, require
from serve.answer import Answer
from serve.exchange import Drop, DropPolicy, Failure, Frame, In, Reply, StreamOptions

LIVE_IN_FLIGHT = 1
"""Unanswered frames of a live stream: a second one would grow old in the buffers of the way."""

EVERY_IN_FLIGHT = 3
"""Of a stream that wants every frame answered: one in work, one waiting, one on its way."""

MOST_UNREAD = 1024
"""Outcomes that may wait for the user to take them before neither source nor server is read."""


@dataclass(frozen=True)
class Received:
    """What became of one frame, and when the client knew.

    ``latency_ms`` counts from when the source yielded the frame, so that waiting in the client is part of it;
    ``round_trip_ms`` from its sending, nan of a frame that was not sent.
    """

    reply: Reply[Answer]
    latency_ms: float
    round_trip_ms: float = field(default=math.nan, compare=False)

    @property
    def frame_id(self) -> int:
        """The frame's number in its stream, from 0."""
        return self.reply.frame_id

    @property
    def answer(self) -> Answer | None:
        """What the frame holds, if it was answered."""
        return self.reply.outcome if isinstance(self.reply.outcome, Answer) else None

    @property
    def dropped(self) -> Drop | None:
        """Why the frame was not looked at, if it was not."""
        return self.reply.outcome if isinstance(self.reply.outcome, Drop) else None

    @property
    def failure(self) -> Failure | None:
        """Why the frame was looked at in vain, if it was."""
        return self.reply.outcome if isinstance(self.reply.outcome, Failure) else None


@dataclass(frozen=True)
class _Drawn(Generic[In]):
    """A frame that waits."""

    frame: Frame[In]
    drawn_s: float


@dataclass(frozen=True)
class _Sent(Generic[In]):
    """A frame that is on its way."""

    drawn: _Drawn[In]
    sent_s: float


class _Unread(NamedTuple):
    """An outcome that the user has not taken; ``frees`` a place on the way when it is."""

    received: Received
    frees: bool


class Outbox(Generic[In]):
    """The frames of one stream, numbered from 0; by the policy of its options.

    NEWEST: one frame waits, a newer one takes its place. QUEUE: ``queue_length`` wait, the oldest gives way. EVERY: the
    source is drawn from only while fewer than ``in_flight`` frames are unanswered. A frame that was on its way when its
    connection broke is lost, with EVERY it is sent again. One that waited longer than ``max_age_ms`` is not sent.
    """

    def __init__(
        self, options: StreamOptions, in_flight: int | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._every = options.policy is DropPolicy.EVERY
        usual = EVERY_IN_FLIGHT if self._every else LIVE_IN_FLIGHT
        self._in_flight = usual if in_flight is None else in_flight
        require("in_flight", self._in_flight >= 1, "1 or more", in_flight)
        self._options = options
        self._clock = clock
        self._waiting: deque[_Drawn[In]] = deque()
        self._sent: dict[int, _Sent[In]] = {}
        self._unread: deque[_Unread] = deque()
        self._unread_replies = 0
        self._next_id = 0
        self._connection = 0
        self._connected = False
        self._source_ended = False
        self._ended = False
        self._error: BaseException | None = None

    # The source.

    @property
    def wants_frame(self) -> bool:
        """Whether the source may be drawn from now."""
        if self._ended or self._source_ended or self.full:
            return False
        return not self._every or len(self._waiting) + self._on_the_way < self._in_flight

    def put(self, payload: In, capture_time_us: int) -> None:
        """Let the source's next frame wait, in an older one's place where there is none free."""
        if not self._every and len(self._waiting) >= self._places:
            newest = self._options.policy is DropPolicy.NEWEST
            self._drop(self._waiting.popleft(), Drop.NEWER_FRAME if newest else Drop.QUEUE_FULL)
        self._waiting.append(_Drawn(Frame(self._next_id, capture_time_us, payload), self._clock()))
        self._next_id += 1

    def close_source(self, error: BaseException | None = None) -> None:
        """No frame comes any more. An error of the source's is told after the outcomes of the frames before it."""
        self._source_ended = True
        self._error = self._error or error

    # The connection.

    def connect(self) -> int:
        """A connection begins; its number, by which those who send on it learn that it is over."""
        self._connection += 1
        self._connected = True
        return self._connection

    def next_frame(self, connection: int) -> Frame[In] | None:
        """The frame to send now, if one may be sent on this connection; it is stamped and on its way."""
        if self._ended or connection != self._connection or not self._connected:
            return None
        self._drop_expired()
        if not self._waiting or self._on_the_way >= self._in_flight:
            return None
        drawn, now_s = self._waiting.popleft(), self._clock()
        self._sent[drawn.frame.id] = _Sent(drawn, now_s)
        return replace(drawn.frame, send_time_us=microseconds(now_s))

    def sending_over(self, connection: int) -> bool:
        """Whether nothing more will be sent on this connection."""
        stale = self._ended or connection != self._connection or not self._connected
        return stale or (self._source_ended and not self._waiting)

    def answered(self, reply: Reply[Answer]) -> None:
        """The server said what became of a frame."""
        sent, now_s = self._sent.pop(reply.frame_id, None), self._clock()
        if sent is None:
            raise ServerError(f"the server answered frame {reply.frame_id}, which was not sent or was answered before")
        received = Received(reply, (now_s - sent.drawn.drawn_s) * 1000, (now_s - sent.sent_s) * 1000)
        self._unread.append(_Unread(received, frees=True))
        self._unread_replies += 1

    def lost(self) -> None:
        """The connection broke: what was on its way is lost, or waits to be sent again, before what waits already."""
        self._connected = False
        if self._every:
            self._waiting.extendleft(sent.drawn for sent in reversed(self._sent.values()))
        else:
            for sent in self._sent.values():
                self._drop(sent.drawn, Drop.CONNECTION_LOST, sent.sent_s)
        self._sent.clear()

    def completed(self) -> None:
        """The server closed the stream in order; raises ``ServerError`` if it left frames unanswered."""
        if not self.done:
            unanswered = len(self._sent) + len(self._waiting)
            raise ServerError(f"the server closed the stream and left {unanswered} frames unanswered")

    # The user.

    @property
    def done(self) -> bool:
        """Whether every frame of the source has its outcome."""
        return self._source_ended and not self._waiting and not self._sent

    @property
    def full(self) -> bool:
        """Whether so much is unread that nothing more should be received."""
        return len(self._unread) >= MOST_UNREAD

    @property
    def readable(self) -> bool:
        """Whether there is something to take, or nothing will come any more."""
        return bool(self._unread) or self._ended

    @property
    def ended(self) -> bool:
        """Whether the stream has ended, well or not."""
        return self._ended

    def take(self) -> Received | None:
        """The next outcome, if one is there. Taking a reply makes room for another frame on the way."""
        if not self._unread:
            return None
        received, frees = self._unread.popleft()
        self._unread_replies -= frees
        return received

    def end(self, error: BaseException | None = None) -> None:
        """The stream ends: nothing is drawn or sent any more."""
        self._ended = True
        self._error = self._error or error

    def check(self) -> None:
        """Raise what ended the stream early."""
        if self._error is not None:
            raise self._error

    @property
    def _on_the_way(self) -> int:
        """A reply that nobody has taken counts: a user slower than the server would else get ever older ones."""
        return len(self._sent) + self._unread_replies

    @property
    def _places(self) -> int:
        """Frames that may wait: by the policy, and those which the way has room for though nobody has sent them yet.

        One such place is the policy's own; while there is no connection there is no other.
        """
        free = self._in_flight - self._on_the_way if self._connected else 0
        length = self._options.queue_length if self._options.policy is DropPolicy.QUEUE else 1
        return length + max(0, free - 1)

    def _drop_expired(self) -> None:
        limit_ms = self._options.max_age_ms
        while limit_ms is not None and self._waiting and self._age_ms(self._waiting[0]) > limit_ms:
            self._drop(self._waiting.popleft(), Drop.EXPIRED)

    def _drop(self, drawn: _Drawn[In], reason: Drop, sent_s: float = math.nan) -> None:
        reply: Reply[Answer] = Reply(drawn.frame.id, drawn.frame.capture_time_us, reason)
        round_trip_ms = (self._clock() - sent_s) * 1000
        self._unread.append(_Unread(Received(reply, self._age_ms(drawn), round_trip_ms), frees=False))

    def _age_ms(self, drawn: _Drawn[In]) -> float:
        return (self._clock() - drawn.drawn_s) * 1000


def microseconds(clock_s: float) -> int:
    """A reading of a clock as it is sent."""
    return round(clock_s * 1e6)
