"""The one table from our errors to gRPC's status codes, for the server; and back to an error, for the client."""

import logging
from collections.abc import Mapping
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
)

LOG = logging.getLogger(__name__)

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

_INTERNAL = "the server failed on this call; its log says why"


def status_of(error: Exception, codes: StatusCodes = STATUS_CODES) -> tuple[grpc.StatusCode, str]:
    """The status code for an error and the sentence that the client may read."""
    for kind in type(error).__mro__:
        if kind in codes:
            return codes[kind], str(error)
    return grpc.StatusCode.INTERNAL, _INTERNAL


class ErrorsAsStatus:
    """Ends the call by the table when the block raises: ``async with ErrorsAsStatus(context): ...``."""

    def __init__(self, context: grpc.aio.ServicerContext[Any, Any], codes: StatusCodes = STATUS_CODES) -> None:
        self._context = context
        self._codes = codes

    async def __aenter__(self) -> None:
        """Nothing to prepare."""

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """A cancelled call has nobody left to tell."""
        if isinstance(error, Exception):
            code, sentence = status_of(error, self._codes)
            if code is grpc.StatusCode.INTERNAL:
                LOG.error("a call failed", exc_info=error)
            await self._context.abort(code, sentence)


def error_of(error: grpc.RpcError) -> ServerError:
    """What a failed call means for the one who called."""
    code = error.code() if isinstance(error, grpc.Call) else grpc.StatusCode.UNKNOWN
    details = (error.details() if isinstance(error, grpc.Call) else None) or "no reason given"
    if code is grpc.StatusCode.UNAVAILABLE:
        return ServerError(f"the server cannot be reached or is stopping: {details}")
    return ServerError(f"the server ended the call ({code.name}): {details}")
