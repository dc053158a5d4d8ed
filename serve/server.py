"""A server's life: bind, load, serve, drain, stop."""

import asyncio
import logging
import signal
import threading
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from scene.errors import ServerError
from serve import keepalive
from serve.gate import Gate
from serve.memory import MemoryLimit
from serve.metrics import Metrics
from serve.model import Model
from serve.models import Models
from serve.pipeline import Pipeline
from serve.servicer import SERVICE as SERVICE  # noqa: PLC0414 - this module's name for it, too
from serve.servicer import SegmentationServicer, add_to_server
from serve.settings import ServerSettings, message_bytes
from serve.stream import STOPPING

LOG = logging.getLogger(__name__)

SERVICES = (SERVICE,)
"""What this server serves, for health and reflection."""

_PARTING_S = 1.0
"""How long the last words of calls that have ended may take to be sent."""

_STATUS = health_pb2.HealthCheckResponse.ServingStatus


class Server:
    """One model behind one port. Healthy from the end of loading to the beginning of draining."""

    def __init__(self, settings: ServerSettings) -> None:
        self._settings = settings
        self._stopping = asyncio.Event()
        self.metrics = Metrics()
        self.models = Models()
        self._memory = MemoryLimit(settings.max_memory_mib)
        self._servicer = SegmentationServicer(
            self.models, self.metrics, self._stopping, settings.max_streams, self._memory
        )
        self._health = health.aio.HealthServicer()  # type: ignore[attr-defined]  # the stubs lack it
        self._server = _grpc_server(settings, Gate(SERVICE, self._check_open))
        add_to_server(self._servicer, self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.enable_server_reflection((*SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME), self._server)

    async def listen(self) -> int:
        """Bind and answer calls, at first only that the model is loading; return the port."""
        await self._report(_STATUS.NOT_SERVING)
        port = _bind(self._server, self._settings)
        if self._settings.metrics_port:
            self.metrics.listen(self._settings.host, self._settings.metrics_port)
        await self._server.start()
        return port

    async def load(self, load: Callable[[], Model]) -> None:
        """Load the model on a thread, then serve it; cancelled, leave the thread to end with the process."""
        model = await _on_daemon_thread(load)
        await self.models.switch(Pipeline(model, self._settings))
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

    def _check_open(self) -> None:
        """Raise what keeps a new call out."""
        if self._stopping.is_set():
            raise ServerError(STOPPING)
        self._memory.check()

    async def _report(self, status: health_pb2.HealthCheckResponse.ServingStatus.ValueType) -> None:
        for name in ("", *SERVICES):
            await self._health.set(name, status)


async def serve(folder: Path, settings: ServerSettings, announce: Callable[[str], None]) -> None:
    """Serve the model in a folder until SIGTERM or SIGINT; announce the address once it answers.

    Raises ``ArtifactError`` for a folder that cannot be served, ``ServerError`` for an address that is taken.
    """
    server = Server(settings)
    told_to_stop = _stop_signals()
    port = await server.listen()
    try:
        load = server.load(
            partial(Model.load, folder, settings.engine_threads, settings.precision, settings.engine, settings.lanes)
        )
        if await _done_before(told_to_stop, load):
            announce(f"listening on {settings.host}:{port}")
            await told_to_stop.wait()
            LOG.info("draining: new calls are refused, and what is not done in %g s is ended", settings.drain_s)
    finally:
        await server.stop()


async def _done_before(told_to_stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> bool:
    """Whether the work was done before the server was told to stop; raises what the work raises, or cancels it."""
    working, stopping = asyncio.create_task(work), asyncio.create_task(told_to_stop.wait())
    await asyncio.wait((working, stopping), return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not working.done():
        working.cancel()
        return False
    working.result()
    return True


async def _on_daemon_thread(load: Callable[[], Model]) -> Model:
    """Await a blocking call that nothing can cancel, but that no process waits for at its end, unlike a pool's."""
    loop = asyncio.get_running_loop()
    loaded: asyncio.Future[Model] = loop.create_future()

    def settle(model: Model | None, error: BaseException | None) -> None:
        if loaded.done():
            return
        if model is not None:
            loaded.set_result(model)
        else:
            loaded.set_exception(error or RuntimeError("loading gave no model"))

    def run() -> None:
        model, failure = None, None
        try:
            model = load()
        except BaseException as error:  # raised where it is awaited
            failure = error
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, model, failure)

    threading.Thread(target=run, name="load", daemon=True).start()
    return await loaded


def _grpc_server(settings: ServerSettings, gate: Gate) -> grpc.aio.Server:
    longest = message_bytes(settings.max_pixels)
    options = [
        ("grpc.max_receive_message_length", longest),
        ("grpc.max_send_message_length", longest),
        ("grpc.so_reuseport", 0),  # else two servers would share a port, and each get some of the calls
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
        raise ServerError(f"cannot listen on {address}: the port is taken or the address is not this machine's")
    return port


def _stop_signals() -> asyncio.Event:
    told = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told.set)
    return told
