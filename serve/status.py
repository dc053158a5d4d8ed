"""The one table from our errors to gRPC's status codes, for the server; and back to an error, for the client."""

import asyncio
import logging
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

import grpc

from scene.errors import (
    AccessError,
    ArtifactError,
    ConfigurationError,
    FrameError,
    LimitError,
    ServerError,
    StreetMaskError,
    UnknownCallerError,
    UnknownModelError,
    UnreadError,
)
from serve.logs import Seldom

LOG = logging.getLogger(__name__)

UNREAD_S = 5.0
"""How long a status may wait for a client that has not taken what came before it."""

StatusCodes = Mapping[type[StreetMaskError], grpc.StatusCode]

STATUS_CODES: StatusCodes = {
    UnknownModelError: grpc.StatusCode.NOT_FOUND,
    ConfigurationError: grpc.StatusCode.INVALID_ARGUMENT,
    FrameError: grpc.StatusCode.INVALID_ARGUMENT,
    LimitError: grpc.StatusCode.RESOURCE_EXHAUSTED,
    ServerError: grpc.StatusCode.UNAVAILABLE,
    AccessError: grpc.StatusCode.PERMISSION_DENIED,
    UnknownCallerError: grpc.StatusCode.UNAUTHENTICATED,
}
"""By the nearest class; whatever is not listed is INTERNAL, and its message stays on the server."""

ADMIN_STATUS_CODES: StatusCodes = {**STATUS_CODES, ArtifactError: grpc.StatusCode.FAILED_PRECONDITION}
"""For those who deploy: they may know what is wrong with a model's folder, and where that is."""

_REFUSALS = (
    ((LimitError,), logging.WARNING, "a limit is reached"),
    ((AccessError, UnknownCallerError), logging.WARNING, "a caller is refused"),
    ((FrameError,), logging.INFO, "a call's picture cannot be used"),
)
"""What is said of whom is refused, and how loud."""

_INTERNAL = "the server failed on this call; its log says why"


def status_of(error: Exception, codes: StatusCodes = STATUS_CODES) -> tuple[grpc.StatusCode, str]:
    """The status code for an error and the sentence that the client may read."""
    for kind in type(error).__mro__:
        if kind in codes:
            return codes[kind], str(error)
    return grpc.StatusCode.INTERNAL, _INTERNAL


class ErrorsAsStatus:
    """Ends the call by the table when the block raises: ``async with ErrorsAsStatus(context): ...``.

    ``give_up`` is called with the peer of a client that does not take its status in time.
    """

    _refusals = Seldom()

    def __init__(
        self,
        context: grpc.aio.ServicerContext[Any, Any],
        codes: StatusCodes = STATUS_CODES,
        *,
        give_up: Callable[[str], object] = lambda _: None,
    ) -> None:
        self._context = context
        self._codes = codes
        self._give_up = give_up

    async def __aenter__(self) -> None:
        """Nothing to prepare."""

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        """A cancelled call has nobody left to tell."""
        if not isinstance(error, Exception):
            return None
        code, sentence = status_of(error, self._codes)
        self._log(error, code)
        if isinstance(error, UnreadError):  # gRPC may say that the status is sent, and keep it with what is unread
            asyncio.get_running_loop().call_later(UNREAD_S, self._give_up, self._context.peer())
        ending = asyncio.ensure_future(self._context.abort(code, sentence))
        try:
            await asyncio.wait({ending}, timeout=UNREAD_S)
            if not ending.done():
                self._give_up(self._context.peer())
            await ending
        except grpc.aio.InternalError:
            return True  # the client went away before it took the status: gRPC ends the call by itself
        finally:
            ending.cancel()
        return None

    def _log(self, error: Exception, code: grpc.StatusCode) -> None:
        peer = self._context.peer()
        names = {"peer": peer} if peer else {}
        if code is grpc.StatusCode.INTERNAL:
            LOG.error("a call failed", exc_info=error, extra=names)
            return
        for kinds, level, words in _REFUSALS:
            if isinstance(error, kinds) and (silenced := self._refusals(words)) is not None:
                more = f"; {silenced} more since the last such line" if silenced else ""
                LOG.log(level, "%s: %s%s", words, error, more, extra=names)


def code_of(error: grpc.RpcError) -> grpc.StatusCode:
    """The code of a failed call."""
    return error.code() if isinstance(error, grpc.Call) else grpc.StatusCode.UNKNOWN


def error_of(error: grpc.RpcError) -> ServerError:
    """What a failed call means for the one who called."""
    code = code_of(error)
    details = (error.details() if isinstance(error, grpc.Call) else None) or "no reason given"
    if code is grpc.StatusCode.UNAVAILABLE:
        return ServerError(f"the server cannot be reached or is stopping: {details}")
    return ServerError(f"the server ended the call ({code.name}): {details}")
