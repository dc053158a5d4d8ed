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

import grpc

from protos.streetmask.v1 import segmentation_pb2 as pb
from protos.streetmask.v1.segmentation_pb2_grpc import SegmentationServiceStub
from scene.errors import ServerError
from scene.image import MAX_PIXELS, RgbImage
from serve import wire
from serve.answer import Answer, Options
from serve.frame import EncodedFrame
from serve.settings import message_bytes
from serve.status import error_of
from serve.stream import Frame, Reply

IN_FLIGHT = 8
"""Unanswered frames of a stream: more than a server keeps, so that it is the server that chooses what to drop."""

NONE_DROPPED = 2
"""With so many frames in flight, one in work and one waiting, a server drops none and is never idle."""


@dataclass(frozen=True)
class Received:
    """A reply and the milliseconds from handing its frame to gRPC until the reply was read."""

    reply: Reply[Answer]
    latency_ms: float


class Client:
    """A connection to one server, made with the first call. Close it, or use it in a ``with`` statement."""

    def __init__(self, address: str, timeout_s: float = 30.0) -> None:
        longest = message_bytes(MAX_PIXELS)
        options = [("grpc.max_receive_message_length", longest), ("grpc.max_send_message_length", -1)]
        self._timeout_s = timeout_s
        self._channel = grpc.insecure_channel(address, options)
        self._stub = SegmentationServiceStub(self._channel)

    def segment(self, image: RgbImage | EncodedFrame | bytes, options: Options | None = None) -> Answer:
        """Answer one picture: uint8 [H, W, 3] RGB, the bytes of a JPEG or PNG file, or a frame encoded before."""
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
    ) -> Generator[Received, None, None]:
        """Send frames, numbered from 0, as fast as they come, and yield what became of each, in order of arrival.

        The frames are drawn on a thread of gRPC; while ``in_flight`` of them are unanswered no further one is drawn.
        An error that the frames raise is raised here, after the replies to the frames before it.
        """
        outbox = _Outbox(frames, options or Options(), in_flight)
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

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Outbox:
    """What one stream sends: drawn by a thread of gRPC, kept back while too much is unanswered."""

    def __init__(self, frames: Iterable[RgbImage | EncodedFrame | bytes], options: Options, in_flight: int) -> None:
        self._frames = frames
        self._options = options
        self._room = threading.Semaphore(in_flight)
        self._sent_s: dict[int, float] = {}
        self._closed = False
        self._error: Exception | None = None

    def requests(self) -> Iterator[pb.SegmentStreamRequest]:
        """The configuration, then the frames."""
        yield wire.configuration_request(self._options)
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
            frame = Frame(number, _now_us(), _encoded(image))
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


def _now_us() -> int:
    return time.time_ns() // 1000
