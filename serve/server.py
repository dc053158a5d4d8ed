"""A server's life: bind, load, serve, drain, stop."""

import asyncio
import logging
import signal
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from protos.streetmask.v1 import segmentation_pb2
from protos.streetmask.v1.segmentation_pb2_grpc import add_SegmentationServiceServicer_to_server
from serve.metrics import Metrics
from serve.model import Model
from serve.models import Models
from serve.pipeline import Pipeline
from serve.port import not_listening
from serve.servicer import SegmentationServicer
from serve.settings import ServerSettings, message_bytes

LOG = logging.getLogger(__name__)

SERVICE = segmentation_pb2.DESCRIPTOR.services_by_name["SegmentationService"].full_name

_STATUS = health_pb2.HealthCheckResponse.ServingStatus


class Server:
    """One model behind one port. Healthy from the end of loading to the beginning of draining."""

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
        reflection.enable_server_reflection((SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME), self._server)

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
    """Serve the model in a folder until SIGTERM or SIGINT; announce the address once it answers.

    Raises ``ArtifactError`` for a folder that cannot be served, ``ServerError`` for an address that is taken.
    """
    server = Server(settings)
    told_to_stop = stop_signals()
    port = await server.listen()
    try:
        load = server.load(
            partial(Model.load, folder, settings.engine_threads, settings.precision, settings.engine, settings.lanes)
        )
        if await done_before(told_to_stop, load):
            announce(f"listening on {settings.host}:{port}")
            await told_to_stop.wait()
    finally:
        await server.stop()


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
