"""What passes over a stream: frames in, one reply for each, and what the client asked for at the start."""

import math
import time
from dataclasses import dataclass, field
from enum import Enum
from typing import Generic, TypeVar

from scene.errors import require

In = TypeVar("In")
Out = TypeVar("Out")

MOST_QUEUED = 256


class DropPolicy(Enum):
    """What happens to frames that come faster than they are answered.

    NEWEST: one frame waits, a newer one takes its place. EVERY: none is dropped for another, and a sender that is too
    fast is not read from. QUEUE: so many wait, then the oldest gives way.
    """

    NEWEST = "newest"
    EVERY = "every"
    QUEUE = "queue"


@dataclass(frozen=True)
class StreamOptions:
    """How a stream is to be treated, whatever its frames hold; raises ``ConfigurationError`` for what is out of range.

    ``queue_length`` counts for DropPolicy.QUEUE. A frame older than ``max_age_ms`` when its turn comes is dropped; None
    for no limit. Streams of a higher ``priority``, -100 to 100, go first. ``track`` asks for ids of objects that
    persist from frame to frame.
    """

    policy: DropPolicy = DropPolicy.NEWEST
    queue_length: int = 8
    max_age_ms: int | None = None
    priority: int = 0
    track: bool = False

    def __post_init__(self) -> None:
        require("queue_length", 1 <= self.queue_length <= MOST_QUEUED, f"1 to {MOST_QUEUED}", self.queue_length)
        allowed = self.max_age_ms is None or 1 <= self.max_age_ms < 1 << 32
        require("max_age_ms", allowed, "1 or more, or nothing", self.max_age_ms)
        require("priority", -100 <= self.priority <= 100, "-100 to 100", self.priority)


@dataclass(frozen=True)
class Frame(Generic[In]):
    """A frame as the client numbered it.

    ``capture_time_us`` is handed back unchanged. ``send_time_us`` is of a clock of the client's, 0 when unknown;
    ``arrived_s`` of this machine's monotonic clock.
    """

    id: int
    capture_time_us: int
    payload: In
    send_time_us: int = 0
    arrived_s: float = field(default_factory=time.perf_counter, compare=False)


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
    """Why a frame was not looked at. CONNECTION_LOST is the client's own: no server says it."""

    UNKNOWN = "unknown"
    NEWER_FRAME = "newer_frame"
    QUEUE_FULL = "queue_full"
    EXPIRED = "expired"
    CONNECTION_LOST = "connection_lost"


@dataclass(frozen=True)
class Reply(Generic[Out]):
    """What became of one frame. ``age_ms`` from its sending until its answer was ready, nan when nobody knows."""

    frame_id: int
    capture_time_us: int
    outcome: Out | Failure | Drop
    age_ms: float = field(default=math.nan, compare=False)
