"""A tiny model, engines under a test's control, and servers on a thread."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from serve.client import Client
from serve.engines import Outputs
from serve.model import Model
from serve.server import Server
from serve.settings import ServerSettings
from tests.serve.tiny_model import write_tiny_model

PATIENCE_S = 120.0
"""A test that waits longer than this for something has failed."""


class GatedEngine:
    """Wraps an engine; each run announces itself and then waits until the test lets it go."""

    def __init__(self, run: Callable[[NDArray[np.uint8]], Outputs]) -> None:
        self._run = run
        self.entered = threading.Semaphore(0)
        self.gate = threading.Semaphore(0)
        self.runs = 0
        self.finished = 0

    def run(self, images: NDArray[np.uint8], score_threshold: float = 0.0) -> Outputs:
        self.runs += 1
        self.entered.release()
        assert self.gate.acquire(timeout=PATIENCE_S), "the test never opened the gate"
        outputs = self._run(images)
        self.finished += 1
        return outputs

    def wait_entered(self) -> None:
        assert self.entered.acquire(timeout=PATIENCE_S), "the engine was never called"

    def open(self, count: int = 1) -> None:
        self.gate.release(count)


class RunningServer:
    """A real server on a thread with an event loop of its own."""

    def __init__(self, load: Callable[[], Model], settings: ServerSettings) -> None:
        self._load = load
        self._settings = settings
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()))
        self._listening = threading.Event()
        self.loaded = threading.Event()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        self._thread.start()
        assert self._listening.wait(PATIENCE_S)

    def stop(self) -> None:
        self.begin_stop()
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()

    def begin_stop(self) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._told.set)

    async def _main(self) -> None:
        self._told = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self.server = Server(self._settings)
        self.port = await self.server.listen()
        self._listening.set()
        await self.server.load(self._load)
        self.loaded.set()
        await self._told.wait()
        await self.server.stop()


@contextmanager
def running(load: Callable[[], Model], settings: ServerSettings | None = None) -> Iterator[RunningServer]:
    server = RunningServer(load, settings or ServerSettings(port=0, threads=1, drain_s=PATIENCE_S))
    server.start()
    try:
        assert server.loaded.wait(PATIENCE_S)
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_model(tmp_path_factory.mktemp("models") / "tiny" / "3")


@pytest.fixture(scope="session")
def tiny(model_folder: Path) -> Model:
    return Model.load(model_folder)


@pytest.fixture(scope="session")
def server(model_folder: Path) -> Iterator[RunningServer]:
    with running(partial(Model.load, model_folder)) as running_server:
        yield running_server


@pytest.fixture
def client(server: RunningServer) -> Iterator[Client]:
    with Client(server.address) as connected:
        yield connected


@pytest.fixture
def gated(tiny: Model) -> GatedEngine:
    return GatedEngine(tiny.engine.run)


@pytest.fixture
def gated_server(tiny: Model, gated: GatedEngine) -> Iterator[RunningServer]:
    with running(lambda: Model(tiny.artifact, gated)) as running_server:
        yield running_server
        gated.open(1000)
