"""``streetmask health``: whether a server serves, for whoever starts and restarts it."""

from dataclasses import dataclass

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse
from grpc_health.v1.health_pb2_grpc import HealthStub

from scene.errors import ServerError
from serve.status import error_of


@dataclass(frozen=True)
class HealthArguments:
    """Ask a server whether it serves; exit status 0 if it does, 1 with a sentence if not."""

    server: str = "127.0.0.1:50051"
    """HOST:PORT of the server."""
    service: str = ""
    """A service by its full name; the server as a whole without it."""
    timeout_s: float = 5.0
    """Seconds that the answer may take."""


def health(arguments: HealthArguments) -> None:
    """Print the status, or raise ``ServerError`` for any but SERVING."""
    with grpc.insecure_channel(arguments.server) as channel:
        try:
            request = HealthCheckRequest(service=arguments.service)
            found = HealthStub(channel).Check(request, timeout=arguments.timeout_s).status
        except grpc.RpcError as error:
            raise error_of(error) from error
    status = HealthCheckResponse.ServingStatus.Name(found)
    if found != HealthCheckResponse.SERVING:
        raise ServerError(f"{arguments.server} is {status}: it loads a model, or drains")
    print(status)
