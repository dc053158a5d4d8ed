"""Asks Triton, in a process of its own: its client's messages and ours cannot live in one.

Run as ``python -m bench.triton_client ADDRESS FRAMES`` with the packages of Triton's environment; questions come as
lines of JSON on stdin, answers go as such to stdout. The other end is ``bench.triton_caller``.
"""

import base64
import json
import queue
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import tritonclient.grpc as triton

from bench.frames import stored_frames
from bench.load import ANY_IN_FLIGHT, Exchange, LoadPlan, close_all, load_report, run_load
from bench.serving import served_fps
from bench.triton_server import ANSWER, IMAGE
from protos.streetmask.v1 import segmentation_pb2 as pb
from scene.errors import DataError, ServerError
from serve import wire
from serve.answer import Answer, Options
from serve.exchange import Drop, Failure, FailureCode, Reply, StreamOptions
from serve.frame import EncodedFrame
from serve.outbox import Received

_PACKAGES = ("numpy", "opencv-python-headless", "onnxruntime", "openvino", "grpcio", "tritonclient")
_READY_S = 240.0
_CALL_S = 30.0
_CONNECTION = [
    ("grpc.use_local_subchannel_pool", 1),  # each client a connection of its own, as StreetMask's have
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
]
_REJECTIONS = {"Exceeds maximum queue size": Drop.QUEUE_FULL, "Request timeout expired": Drop.EXPIRED}
"""What Triton says of requests that its queue's policy gives up."""


class TritonClient:
    """What of ``serve.client.Client`` a load needs, of one of Triton's models."""

    def __init__(self, address: str, model: str) -> None:
        self._model = model
        self._client = triton.InferenceServerClient(address, channel_args=_CONNECTION)

    def message(self, frame: EncodedFrame) -> bytes:
        """The answer to one frame, as bytes; asked again where the queue's policy gave it up."""
        deadline_s = time.monotonic() + _CALL_S
        while True:
            try:
                return _message(self._client.infer(self._model, _inputs(frame), client_timeout=_CALL_S))
            except triton.InferenceServerException as error:
                if _rejection(error) is None or time.monotonic() > deadline_s:
                    raise

    def stream(
        self,
        frames: Iterable[EncodedFrame],
        options: Options | None = None,
        in_flight: int = 3,
        stream: StreamOptions | None = None,
        reconnect: bool = False,
    ) -> Generator[Received, None, None]:
        """Send frames, numbered from 0, as they come, each as a request of its own, and yield what became of each.

        While ``in_flight`` of them are unanswered no further one is drawn. ``options``, ``stream`` and ``reconnect``
        are not Triton's to know: each of its models has its queue's policy.
        """
        outbox = _Outbox(frames, in_flight)
        thread = threading.Thread(target=outbox.send, args=(self._send,), daemon=True)
        thread.start()
        try:
            while (arrived := outbox.arrived.get()) is not None:
                number, sent_s, result, error = arrived
                outbox.room.release()
                yield Received(Reply(number, 0, _outcome(result, error)), (time.perf_counter() - sent_s) * 1000)
        finally:
            outbox.close()
        outbox.check()

    def close(self) -> None:
        """End all calls and the connection."""
        self._client.close()

    def _send(self, frame: EncodedFrame, callback: Callable[..., None]) -> None:
        self._client.async_infer(self._model, _inputs(frame), callback, client_timeout=2 * _CALL_S)


class _Outbox:
    """What one stream sends, and the queue in which what came back waits to be read; None at its end."""

    def __init__(self, frames: Iterable[EncodedFrame], in_flight: int) -> None:
        self._frames = frames
        self.room = threading.Semaphore(in_flight)
        self.arrived: queue.SimpleQueue[tuple[int, float, Any, Any] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._open = 1  # the sender itself; each frame that is out counts one more
        self._closed = False
        self._error: Exception | None = None

    def send(self, send: Callable[[EncodedFrame, Callable[..., None]], None]) -> None:
        """Draw and send all frames; on a thread of its own."""
        try:
            for number, frame in enumerate(self._drawn()):
                with self._lock:
                    self._open += 1
                send(frame, partial(self._arrive, number, time.perf_counter()))
        except Exception as error:  # `check` raises it on the reader's thread
            self._error = error
            self._closed = True
        self._leave()

    def close(self) -> None:
        """Send nothing more."""
        self._closed = True
        self.room.release()

    def check(self) -> None:
        """Raise what the frames or the sending raised."""
        if self._error is not None:
            raise ServerError(f"Triton could not be asked: {self._error}") from self._error

    def _drawn(self) -> Iterator[EncodedFrame]:
        frames = iter(self._frames)
        while self.room.acquire() and not self._closed and (frame := next(frames, None)) is not None:
            yield frame

    def _arrive(self, number: int, sent_s: float, result: Any, error: Any) -> None:
        self.arrived.put((number, sent_s, result, error))
        self._leave()

    def _leave(self) -> None:
        with self._lock:
            self._open -= 1
            if self._open == 0 or self._error is not None:
                self.arrived.put(None)


class _Asked:
    """Answers the questions of the other end; clients stay connected from one question to the next."""

    def __init__(self, address: str, frames: list[EncodedFrame]) -> None:
        self._address = address
        self._frames = frames
        self._clients: dict[str, list[TritonClient]] = {}

    def wait(self) -> dict[str, Any]:
        """Until Triton has loaded its models; its version and our packages'."""
        client = triton.InferenceServerClient(self._address)
        deadline_s = time.monotonic() + _READY_S
        while not _ready(client):
            if time.monotonic() > deadline_s:
                raise DataError(f"Triton was not ready within {_READY_S:g} s")
            time.sleep(0.2)
        return {"triton": client.get_server_metadata().version} | {name: version(name) for name in _PACKAGES}

    def answers(self, model: str) -> list[str]:
        """What the model says to each frame, as base64 of messages."""
        client = self._connected(model, 1)[0]
        return [base64.b64encode(client.message(frame)).decode() for frame in self._frames]

    def closed(self, model: str, clients: int) -> float:
        """Frames a second of so many clients that keep it busy."""
        return served_fps(self._connected(model, clients), self._frames)  # type: ignore[arg-type]  # as much as it needs

    def load(self, model: str, rates: list[float], seconds: float) -> dict[str, Any]:
        """The report of frames that are due by the clock."""
        clients = self._connected(model, len(rates))
        exchanges: list[Exchange] = [partial(client.stream, in_flight=ANY_IN_FLIGHT) for client in clients]
        logs, ending = run_load(exchanges, self._frames, LoadPlan(tuple(rates), seconds), partial(close_all, clients))
        if ending != "whole":
            self._clients.clear()
        return load_report(logs) | {"ending": ending}

    def _connected(self, model: str, count: int) -> list[TritonClient]:
        clients = self._clients.setdefault(model, [])
        while len(clients) < count:
            client = TritonClient(self._address, model)
            client.message(self._frames[0])
            clients.append(client)
        return clients[:count]


def main(words: list[str]) -> int:
    """Answer questions until stdin ends."""
    address, frames = words
    lines, sys.stdout = sys.stdout, sys.stderr  # what a library prints is no answer
    asked = _Asked(address, [frame for frame in stored_frames(Path(frames)) if isinstance(frame, EncodedFrame)])
    for line in sys.stdin:
        name, arguments = json.loads(line)
        try:
            answer = {"answer": getattr(asked, name)(**arguments)}
        except Exception as error:  # the other end says it in one sentence
            answer = {"error": (str(error).splitlines() or [type(error).__name__])[0]}
        print(json.dumps(answer), file=lines, flush=True)
    return 0


def _inputs(frame: EncodedFrame) -> list[Any]:
    tensor = triton.InferInput(IMAGE, [1, len(frame.data)], "UINT8")
    return [tensor.set_data_from_numpy(np.frombuffer(frame.data, np.uint8)[None])]


def _message(result: Any) -> bytes:
    tensor: bytes = result.as_numpy(ANSWER).tobytes()
    return tensor


def _outcome(result: Any, error: Any) -> Answer | Failure | Drop:
    if error is None:
        return wire.read_segment_response(pb.SegmentResponse.FromString(_message(result)))
    return _rejection(error) or Failure(FailureCode.UNKNOWN, str(error))


def _rejection(error: Exception) -> Drop | None:
    """Why the queue's policy gave a request up; None for any other error."""
    return next((drop for words, drop in _REJECTIONS.items() if words in str(error)), None)


def _ready(client: Any) -> bool:
    try:
        return bool(client.is_server_ready())
    except Exception:  # not yet listening
        return False


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
