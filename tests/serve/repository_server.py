"""A real server of a whole repository, and repositories whose versions answer differently."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from serve.deployment import LocalDeployer
from serve.model import Model
from serve.server import Server, watching
from serve.settings import ServerSettings
from serve.start import find_models
from serve.watcher import Watcher
from tests.serve.conftest import PATIENCE_S, RunningServer
from tests.serve.tiny_model import write_tiny_model

GAINS = {1: 1.5, 2: 1.2, 3: 1.0}
"""Of each version; its one object scores two thirds of that in a picture of one pure colour."""


def write_repository(root: Path, *versions: int, name: str = "tiny") -> Path:
    """Tiny models whose answers tell their version."""
    for version in versions:
        write_tiny_model(root / name / str(version), name=name, version=version, gain=GAINS[version])
    return root


def settings(**changes: object) -> ServerSettings:
    """On one engine, so that a version always answers the same to the last bit."""
    values: dict[str, object] = {"port": 0, "threads": 1, "engine": "onnxruntime", "drain_s": PATIENCE_S}
    return ServerSettings(**(values | changes))  # type: ignore[arg-type]


class RepositoryServer(RunningServer):
    """Serves what ``streetmask serve`` would, in this process; ``deployer`` is the one that its admin calls ask."""

    def __init__(self, path: Path, settings: ServerSettings) -> None:
        super().__init__(_no_model, settings)
        self._path = path

    async def _main(self) -> None:
        self._told = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        start = find_models(self._path, self._settings)
        self.server = Server(self._settings, start.default)
        self.deployer = LocalDeployer(self.server.models, start.repository, self._settings)
        self.server.administer(self.deployer)
        watcher = Watcher(start.repository, self.deployer, start.name)
        self.port = await self.server.listen()
        self._listening.set()
        await self.server.begin(self.deployer.start(start.wanted))
        async with watching(watcher, self._settings.watch_s):
            self.loaded.set()
            await self._told.wait()
        self.deployer.close()
        await self.server.stop()


@contextmanager
def serving(path: Path, settings: ServerSettings) -> Iterator[RepositoryServer]:
    """The server for as long as the block runs."""
    server = RepositoryServer(path, settings)
    server.start()
    try:
        assert server.loaded.wait(PATIENCE_S)
        yield server
    finally:
        server.stop()


def _no_model() -> Model:
    raise AssertionError("a repository is served")
