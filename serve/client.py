"""A client for programs that are not asynchronous: pictures in, answers out.

    with Client("127.0.0.1:50051") as client:
        for received in client.stream(frames):
            if received.answer:
                for instance, mask in zip(received.answer.instances, received.answer.masks()):
                    print(received.frame_id, instance.class_name, instance.box_xyxy, mask.sum())

``client.segment(image)`` answers one picture. Whatever the server or the way to it refuses is a ``ServerError`` with
one sentence.
"""

from collections.abc import Generator, Iterable
from types import TracebackType
from typing import Self

from serve import keepalive, wire
from serve.answer import Answer, Options
from serve.client_stream import ClientStream
from serve.connection import Captured, Connection, Image, encoded, now_us
from serve.exchange import Frame, StreamOptions
from serve.outbox import Received

__all__ = ["Client", "Received"]


class Client:
    """A connection to one server, made with the first call. Close it, or use it in a ``with`` statement.

    ``timeout_s`` is how long the server may take to start and load its model before the first call, then for the
    answer to one picture, and to come back when the connection of a stream broke. After ``keepalive_s`` of silence in a
    call the server is asked for a sign of life, and has half that time to give one; servers refuse to be asked more
    often than every 5 s.
    """

    def __init__(self, address: str, timeout_s: float = 30.0, keepalive_s: float = keepalive.INTERVAL_S) -> None:
        self._connection = Connection(address, timeout_s, keepalive_s)

    def segment(self, image: Image, options: Options | None = None, timeout_s: float | None = None) -> Answer:
        """Answer one picture: uint8 [H, W, 3] RGB, the bytes of a JPEG or PNG file, or a frame encoded before.

        ``timeout_s`` is this call's deadline, in place of the client's: the server drops what is not begun by then.
        """
        self._connection.wait_until_ready()
        request = wire.segment_request(Frame(0, now_us(), encoded(image)), options or Options())
        return wire.read_segment_response(self._connection.segment(request, timeout_s))

    def stream(
        self,
        frames: Iterable[Image | Captured],
        options: Options | None = None,
        in_flight: int | None = None,
        stream: StreamOptions | None = None,
        reconnect: bool = True,
    ) -> Generator[Received, None, None]:
        """Send frames, numbered from 0, and yield what became of each, in the order in which that was known.

        The frames are drawn on a thread of their own, as fast as they come; with DropPolicy.EVERY only while fewer
        than ``in_flight`` are unanswered. So many are on their way at most, by default 1, with EVERY 3; by the
        stream's policy others wait or give way. A stream whose connection breaks goes on with the next one, on which
        the server follows objects anew, unless ``reconnect`` is off or ``timeout_s`` pass without one. An error that
        the frames raise is raised here, after what became of the frames before it.
        """
        self._connection.wait_until_ready()
        running = ClientStream(self._connection, options, stream, in_flight, reconnect)
        running.start()
        running.draw(frames)
        try:
            while (received := running.received()) is not None:
                yield received
        finally:
            running.close()
        running.check()

    def close(self) -> None:
        """End all calls and the connection."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
