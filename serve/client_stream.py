"""The life of one stream on the client's side: draw, send, receive, connect again.

It runs on threads and serves both clients. gRPC's asynchronous half would spare them, but where a write meets the end
of a call it says INTERNAL in place of the server's own reason (grpcio 1.85): a server that stopped and one that refused
the stream would look alike.
"""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import grpc

from protos.streetmask.v1 import segmentation_pb2 as pb
from scene.errors import ServerError
from serve import wire
from serve.answer import Options
from serve.backoff import Backoff
from serve.connection import Captured, Connection, Image, encoded, now_us
from serve.exchange import Frame, StreamOptions
from serve.frame import EncodedFrame
from serve.outbox import Outbox, Received, microseconds


class ClientStream:
    """One stream: one thread draws the frames, one reads replies and connects again, one of gRPC's sends.

    They and the user meet in the outbox, each holding its lock, and wait there for what another has changed.
    """

    def __init__(
        self,
        connection: Connection,
        options: Options | None,
        stream: StreamOptions | None,
        in_flight: int | None,
        reconnect: bool,
        tell: Callable[[], None] = lambda: None,
    ) -> None:
        """``tell`` is called, on any thread, when something may have changed."""
        self._connection = connection
        self._options = options or Options()
        self._stream = stream or StreamOptions()
        self._outbox: Outbox[EncodedFrame] = Outbox(self._stream, in_flight)
        self._backoff = Backoff(connection.timeout_s)
        self._reconnect = reconnect
        self._tell = tell
        self._changed = threading.Condition()
        self._call: grpc.CallIterator[pb.SegmentStreamResponse] | None = None

    def start(self) -> None:
        """Begin to send and receive."""
        threading.Thread(target=self._receive, name="replies", daemon=True).start()

    def draw(self, frames: Iterable[Image | Captured]) -> None:
        """Draw the frames on a thread of its own, since a camera may keep it waiting, to their end or the stream's."""
        threading.Thread(target=self._draw, args=(frames,), name="frames", daemon=True).start()

    def received(self) -> Received | None:
        """Wait for the next outcome; None once there will be none."""
        with self._change(lambda: self._outbox.readable):
            return self._outbox.take()

    def readable(self) -> bool:
        """Whether ``received`` returns at once."""
        with self._changed:
            return self._outbox.readable

    def drawable(self) -> bool:
        """Whether a frame is wanted, or none ever will be."""
        with self._changed:
            return self._outbox.wants_frame or self._outbox.ended

    def ended(self) -> bool:
        """Whether nothing is drawn or sent any more."""
        with self._changed:
            return self._outbox.ended

    def put(self, image: Image | Captured) -> None:
        """The source's next frame."""
        captured = image if isinstance(image, Captured) else Captured(image, now_us())
        frame = encoded(captured.image)
        with self._change():
            self._outbox.put(frame, captured.capture_time_us)

    def close_source(self, error: BaseException | None = None) -> None:
        """The source has no more frames, or failed."""
        with self._change():
            self._outbox.close_source(error)

    def close(self) -> None:
        """End it, wherever it is."""
        with self._change():
            self._outbox.end()
        if self._call is not None:
            self._call.cancel()  # type: ignore[no-untyped-call]

    def check(self) -> None:
        """Raise what ended it early."""
        self._outbox.check()

    def _draw(self, frames: Iterable[Image | Captured]) -> None:
        error: BaseException | None = None
        try:
            source = iter(frames)
            while self._wants_frame():
                self.put(next(source))
        except StopIteration:
            pass
        except BaseException as raised:  # the user's thread raises it
            error = raised
        self.close_source(error)

    def _wants_frame(self) -> bool:
        with self._change(lambda: self._outbox.wants_frame or self._outbox.ended):
            return not self._outbox.ended

    def _receive(self) -> None:
        """On a thread of its own: one connection after the other, until all is answered or an error ends it."""
        error: Exception | None = None
        try:
            # Left by its user, it ended by a cancelled call, which looks like a server that stops.
            while not self._outbox.ended and (broken := self._answers()) is not None and not self._outbox.done:
                self._wait_for_server(broken)
        except Exception as raised:  # the user's thread raises it
            error = raised
        with self._change():
            self._outbox.end(error)

    def _answers(self) -> ServerError | None:
        """Exchange frames for replies on one connection; what broke it, None if it ended well."""
        with self._change():
            number = self._outbox.connect()
        self._backoff.connected()
        self._call = self._connection.open_stream(self._requests(number))
        try:
            for response in self._call:
                self._backoff.replied()
                with self._change(lambda: not self._outbox.full or self._outbox.ended):
                    self._outbox.answered(wire.read_stream_response(response))
        except grpc.RpcError as error:
            if not self._reconnect or not self._connection.broken_by(error):
                raise self._connection.error_of(error) from error
            with self._change():
                self._outbox.lost()
            return self._connection.error_of(error)
        self._outbox.completed()
        return None

    def _requests(self, number: int) -> Iterator[pb.SegmentStreamRequest]:
        """The configuration, then frames as they may be sent, as long as this connection is the one."""
        sent_us = microseconds(time.monotonic())
        yield wire.configuration_request(wire.Configuration(self._options, self._stream, sent_us))
        while (frame := self._next_frame(number)) is not None:
            yield wire.frame_request(frame)

    def _next_frame(self, number: int) -> Frame[EncodedFrame] | None:
        frame: Frame[EncodedFrame] | None = None

        def settled() -> bool:
            nonlocal frame
            frame = self._outbox.next_frame(number)
            self._notify()  # others may have been found too old
            return frame is not None or self._outbox.sending_over(number)

        with self._change(settled):
            return frame

    def _wait_for_server(self, error: ServerError) -> None:
        """Return when the server is there again, or nobody wants it any more; raise once it is given up."""
        self._backoff.broke()
        while (pause_s := self._backoff.pause_s()) is not None:
            with self._changed:
                if self._changed.wait_for(lambda: self._outbox.ended, pause_s):
                    return
            reason = self._connection.hindrance(self._backoff.patience_s())
            if not reason:
                return
            error = ServerError(reason)
        raise self._backoff.given_up(error, self._connection.address)

    @contextmanager
    def _change(self, ready: Callable[[], bool] = lambda: True) -> Iterator[None]:
        """Hold the outbox's lock as soon as it is ready; then wake all who wait for a change of it."""
        with self._changed:
            self._changed.wait_for(ready)
            yield
            self._notify()

    def _notify(self) -> None:
        self._changed.notify_all()
        self._tell()
