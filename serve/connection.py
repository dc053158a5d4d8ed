"""The way to a server, as both clients and their streams use it."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeGuard

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from protos.streetmask.v1 import segmentation_pb2 as pb
from protos.streetmask.v1.segmentation_pb2_grpc import SegmentationServiceStub
from scene.errors import ServerError, require
from scene.image import MAX_PIXELS, RgbImage
from serve import keepalive
from serve.frame import EncodedFrame
from serve.settings import message_bytes
from serve.status import code_of, error_of

POLL_S = 0.1
"""Between two questions whether a server that starts is ready."""

Image = RgbImage | EncodedFrame | bytes
"""A picture, uint8 [H, W, 3] RGB; a frame encoded before; or the bytes of a JPEG or PNG file."""


@dataclass(frozen=True)
class Captured:
    """A picture and when it was taken: microseconds, more than 0, of any clock of the source's.

    Objects are followed by these times. A picture without one is taken for taken when it came.
    """

    image: Image
    capture_time_us: int


def channel_options(keepalive_s: float) -> list[tuple[str, int]]:
    """A channel's settings: long messages, quick reconnection, and a sign of life after ``keepalive_s`` of silence."""
    require("keepalive_s", keepalive_s > 0, "more than 0", keepalive_s)
    return [
        ("grpc.max_receive_message_length", message_bytes(MAX_PIXELS)),
        ("grpc.max_send_message_length", -1),
        ("grpc.use_local_subchannel_pool", 1),  # else all clients of a process would share one connection
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 1_000),
        ("grpc.max_reconnect_backoff_ms", 1_000),  # else a server that starts late would be found late
        *keepalive.client_options(keepalive_s),
    ]


def encoded(image: Image) -> EncodedFrame:
    """A picture as it is sent."""
    if isinstance(image, EncodedFrame):
        return image
    return EncodedFrame(image) if isinstance(image, bytes) else EncodedFrame.raw(image)


def now_us() -> int:
    """The time of day, in microseconds since 1970."""
    return time.time_ns() // 1000


class Connection:
    """A channel to one server, connected with the first call.

    ``timeout_s`` is how long the server may take to be ready before the first call, and then for one answer.
    """

    def __init__(self, address: str, timeout_s: float, keepalive_s: float) -> None:
        self.address = address
        self.timeout_s = timeout_s
        self.closed = False
        self.ready = False
        self._channel = grpc.insecure_channel(address, channel_options(keepalive_s))
        self._stub = SegmentationServiceStub(self._channel)
        self._health = HealthStub(self._channel)

    def segment(self, request: pb.SegmentRequest, timeout_s: float | None = None) -> pb.SegmentResponse:
        """The answer to one picture, within this time or the connection's; raises ``ServerError``."""
        try:
            return self._stub.Segment(request, timeout=self.timeout_s if timeout_s is None else timeout_s)
        except (grpc.RpcError, ValueError) as error:
            raise self.error_of(error) from error

    def begin_segment(
        self, request: pb.SegmentRequest, timeout_s: float | None = None
    ) -> "grpc.CallFuture[pb.SegmentResponse]":
        """The same, without waiting for it; the future raises what gRPC raises."""
        try:
            return self._stub.Segment.future(request, timeout=self.timeout_s if timeout_s is None else timeout_s)
        except ValueError as error:
            raise self.error_of(error) from error

    def open_stream(self, requests: Iterator[pb.SegmentStreamRequest]) -> "grpc.CallIterator[pb.SegmentStreamResponse]":
        """Begin a stream of messages; the iterator raises what gRPC raises."""
        try:
            return self._stub.SegmentStream(requests)
        except ValueError as error:
            raise self.error_of(error) from error

    def wait_until_ready(self) -> None:
        """Return at once after the first time: later on, a server that stops is an error and not a wait."""
        deadline_s = time.monotonic() + self.timeout_s
        while not self.ready:
            reason = self.hindrance(max(POLL_S, deadline_s - time.monotonic()))
            self.ready = not reason
            if reason and time.monotonic() + POLL_S > deadline_s:
                raise ServerError(f"{reason} (waited {self.timeout_s:g} s for {self.address} to be ready)")
            if reason:
                time.sleep(POLL_S)

    def hindrance(self, timeout_s: float) -> str:
        """Why the server is not ready, empty when it is; raises ``ServerError`` for what waiting does not mend."""
        try:
            status = self._health.Check(HealthCheckRequest(), timeout=timeout_s).status
        except (grpc.RpcError, ValueError) as error:
            if isinstance(error, grpc.RpcError) and code_of(error) is grpc.StatusCode.DEADLINE_EXCEEDED:
                return "the server cannot be reached: it does not answer"
            if self.broken_by(error):
                return str(error_of(error))
            raise self.error_of(error) from error
        serving = status == HealthCheckResponse.SERVING
        return "" if serving else "the server is still loading its model or is stopping"

    def broken_by(self, error: Exception) -> TypeGuard[grpc.RpcError]:
        """Whether the connection or the server's life ended, and not the call: it may be tried again on another.

        A server that stops before its calls are done cancels them.
        """
        codes = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
        return not self.closed and isinstance(error, grpc.RpcError) and code_of(error) in codes

    def error_of(self, error: object) -> ServerError:
        """What a call's error means: gRPC says ``ValueError`` of a channel that is closed, or cancels what runs."""
        if self.closed or not isinstance(error, grpc.RpcError):
            return ServerError("the client was closed while it was used")
        return error_of(error)

    def close(self) -> None:
        """End all calls and the connection."""
        self.closed = True
        self._channel.close()
