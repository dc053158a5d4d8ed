"""Who gets in."""

import grpc
import pytest

from scene.errors import LimitError
from serve.gate import Gate

DETAILS = type("Details", (), {"method": "/streetmask.v1.SegmentationService/Segment"})
OTHER = type("Details", (), {"method": "/grpc.health.v1.Health/Check"})


@pytest.mark.parametrize(("details", "refused"), [(DETAILS, True), (OTHER, False)])
async def test_only_calls_of_its_service_are_refused_and_before_their_message_is_read(
    details: type, refused: bool
) -> None:
    def check() -> None:
        raise LimitError("full")

    wanted = grpc.unary_unary_rpc_method_handler(lambda request, context: request)

    async def go_on(_: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[object, object]":
        return wanted

    gate = Gate("streetmask.v1.SegmentationService", check)
    handler = await gate.intercept_service(go_on, details())
    assert (handler is not wanted) == refused
    assert bool(handler.request_streaming) == refused  # a stream's handler starts without a message


async def test_an_open_gate_lets_all_through() -> None:
    wanted = grpc.unary_unary_rpc_method_handler(lambda request, context: request)

    async def go_on(_: grpc.HandlerCallDetails) -> "grpc.RpcMethodHandler[object, object]":
        return wanted

    gate = Gate("streetmask.v1.SegmentationService", lambda: None)
    assert await gate.intercept_service(go_on, DETAILS()) is wanted
