"""A server's life: bind, load, serve, drain, stop."""

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from protos.streetmask.v1 import admin_pb2, segmentation_pb2
from protos.streetmask.v1.admin_pb2_grpc import add_AdminServiceServicer_to_server
from protos.streetmask.v1.segmentation_pb2_grpc import add_SegmentationServiceServicer_to_server
from serve.admin import AdminServicer
from serve.daemon_thread import on_daemon_thread
from serve.deployment import Deployer, LocalDeployer
from serve.metrics import Metrics
from serve.model import Model
from serve.models import Models
from serve.pipeline import Pipeline
from serve.port import not_listening
from serve.servicer import SegmentationServicer
from serve.settings import ServerSettings, message_bytes
from serve.start import Start, find_models
from serve.watcher import Watcher

LOG = logging.getLogger(__name__)

SERVICE = segmentation_pb2.DESCRIPTOR.services_by_name["SegmentationService"].full_name
ADMIN_SERVICE = admin_pb2.DESCRIPTOR.services_by_name["AdminService"].full_name

_STATUS = health_pb2.HealthCheckResponse.ServingStatus


class Server:
    """Models behind one port. Healthy from the end of loading to the beginning of draining."""

    def __init__(self, settings: ServerSettings) -> None:
        self._settings = settings
        self._stopping = asyncio.Event()
        self.metrics = Metrics()
        self.models = Models()
        self._servicer = SegmentationServicer(self.models, self.metrics, self._stopping, settings.max_streams)
        self._health = health.aio.HealthServicer()  # type: ignore[attr-defined]  # the stubs lack it
        self._server = _grpc_server(settings)
        add_SegmentationServiceServicer_to_server(self._servicer, self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        self._services = [SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME]

    def administer(self, deployer: Deployer) -> None:
        """Take admin calls for it; before ``listen``."""
        add_AdminServiceServicer_to_server(AdminServicer(deployer, self._settings.admin_token), self._server)
        self._services.append(ADMIN_SERVICE)

    async def listen(self) -> int:
        """Bind and answer calls, at first only that the model is loading; return the port."""
        reflection.enable_server_reflection(self._services, self._server)
        await self._report(_STATUS.NOT_SERVING)
        port = _bind(self._server, self._settings)
        if self._settings.metrics_port:
            self.metrics.listen(self._settings.host, self._settings.metrics_port)
        await self._server.start()
        return port

    async def load(self, load: Callable[[], Model]) -> None:
        """Load one model on a thread, then serve it; cancelled, leave the thread to end with the process."""
        model = await on_daemon_thread(load, "load")
        self.models.switch(Pipeline(model, self._settings))
        await self.ready()

    async def begin(self, loading: Awaitable[None]) -> None:
        """Serve from when the models are loaded; raises what loading them raises."""
        await loading
        await self.ready()

    async def ready(self) -> None:
        """Say that calls are answered from now on."""
        await self._report(_STATUS.SERVING)

    async def stop(self) -> None:
        """Refuse new calls, let streams answer what they have, end what is not done in time."""
        await self._health.enter_graceful_shutdown()
        self._stopping.set()
        await self._server.stop(self._settings.drain_s)
        await self.models.close()

    async def _report(self, status: health_pb2.HealthCheckResponse.ServingStatus.ValueType) -> None:
        for name in ("", SERVICE):
            await self._health.set(name, status)


async def serve(folder: Path, settings: ServerSettings, announce: Callable[[str], None]) -> None:
    """Serve the models in a folder until SIGTERM or SIGINT; announce the address once they answer.

    Raises ``ArtifactError`` for a folder that cannot be served, ``ServerError`` for an address that is taken.
    """
    start = find_models(folder, settings)
    server = Server(settings)
    deployer = LocalDeployer(server.models, start.repository, settings)
    server.administer(deployer)
    told_to_stop = stop_signals()
    port = await server.listen()
    try:
        if await done_before(told_to_stop, server.begin(deployer.start(start.wanted))):
            async with watching(start, deployer, settings.watch_s):
                announce(f"listening on {settings.host}:{port}")
                await told_to_stop.wait()
    finally:
        deployer.close()
        await server.stop()


@asynccontextmanager
async def watching(start: Start, deployer: Deployer, every_s: float) -> AsyncIterator[None]:
    """Deploy what appears in the repository while the block runs; nothing is watched where ``every_s`` is 0."""
    if every_s == 0:
        yield
        return
    watcher = await on_daemon_thread(lambda: Watcher(start.repository, deployer, start.name), "watch")
    task = asyncio.create_task(watcher.run(every_s))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def done_before(told_to_stop: asyncio.Event, work: Coroutine[Any, Any, object]) -> bool:
    """Whether the work was done before the server was told to stop; raises what the work raises, or cancels it."""
    working, stopping = asyncio.create_task(work), asyncio.create_task(told_to_stop.wait())
    await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not working.done():
        working.cancel()
        return False
    working.result()
    return True


def _grpc_server(settings: ServerSettings) -> grpc.aio.Server:
    longest = message_bytes(settings.max_pixels)
    options = [
        ("grpc.max_receive_message_length", longest),
        ("grpc.max_send_message_length", longest),
        # Two servers would else share a port, and each get some of the calls, as workers of one server do.
        ("grpc.so_reuseport", int(settings.workers > 1)),
        ("grpc.keepalive_time_ms", 10_000),  # a client whose host vanished closes nothing
        ("grpc.keepalive_timeout_ms", 5_000),
        ("grpc.http2.min_ping_interval_without_data_ms", 5_000),  # our clients ask every 10 s whether we are there
    ]
    return grpc.aio.server(options=options, maximum_concurrent_rpcs=settings.max_calls)


def _bind(server: grpc.aio.Server, settings: ServerSettings) -> int:
    address = f"{settings.host}:{settings.port}"
    try:
        port = server.add_insecure_port(address)
    except RuntimeError:
        port = 0
    if port == 0:
        raise not_listening(settings.host, settings.port)
    return port


def stop_signals() -> asyncio.Event:
    """An event that SIGTERM and SIGINT set."""
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    return told
