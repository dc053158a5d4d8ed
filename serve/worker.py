"""One of several processes that answer on a port: it loads and listens when its supervisor says so.

It hears of the world by its pipe alone. Where the pipe closes, the supervisor is dead, and it drains and ends as well.
"""

import asyncio
import logging
import multiprocessing
import os
import signal
import socket
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from serve.deployment import Deployment, LocalDeployer, ModelStatus, Prepared
from serve.logs import configure_logs
from serve.orders import Abandon, Commit, Deploy, Listen, ListModels, Prepare, Unload
from serve.pipe import PipeEnd
from serve.repository import Repository
from serve.server import Server, done_before
from serve.settings import ServerSettings

LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Post:
    """What a worker is told as it starts. ``settings`` are its own share: its threads, the port of all.

    ``metrics_folder`` is where it counts, as its environment's PROMETHEUS_MULTIPROC_DIR says, too; ``default`` is
    the model that answers calls which name none: the same for all, in whatever order they load.
    """

    number: int
    settings: ServerSettings
    repository: Repository
    metrics_folder: Path
    default: str = ""


def work(end: socket.socket, post: Post) -> None:
    """Be a worker until told to stop: the entry of a spawned process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the supervisor says what it means
    configure_logs(post.settings.log_format, post.settings.log_level, worker=f"{post.number}/{os.getpid()}")
    asyncio.run(_live(end, post))
    logging.shutdown()
    os._exit(0)  # a thread that still loads would bring its engine's library down with an outcry at the usual end


async def _live(socket_end: socket.socket, post: Post) -> None:
    told_to_stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, told_to_stop.set)
    worker = Worker(post)
    end = await PipeEnd.open(socket_end, worker.obey)
    worker.forward(end)
    await done_before(told_to_stop, end.gone.wait())
    end.close()  # after SIGTERM: no more orders; another worker is sent when this one has drained
    await worker.stop()
    supervisor = multiprocessing.parent_process()
    if supervisor is not None and not supervisor.is_alive():
        _sweep(post.metrics_folder)


class Worker:
    """A server that does what its supervisor says."""

    def __init__(self, post: Post) -> None:
        self._server = Server(post.settings, post.default)
        self._deployer = LocalDeployer(self._server.models, post.repository, post.settings)
        self._prepared: dict[int, Prepared] = {}

    def forward(self, end: PipeEnd) -> None:
        """Have what callers ask for done everywhere."""
        self._server.administer(ForwardingDeployer(end))

    async def obey(self, order: object) -> object:
        """Answer one order; raises ``StreetMaskError`` for one that cannot be done."""
        match order:
            case Prepare(ticket, wanted):
                return await self._prepare(ticket, wanted)
            case Commit(ticket):
                await self._deployer.commit(self._prepared.pop(ticket))
            case Abandon(ticket):
                if (prepared := self._prepared.pop(ticket, None)) is not None:
                    self._deployer.abandon(prepared)
            case Unload(name, version):
                await self._deployer.unload(name, version)
            case Listen():
                await self._server.listen()
                await self._server.ready()
        return None

    async def stop(self) -> None:
        """Drain."""
        self._deployer.close()
        await self._server.stop()

    async def _prepare(self, ticket: int, wanted: Deployment) -> ModelStatus:
        prepared = await self._deployer.prepare(wanted)
        self._prepared[ticket] = prepared
        if prepared.pipeline is not None:
            model = prepared.pipeline.model
            return ModelStatus(model.artifact.name, model.artifact.version, True, model.runs_on, model.golden_ms)
        key = (prepared.wanted.name, prepared.wanted.version)
        loaded = await self._deployer.models()
        return replace(next(each for each in loaded if (each.name, each.version) == key), current=True)


class ForwardingDeployer:
    """A worker's deployer for its callers: the supervisor does it everywhere."""

    def __init__(self, end: PipeEnd) -> None:
        self._end = end

    async def deploy(self, wanted: Deployment) -> ModelStatus:
        """Answered when all workers have it; raises ``StreetMaskError``, and then nothing has changed anywhere."""
        return await self._end.ask(Deploy(wanted), ModelStatus)

    async def unload(self, name: str, version: int) -> None:
        """Let a loaded version go, or with 0 all of the name, everywhere."""
        await self._end.ask(Unload(name, version), type(None))

    async def models(self) -> list[ModelStatus]:
        """What is loaded everywhere, by name and version."""
        return await self._end.ask(ListModels(), list)


def _sweep(metrics_folder: Path) -> None:
    """Remove one's own counts, for a dead supervisor cannot any more; the last one out takes the folder."""
    with suppress(OSError):
        for path in metrics_folder.glob(f"*_{os.getpid()}.db"):
            path.unlink()
        metrics_folder.rmdir()
