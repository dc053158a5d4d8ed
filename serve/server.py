"""A server's life: bind, load, serve, drain, stop."""

import asyncio
import logging
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from protos.streetmask.v1 import admin_pb2
from protos.streetmask.v1.admin_pb2_grpc import add_AdminServiceServicer_to_server
from scene.errors import ServerError
from serve import keepalive
from serve.admin import AdminServicer
from serve.daemon_thread import on_daemon_thread
from serve.deployment import Deployer, LocalDeployer
from serve.gate import Gate
from serve.memory import MemoryLimit, keep_memory_tidy
from serve.metrics import Metrics
from serve.model import Model
from serve.models import Models
from serve.pipeline import Pipeline
from serve.port import not_listening
from serve.servicer import SERVICE as SERVICE  # noqa: PLC0414 - this module's name for it, too
from serve.servicer import SegmentationServicer, add_to_server
from serve.settings import ServerSettings, message_bytes
from serve.start import find_models
from serve.stream import STOPPING
from serve.watcher import Watcher

LOG = logging.getLogger(__name__)

ADMIN_SERVICE = admin_pb2.DESCRIPTOR.services_by_name["AdminService"].full_name

_PARTING_S = 1.0
"""How long the last words of calls that have ended may take to be sent."""

_STATUS = health_pb2.HealthCheckResponse.ServingStatus


class Server:
    """Models behind one port. Healthy from the end of loading to the beginning of draining.

    ``default`` is the model that answers calls which name none, as ``Models`` has it.
    """

    def __init__(self, settings: ServerSettings, default: str = "") -> None:
        self._settings = settings
        self._stopping = asyncio.Event()
        self.metrics = Metrics()
        self.models = Models(default)
        self._memory = MemoryLimit(settings.max_memory_mib)
        self._servicer = SegmentationServicer(
            self.models, self.metrics, self._stopping, settings.max_streams, self._memory
        )
        self._health = health.aio.HealthServicer()  # type: ignore[attr-defined]  # the stubs lack it
        self._server = _grpc_server(settings, Gate(SERVICE, self._check_open))
        add_to_server(self._servicer, self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        self._services = [SERVICE]
        self._tidying: asyncio.Task[None] | None = None

    def administer(self, deployer: Deployer) -> None:
        """Take admin calls for it; before ``listen``."""
        add_AdminServiceServicer_to_server(AdminServicer(deployer, self._settings.admin_token), self._server)
        self._services.append(ADMIN_SERVICE)

    async def listen(self) -> int:
        """Bind and answer calls, at first only that the model is loading; return the port."""
        reflection.enable_server_reflection(
            (*self._services, health.SERVICE_NAME, reflection.SERVICE_NAME), self._server
        )
        await self._report(_STATUS.NOT_SERVING)
        port = _bind(self._server, self._settings)
        if self._settings.metrics_port:
            self.metrics.listen(self._settings.host, self._settings.metrics_port)
        await self._server.start()
        self._tidying = asyncio.create_task(keep_memory_tidy())
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
        """Tell health's watchers, refuse new calls, let streams answer what they have, end what is not done in time.

        New calls are refused with a sentence as long as one is being answered; only then is the port closed.
        """
        drained_s = time.monotonic() + self._settings.drain_s
        await self._health.enter_graceful_shutdown()
        self._stopping.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._settings.drain_s):
                await self._servicer.callers.all_gone()
        # Watchers of health never end by themselves.
        await self._server.stop(min(_PARTING_S, max(0.0, drained_s - time.monotonic())))
        await self.models.close()
        if self._tidying is not None:
            self._tidying.cancel()

    def _check_open(self) -> None:
        """Raise what keeps a new call out."""
        if self._stopping.is_set():
            raise ServerError(STOPPING)
        self._memory.check()

    async def _report(self, status: health_pb2.HealthCheckResponse.ServingStatus.ValueType) -> None:
        for name in ("", *self._services):
            await self._health.set(name, status)


async def serve(folder: Path, settings: ServerSettings, announce: Callable[[str], None]) -> None:
    """Serve the models in a folder until SIGTERM or SIGINT; announce the address once they answer.

    Raises ``ArtifactError`` for a folder that cannot be served, ``ServerError`` for an address that is taken.
    """
    start = find_models(folder, settings)
    server = Server(settings, start.default)
    deployer = LocalDeployer(server.models, start.repository, settings)
    server.administer(deployer)
    watcher = Watcher(start.repository, deployer, start.name)  # loading takes long: what appears meanwhile is new, too
    told_to_stop = stop_signals()
    port = await server.listen()
    try:
        if await done_before(told_to_stop, server.begin(deployer.start(start.wanted))):
            async with watching(watcher, settings.watch_s):
                announce(f"listening on {settings.host}:{port}")
                await told_to_stop.wait()
            LOG.info("draining: new calls are refused, and what is not done in %g s is ended", settings.drain_s)
    finally:
        deployer.close()
        await server.stop()


@asynccontextmanager
async def watching(watcher: Watcher, every_s: float) -> AsyncIterator[None]:
    """Deploy what appeared since the watcher was made, while the block runs; nothing where ``every_s`` is 0."""
    if every_s == 0:
        yield
        return
    task = asyncio.create_task(watcher.run(every_s))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def done_before(told_to_stop: asyncio.Event, work: Coroutine[Any, Any, object]) -> bool:
    """Whether the work was done before the server was told to stop; raises what the work raises.

    What is not done is cancelled, and has cleaned up on return.
    """
    working, stopping = asyncio.create_task(work), asyncio.create_task(told_to_stop.wait())
    await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not working.done():
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)
        return False
    working.result()
    return True


def _grpc_server(settings: ServerSettings, gate: Gate) -> grpc.aio.Server:
    longest = message_bytes(settings.max_pixels)
    options = [
        ("grpc.max_receive_message_length", longest),
        ("grpc.max_send_message_length", longest),
        # Two servers would else share a port, and each get some of the calls, as workers of one server do.
        ("grpc.so_reuseport", int(settings.workers > 1)),
        *keepalive.server_options(),
    ]
    return grpc.aio.server(interceptors=[gate], options=options, maximum_concurrent_rpcs=settings.max_calls)


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
