"""What became of every frame, one JSON line each, in the frames' order; read again line by line, never as a whole."""

import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Literal

import msgspec

from scene.errors import DataError
from serve.answer import Answer
from serve.frame import EncodedFrame
from serve.outbox import Received


@dataclass(frozen=True)
class FrameRecord:
    """One frame of a recording: ``answer`` if it was answered, else the ``reason`` in words.

    ``latency_ms`` runs from when the source showed the frame until it was known what became of it.
    """

    frame_id: int
    outcome: Literal["answered", "dropped", "failed"]
    latency_ms: float
    reason: str = ""
    answer: Answer | None = None


def record_of(received: Received) -> FrameRecord:
    """The record of a frame's outcome."""
    if received.dropped is not None:
        return FrameRecord(received.frame_id, "dropped", received.latency_ms, received.dropped.value)
    if received.failure is not None:
        return FrameRecord(received.frame_id, "failed", received.latency_ms, received.failure.message)
    return FrameRecord(received.frame_id, "answered", received.latency_ms, answer=received.answer)


class RecordWriter:
    """Writes records that come in any order to a file in the order of their ids, in a ``with`` statement.

    Holds back only the records that came before an older frame's.
    """

    def __init__(self, path: Path) -> None:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("wb")
        except OSError as error:
            raise DataError(f"{path} cannot be written: {error.strerror}") from error
        self._early: dict[int, FrameRecord] = {}
        self._next = 0

    def write(self, record: FrameRecord) -> None:
        """Write the record as soon as all before it are written."""
        self._early[record.frame_id] = record
        while self._next in self._early:
            self._put(self._early.pop(self._next))
            self._next += 1

    def close(self) -> None:
        """Write what still waits for frames that will not be answered any more."""
        for frame_id in sorted(self._early):
            self._put(self._early[frame_id])
        self._file.close()

    def __enter__(self) -> "RecordWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _put(self, record: FrameRecord) -> None:
        self._file.write(msgspec.json.encode(record) + b"\n")


def read_records(path: Path) -> Iterator[FrameRecord]:
    """The records of a file, in order. Raises ``DataError`` for a line that is none."""
    decoder = msgspec.json.Decoder(FrameRecord)
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                yield decoder.decode(line)
            except msgspec.DecodeError as error:
                raise DataError(f"{path}, line {number}: {error}") from error


class Spool:
    """Keeps encoded frames on disk: what a camera has shown once cannot be read from it again.

    After Ctrl-C the thread that reads the camera may still be at work on a frame: reading seals the spool, so that a
    late frame neither moves the file's position nor overwrites an earlier one.
    """

    def __init__(self) -> None:
        self._file: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`
        self._lengths: list[int] = []
        self._lock = threading.Lock()
        self._sealed = False

    def keep(self, frame: EncodedFrame) -> None:
        """Append a frame's bytes; once the spool is sealed, do nothing."""
        with self._lock:
            if self._sealed:
                return
            self._file.write(frame.data)
            self._lengths.append(len(frame.data))

    def frames(self) -> Iterator[EncodedFrame]:
        """Seal the spool; the frames from the first."""
        self._seal()
        offset = 0
        for length in tuple(self._lengths):
            with self._lock:
                self._file.seek(offset)
                data = self._file.read(length)
            offset += length
            yield EncodedFrame(data)

    def close(self) -> None:
        """Seal the spool and forget the frames."""
        self._seal()
        self._file.close()

    def _seal(self) -> None:
        with self._lock:
            self._sealed = True
