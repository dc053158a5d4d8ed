"""A client for programs that are not asynchronous: pictures in, answers out.

    with Client("127.0.0.1:50051") as client:
        answer = client.segment(image)
        for instance in answer.instances:
            print(instance.class_name, instance.score, instance.box_xyxy)

Whatever the server or the way to it refuses is a ``ServerError`` with one sentence.
"""

import threading
import time
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from protos.streetmask.v1 import segmentation_pb2 as pb
from protos.streetmask.v1.segmentation_pb2_grpc import SegmentationServiceStub
from scene.errors import ServerError
from scene.image import MAX_PIXELS, RgbImage
from serve import wire
from serve.answer import Answer, Options
from serve.exchange import Frame, Reply, StreamOptions
from serve.frame import EncodedFrame
from serve.settings import message_bytes
from serve.status import error_of

IN_FLIGHT = 8
"""Unanswered frames of a stream: more than a server keeps, so that it is the server that chooses what to drop."""

_PAUSE_S = 0.1
_CONNECTION = (
    ("grpc.use_local_subchannel_pool", 1),  # else all clients of a process would share one connection
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),  # else a server that starts late would be found late
    ("grpc.keepalive_time_ms", 10_000),  # a server whose host vanished closes nothing
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.ping_timeout_ms", 15_000),  # gRPC's pings for the bandwidth hold the keepalive ones back
    ("grpc.keepalive_permit_without_calls", 0),
    ("grpc.http2.max_pings_without_data", 0),
)


@dataclass(frozen=True)
class Received:
    """A reply and the milliseconds from handing its frame to gRPC until the reply was read."""

    reply: Reply[Answer]
    latency_ms: float


class Client:
    """A connection to one server, made with the first call. Close it, or use it in a ``with`` statement.

    ``timeout_s`` is how long the server may take to start and load its model before the first call, and then for the
    answer to one picture.
    """

    def __init__(self, address: str, timeout_s: float = 30.0) -> None:
        longest = message_bytes(MAX_PIXELS)
        options = [("grpc.max_receive_message_length", longest), ("grpc.max_send_message_length", -1), *_CONNECTION]
        self._address = address
        self._timeout_s = timeout_s
        self._ready = False
        self._channel = grpc.insecure_channel(address, options)
        self._stub = SegmentationServiceStub(self._channel)
        self._health = HealthStub(self._channel)

    def segment(self, image: RgbImage | EncodedFrame | bytes, options: Options | None = None) -> Answer:
        """Answer one picture: uint8 [H, W, 3] RGB, the bytes of a JPEG or PNG file, or a frame encoded before."""
        self._wait_until_ready()
        frame = Frame(0, _now_us(), _encoded(image))
        try:
            response = self._stub.Segment(wire.segment_request(frame, options or Options()), timeout=self._timeout_s)
        except grpc.RpcError as error:
            raise error_of(error) from error
        return wire.read_segment_response(response)

    def stream(
        self,
        frames: Iterable[RgbImage | EncodedFrame | bytes],
        options: Options | None = None,
        in_flight: int = IN_FLIGHT,
        stream: StreamOptions | None = None,
    ) -> Generator[Received, None, None]:
        """Send frames, numbered from 0, as fast as they come, and yield what became of each, in order of arrival.

        The frames are drawn on a thread of gRPC; while ``in_flight`` of them are unanswered no further one is drawn.
        An error that the frames raise is raised here, after the replies to the frames before it.
        """
        self._wait_until_ready()
        outbox = _Outbox(frames, options or Options(), in_flight, stream or StreamOptions())
        call = self._stub.SegmentStream(outbox.requests())
        try:
            for response in call:
                reply = wire.read_stream_response(response)
                yield Received(reply, outbox.answered(reply.frame_id))
        except grpc.RpcError as error:
            raise error_of(error) from error
        finally:
            outbox.close()
            call.cancel()  # type: ignore[no-untyped-call]
        outbox.check()

    def close(self) -> None:
        """End all calls and the connection."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _wait_until_ready(self) -> None:
        """Return at once after the first time: later on, a server that stops is an error and not a wait."""
        deadline_s = time.monotonic() + self._timeout_s
        while not self._ready:
            reason = self._hindrance(max(_PAUSE_S, deadline_s - time.monotonic()))
            self._ready = not reason
            if reason and time.monotonic() + _PAUSE_S > deadline_s:
                raise ServerError(f"{reason} (waited {self._timeout_s:g} s for {self._address} to be ready)")
            if reason:
                time.sleep(_PAUSE_S)

    def _hindrance(self, timeout_s: float) -> str:
        """Why the server is not ready, empty when it is; raises ``ServerError`` for what waiting does not mend."""
        try:
            status = self._health.Check(HealthCheckRequest(), timeout=timeout_s).status
        except grpc.RpcError as error:
            code = error.code() if isinstance(error, grpc.Call) else None
            if code is grpc.StatusCode.DEADLINE_EXCEEDED:
                return "the server cannot be reached: it does not answer"
            if code is grpc.StatusCode.UNAVAILABLE:
                return str(error_of(error))
            raise error_of(error) from error
        serving = status == HealthCheckResponse.SERVING
        return "" if serving else "the server is still loading its model or is stopping"


class _Outbox:
    """What one stream sends: drawn by a thread of gRPC, kept back while too much is unanswered."""

    def __init__(
        self,
        frames: Iterable[RgbImage | EncodedFrame | bytes],
        options: Options,
        in_flight: int,
        stream: StreamOptions,
    ) -> None:
        self._frames = frames
        self._stream = stream
        self._options = options
        self._room = threading.Semaphore(in_flight)
        self._sent_s: dict[int, float] = {}
        self._closed = False
        self._error: Exception | None = None

    def requests(self) -> Iterator[pb.SegmentStreamRequest]:
        """The configuration, then the frames."""
        yield wire.configuration_request(wire.Configuration(self._options, self._stream, _send_time_us()))
        try:
            yield from self._frame_requests()
        except Exception as error:  # on gRPC's thread; `check` raises it on the caller's
            self._error = error

    def answered(self, frame_id: int) -> float:
        """Make room for another frame; the milliseconds since this one was sent."""
        sent_s = self._sent_s.pop(frame_id, None)
        if sent_s is None:
            raise ServerError(f"the server answered frame {frame_id}, which was not sent or was answered before")
        self._room.release()
        return (time.perf_counter() - sent_s) * 1000

    def close(self) -> None:
        """Send nothing more, and let go of the thread that waits to."""
        self._closed = True
        self._room.release()

    def check(self) -> None:
        """Raise what the frames raised, or that the server left some of them unanswered."""
        if self._error is not None:
            raise self._error
        if self._sent_s:
            raise ServerError(f"the server closed the stream and left {len(self._sent_s)} frames unanswered")

    def _frame_requests(self) -> Iterator[pb.SegmentStreamRequest]:
        frames = enumerate(self._frames)
        while self._has_room():
            number, image = next(frames, (-1, b""))
            if number < 0:
                return
            frame = Frame(number, _now_us(), _encoded(image), _send_time_us())
            self._sent_s[number] = time.perf_counter()
            yield wire.frame_request(frame)

    def _has_room(self) -> bool:
        """Wait until another frame may be sent; False once the stream has ended."""
        self._room.acquire()
        return not self._closed


def _encoded(image: RgbImage | EncodedFrame | bytes) -> EncodedFrame:
    if isinstance(image, EncodedFrame):
        return image
    return EncodedFrame(image) if isinstance(image, bytes) else EncodedFrame.raw(image)


def _send_time_us() -> int:
    """Of a clock that nobody sets."""
    return time.monotonic_ns() // 1000


def _now_us() -> int:
    return time.time_ns() // 1000
