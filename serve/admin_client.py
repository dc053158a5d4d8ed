"""The admin service's other end: deploy to a running server, from a program or the command line.

    with AdminClient("127.0.0.1:50051") as admin:
        admin.deploy(Deployment("street-nano"))

Whatever the server or the way to it refuses is a ``ServerError`` with one sentence.
"""

import os
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc

from protos.streetmask.v1 import admin_pb2 as pb
from protos.streetmask.v1.admin_pb2_grpc import AdminServiceStub
from scene.errors import ServerError
from serve import admin_wire as wire
from serve import keepalive
from serve.connection import channel_options
from serve.deployment import Deployment, ModelStatus

TOKEN_VARIABLE = "STREETMASK_ADMIN_TOKEN"
"""Names the token in the environment, where no list of processes shows it."""

Response = TypeVar("Response")


class AdminClient:
    """A connection to one server. ``timeout_s`` is how long a deployment may take: loading, and draining the former."""

    def __init__(self, address: str, token: str = "", timeout_s: float = 600.0) -> None:
        self._address = address
        self._timeout_s = timeout_s
        token = token or os.environ.get(TOKEN_VARIABLE, "")
        self._metadata = (("authorization", f"Bearer {token}"),) if token else ()
        self._channel = grpc.insecure_channel(address, channel_options(keepalive.INTERVAL_S))
        self._stub = AdminServiceStub(self._channel)

    def deploy(self, wanted: Deployment) -> ModelStatus:
        """Let a version of the server's repository answer; returns when what it replaces is gone."""
        return wire.read_deploy_response(self._call(self._stub.Deploy, wire.deploy_request(wanted)))

    def unload(self, name: str, version: int = 0) -> None:
        """Let a version go, or with 0 all of the name."""
        self._call(self._stub.Unload, pb.UnloadRequest(model_name=name, model_version=version))

    def models(self) -> list[ModelStatus]:
        """What is loaded, by name and version."""
        return wire.read_models_response(self._call(self._stub.ListModels, pb.ListModelsRequest()))

    def close(self) -> None:
        """End the connection."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _call(self, method: Callable[..., Response], request: Any) -> Response:
        try:
            return method(request, timeout=self._timeout_s, metadata=self._metadata)
        except grpc.RpcError as error:
            raise ServerError(self._sentence(error)) from error

    def _sentence(self, error: grpc.RpcError) -> str:
        code = error.code() if isinstance(error, grpc.Call) else grpc.StatusCode.UNKNOWN
        details = (error.details() if isinstance(error, grpc.Call) else None) or "no reason given"
        if code is grpc.StatusCode.UNAVAILABLE:
            return f"the server {self._address} cannot be reached or is stopping: {details}"
        if code is grpc.StatusCode.UNIMPLEMENTED:
            return f"the server {self._address} takes no deployments; it is of another version of StreetMask"
        if code is grpc.StatusCode.DEADLINE_EXCEEDED:
            return f"the server {self._address} has not answered within {self._timeout_s:g} s; ask it what is loaded"
        return f"the server {self._address} refuses: {details}"


def deployed(address: str, status: ModelStatus) -> str:
    """What a deployment has come to, in a line."""
    return f"{status.name} version {status.version} answers at {address}, on {status.runs_on}"
