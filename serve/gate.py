"""Who gets in: calls that cannot be answered now are refused before their message is read."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import grpc

from scene.errors import StreetMaskError
from serve.status import ErrorsAsStatus

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"


class Gate(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]  # generic in the stubs alone
    """Refuses the calls of one service whenever ``check`` raises, and lets those of all others through."""

    def __init__(self, service: str, check: Callable[[], None]) -> None:
        self._prefix = f"/{service}/"
        self._check = check

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        """The call's handler, or one that ends it."""
        if handler_call_details.method.startswith(self._prefix):
            try:
                self._check()
            except StreetMaskError as error:
                return _refusal(error)
        return await continuation(handler_call_details)


def _refusal(error: StreetMaskError) -> Handler:
    """Of a stream, whatever the method is: the handler of a single request would only be called once that is read."""

    async def refuse(_: object, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        async with ErrorsAsStatus(context):
            raise error

    handler: Handler = grpc.stream_stream_rpc_method_handler(refuse)
    return handler
