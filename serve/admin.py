"""The admin service: who may ask, and what for."""

import hmac
import ipaddress
from typing import Any
from urllib.parse import unquote

import grpc

from protos.streetmask.v1 import admin_pb2 as pb
from protos.streetmask.v1.admin_pb2_grpc import AdminServiceServicer
from scene.errors import AccessError, UnknownCallerError
from serve import admin_wire as wire
from serve.deployment import Deployer
from serve.repository import check_name
from serve.status import ADMIN_STATUS_CODES, ErrorsAsStatus

Context = grpc.aio.ServicerContext[Any, Any]


class AdminServicer(AdminServiceServicer):
    """Deploys for callers that show the token or, where there is none, for those on this machine."""

    def __init__(self, deployer: Deployer, token: str = "") -> None:
        self._deployer = deployer
        self._token = token

    async def Deploy(  # noqa: N802 - the contract's name
        self, request: pb.DeployRequest, context: Context
    ) -> pb.DeployResponse:
        """Let a version answer."""
        async with ErrorsAsStatus(context, ADMIN_STATUS_CODES):
            self._check(context)
            return wire.deploy_response(await self._deployer.deploy(wire.read_deploy_request(request)))

    async def Unload(  # noqa: N802
        self, request: pb.UnloadRequest, context: Context
    ) -> pb.UnloadResponse:
        """Let a version go."""
        async with ErrorsAsStatus(context, ADMIN_STATUS_CODES):
            self._check(context)
            check_name(request.model_name)
            await self._deployer.unload(request.model_name, request.model_version)
            return pb.UnloadResponse()

    async def ListModels(  # noqa: N802
        self, request: pb.ListModelsRequest, context: Context
    ) -> pb.ListModelsResponse:
        """Tell what is loaded."""
        async with ErrorsAsStatus(context, ADMIN_STATUS_CODES):
            self._check(context)
            return wire.models_response(await self._deployer.models())

    def _check(self, context: Context) -> None:
        if not self._token:
            if not is_local(context.peer()):
                raise AccessError(
                    "expected a caller on the server's own machine; start the server with an admin token to deploy "
                    "from elsewhere"
                )
            return
        shown = b""
        for key, value in context.invocation_metadata() or ():
            if key == "authorization":
                shown = value if isinstance(value, bytes) else value.encode()
        if not hmac.compare_digest(shown, f"Bearer {self._token}".encode()):
            raise UnknownCallerError("expected the server's admin token in the metadata `authorization: Bearer TOKEN`")


def is_local(peer: str) -> bool:
    """Whether a peer by gRPC's name is of this machine: a loopback address, or a socket in the file system."""
    kind, _, rest = peer.partition(":")
    if kind == "unix":
        return True
    host = unquote(rest).rpartition(":")[0].strip("[]")
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
