"""Questions and answers between two processes of ours, either way at any time."""

import asyncio
import itertools
import logging
import pickle
import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Self, TypeVar

from scene.errors import ServerError, StreetMaskError

LOG = logging.getLogger(__name__)

Kind = TypeVar("Kind")

_LENGTH = struct.Struct("!I")


class PeerGoneError(ServerError):
    """The process at the other end has ended."""


@dataclass(frozen=True)
class _Question:
    number: int
    message: object


@dataclass(frozen=True)
class _Answer:
    number: int
    value: object = None
    error: StreetMaskError | None = None


class PipeEnd:
    """One end of a socket pair. Both processes are of one program: what passes is pickled."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        answer: Callable[[Any], Awaitable[object]],
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._answer = answer
        self._numbers = itertools.count()
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self._answering: set[asyncio.Task[None]] = set()
        self.gone = asyncio.Event()
        """Set when the other end is closed, as it is when its process ends, however it does."""
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def open(cls, end: socket.socket, answer: Callable[[Any], Awaitable[object]]) -> Self:
        """Begin to answer by ``answer``: what it returns, or the ``StreetMaskError`` that it raises, goes back."""
        reader, writer = await asyncio.open_unix_connection(sock=end)
        return cls(reader, writer, answer)

    async def ask(self, message: object, kind: type[Kind]) -> Kind:
        """The other end's answer, of that type; raises what it raised, ``PeerGoneError`` if it ends before."""
        number = next(self._numbers)
        self._asked[number] = asyncio.get_running_loop().create_future()
        try:
            self._send(_Question(number, message))
            answer = await self._asked[number]
        finally:
            del self._asked[number]
        if isinstance(answer, kind):
            return answer
        raise ServerError(f"expected {kind.__name__} as the answer to {message}, but {answer!r} came")

    def close(self) -> None:
        """Hang up: the other end sees it as ours having ended."""
        self._reading.cancel()
        self._writer.close()
        self._hung_up()

    def _send(self, message: _Question | _Answer) -> None:
        if self.gone.is_set():
            raise PeerGoneError("the process at the other end has ended")
        data = pickle.dumps(message)
        self._writer.write(_LENGTH.pack(len(data)) + data)

    async def _read(self) -> None:
        try:
            while True:
                (length,) = _LENGTH.unpack(await self._reader.readexactly(_LENGTH.size))
                self._take(pickle.loads(await self._reader.readexactly(length)))
        except (asyncio.IncompleteReadError, OSError):
            pass  # the other end is closed
        finally:
            self._hung_up()

    def _take(self, message: _Question | _Answer) -> None:
        if isinstance(message, _Question):
            task = asyncio.create_task(self._reply(message))
            self._answering.add(task)
            task.add_done_callback(self._answering.discard)
        elif (asked := self._asked.get(message.number)) is not None and not asked.done():
            if message.error is not None:
                asked.set_exception(message.error)
            else:
                asked.set_result(message.value)

    async def _reply(self, question: _Question) -> None:
        try:
            answer = _Answer(question.number, await self._answer(question.message))
        except StreetMaskError as error:
            answer = _Answer(question.number, error=error)
        except Exception:  # the other process must hear of it, or it would wait for ever
            LOG.exception("%s failed", question.message)
            answer = _Answer(question.number, error=ServerError("a process of the server failed; its log says why"))
        if not self.gone.is_set():
            self._send(answer)

    def _hung_up(self) -> None:
        self.gone.set()
        for asked in self._asked.values():
            if not asked.done():
                asked.set_exception(PeerGoneError("the process at the other end has ended"))
