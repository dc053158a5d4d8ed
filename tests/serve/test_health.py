"""Health by service, asked once and watched."""

from collections.abc import Iterator

import grpc
import pytest
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub

from serve.server import SERVICE
from tests.serve.conftest import RunningServer

Response = health_pb2.HealthCheckResponse


@pytest.fixture
def stub(server: RunningServer) -> Iterator[HealthStub]:
    with grpc.insecure_channel(server.address) as channel:
        yield HealthStub(channel)


@pytest.mark.parametrize("service", ["", SERVICE])
def test_every_service_is_known_and_serves(stub: HealthStub, service: str) -> None:
    request = health_pb2.HealthCheckRequest(service=service)
    assert stub.Check(request).status == Response.SERVING
    watch = stub.Watch(request)
    assert next(iter(watch)).status == Response.SERVING
    watch.cancel()


def test_an_unknown_service_is_not_found_and_watched_until_it_is_known(stub: HealthStub) -> None:
    request = health_pb2.HealthCheckRequest(service="streetmask.v1.Unknown")
    with pytest.raises(grpc.RpcError) as caught:
        stub.Check(request)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    watch = stub.Watch(request)
    assert next(iter(watch)).status == Response.SERVICE_UNKNOWN
    watch.cancel()
