"""Work in a process of its own, at the other end of a pipe: its memory, threads and loading time are its own, too."""

import multiprocessing
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from scene.errors import DataError

Answer = TypeVar("Answer")

_END_S = 60.0
_GONE = "its process ended without a word; the lines above may say why"


class Child:
    """Runs ``work(connection, *arguments)`` in a fresh process; ``name`` is who it is in an error's sentence.

    Ctrl-C is the parent's to hear; what the work raises is raised by ``receive`` as a ``DataError``.
    """

    def __init__(self, name: str, work: Callable[..., None], *arguments: Any) -> None:
        self._name = name
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_run, args=(work, theirs, arguments), daemon=True)
        self._process.start()
        theirs.close()

    def send(self, message: Any) -> None:
        """Tell it something that can be pickled."""
        try:
            self._connection.send(message)
        except OSError as error:
            raise DataError(f"{self._name}: {_GONE}") from error

    def receive(self, kind: type[Answer], timeout_s: float) -> Answer:
        """Its next answer, which must be of that type."""
        try:
            answer = self._connection.recv() if self._connection.poll(timeout_s) else "no answer came in time"
        except (EOFError, OSError):
            answer = _GONE
        if isinstance(answer, kind):
            return answer
        raise DataError(f"{self._name}: {answer}")

    def join(self) -> None:
        """Wait for its end."""
        self._process.join(_END_S)

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.join()


def _run(work: Callable[..., None], connection: Connection, arguments: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        work(connection, *arguments)
    except (EOFError, BrokenPipeError):  # the parent is gone
        return
    except Exception as error:  # whatever an engine raises: the parent says it in one sentence
        connection.send(_sentence(error))


def _sentence(error: Exception) -> str:
    if isinstance(error, ModuleNotFoundError):
        return f"needs the package {error.name}: pip install 'streetmask[train,export]'"
    return (str(error).splitlines() or [type(error).__name__])[0]
