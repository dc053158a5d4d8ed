"""Several processes behind one port, and the one place that says what they are to have loaded.

The supervisor loads no model and serves no call. A worker listens once it has all that is desired at that moment; a
deployment is prepared by all that listen, and then switched by all.
"""

import asyncio
import itertools
import logging
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeVar

from scene.errors import ServerError
from serve.crew import Crew
from serve.deployment import Deployment, ModelStatus
from serve.desired import Desired
from serve.metrics import CrewMetrics
from serve.orders import Abandon, Commit, Deploy, Listen, ListModels, Prepare, Unload
from serve.pipe import PeerGoneError
from serve.port import reserved_port
from serve.server import done_before, stop_signals, watching
from serve.settings import ServerSettings, usable_cpus
from serve.start import Start, find_models
from serve.watcher import Watcher
from serve.worker import Post
from serve.worker_process import WorkerProcess

LOG = logging.getLogger(__name__)

Kind = TypeVar("Kind")

_PREPARE_S = 600.0
"""What loading may take: an engine that is built for a card at hand takes minutes."""
_CLOSE_S = 30.0
"""What any other order may take beyond the time for draining."""


async def supervise(folder: Path, settings: ServerSettings, announce: Callable[[str], None]) -> None:
    """Serve as ``serve`` does, by ``settings.workers`` processes; announce the address once all of them answer.

    Raises ``ServerError`` also for a worker that ends again and again before it is ready.
    """
    start = find_models(folder, settings)
    told_to_stop = stop_signals()
    with (
        reserved_port(settings.host, settings.port) as port,
        TemporaryDirectory(prefix="streetmask-metrics-", ignore_cleanup_errors=True) as metrics_folder,
    ):
        supervisor = Supervisor(start, settings, port, Path(metrics_folder))
        watcher = Watcher(start.repository, supervisor, start.name)  # what appears while all load is new, too
        try:
            if await done_before(told_to_stop, supervisor.start()):
                async with watching(watcher, settings.watch_s):
                    announce(f"listening on {settings.host}:{port}")
                    await done_before(told_to_stop, supervisor.run())
        finally:
            await supervisor.stop()


@dataclass
class _Deploying:
    """A deployment under way: which workers were asked to load it, and what the first of them made of it."""

    ticket: int
    wanted: Deployment
    workers: list[WorkerProcess] = field(default_factory=list)
    statuses: list[ModelStatus] = field(default_factory=list)

    @property
    def status(self) -> ModelStatus:
        """What it comes to."""
        return self.statuses[0]

    @property
    def order(self) -> Prepare:
        """For the next worker."""
        if not self.statuses:
            return Prepare(self.ticket, self.wanted)
        alike = replace(self.wanted, version=self.status.version, runs_on=self.status.runs_on)
        return Prepare(self.ticket, alike)


class Supervisor:
    """A ``Deployer`` for all workers together, and their keeper."""

    def __init__(self, start: Start, settings: ServerSettings, port: int, metrics_folder: Path) -> None:
        self._settings = settings
        self._initial = start.wanted
        self._desired = Desired()
        self._deploying = asyncio.Lock()
        self._listening = asyncio.Lock()
        """Held while what is desired, or who listens, changes: not while something is loaded, which takes long."""
        self._tickets = itertools.count()
        own = share(settings, port)
        posts = [
            Post(number, own, start.repository, metrics_folder, start.default) for number in range(settings.workers)
        ]
        self._crew = Crew(posts, self._bring_up, self._answer, self._note_lost)
        self.metrics = CrewMetrics(metrics_folder, lambda: self._crew.pids)

    async def start(self) -> None:
        """Return when all workers answer; raises ``StreetMaskError`` where that will not be."""
        if self._settings.metrics_port:
            self.metrics.listen(self._settings.host, self._settings.metrics_port)
        await self._crew.assemble()

    async def run(self) -> None:
        """Never return; raises ``ServerError`` when no worker comes up any more."""
        await self._crew.stay()

    async def stop(self) -> None:
        """Drain all workers, end those that are not done in time."""
        await self._crew.dismiss(self._settings.drain_s)

    async def deploy(self, wanted: Deployment) -> ModelStatus:
        """Answered when all workers have it; raises ``StreetMaskError``, and then nothing has changed anywhere."""
        async with self._deploying:
            deploying = _Deploying(next(self._tickets), wanted)
            try:
                while not await self._switch(deploying):
                    await self._prepare(deploying)
            except BaseException as error:
                await self._everyone(deploying.workers, Abandon(deploying.ticket))
                if isinstance(error, PeerGoneError):
                    raise ServerError(f"a worker died while it loaded {wanted.name}; nothing has changed") from error
                raise
            return deploying.status

    async def unload(self, name: str, version: int) -> None:
        """Let a loaded version go, or with 0 all of the name, everywhere; raises ``StreetMaskError`` as ``deploy``."""
        order = Unload(name, version)
        async with self._deploying, self._listening:
            first, *others = self._crew.listening
            await self._ask(first, order, type(None))  # what one refuses is asked of no other
            self._desired = self._desired.unloaded(name, version)
            await self._done_by_all(others, order)

    async def models(self) -> list[ModelStatus]:
        """What is loaded everywhere, by name and version."""
        return self._desired.statuses

    async def _prepare(self, deploying: "_Deploying") -> None:
        """Have those load it that have not yet, all alike: the first finds out which version is the newest and which
        engine the fastest."""
        fresh = [worker for worker in self._crew.listening if worker not in deploying.workers]
        deploying.workers += fresh
        if not deploying.statuses:
            deploying.statuses.append(await self._ask(fresh.pop(0), deploying.order, ModelStatus))
        for outcome in await self._everyone(fresh, deploying.order):  # all have come to an end before one is raised
            if isinstance(outcome, BaseException):
                raise outcome

    async def _switch(self, deploying: "_Deploying") -> bool:
        """Have all switch, if all that listen have loaded it: some may have come up meanwhile."""
        async with self._listening:
            if not set(self._crew.listening) <= set(deploying.workers):
                return False
            self._desired = self._desired.deployed(deploying.wanted, deploying.status)
            await self._done_by_all(deploying.workers, Commit(deploying.ticket))  # who dies comes back with it
            return True

    async def _done_by_all(self, workers: list[WorkerProcess], order: object) -> None:
        """What one cannot do is done by others already: it is replaced by one that begins with what is desired."""
        for worker, outcome in zip(workers, await self._everyone(workers, order), strict=True):
            if isinstance(outcome, BaseException):
                LOG.error("worker %d is ended, as it failed at %s: %s", worker.number, order, outcome)
                worker.kill()

    async def _everyone(self, workers: list[WorkerProcess], order: object) -> list[object]:
        """What each answers, or the error that it raises."""
        return await asyncio.gather(*(self._ask(worker, order, object) for worker in workers), return_exceptions=True)

    async def _ask(self, worker: WorkerProcess, order: object, kind: type[Kind]) -> Kind:
        """What a worker answers; raises as ``WorkerProcess.ask``, and ``ServerError`` for one that takes too long and
        is ended: it hangs, and nothing may wait for it for ever."""
        limit_s = _PREPARE_S if isinstance(order, Prepare) else self._settings.drain_s + _CLOSE_S
        try:
            async with asyncio.timeout(limit_s):
                return await worker.ask(order, kind)
        except TimeoutError:
            worker.kill()
            raise ServerError(
                f"worker {worker.number} did not do {order} within {limit_s:g} s, and was ended; try again"
            ) from None

    async def _bring_up(self, worker: WorkerProcess) -> None:
        """Have a fresh worker load all that is desired, and listen."""
        adopted = Desired()
        if not self._desired.held:
            async with self._listening:
                adopted = adopted if self._desired.held else await self._begin(worker)
        adopted = await self._adopt(worker, adopted)  # the others, and what they deploy, go on meanwhile
        async with self._listening:
            await self._adopt(worker, adopted)
            await self._ask(worker, Listen(), type(None))
            worker.listening = True

    async def _begin(self, worker: WorkerProcess) -> Desired:
        """Let the first worker find out what there is to be desired."""
        desired = Desired()
        for wanted in self._initial:
            desired = desired.deployed(wanted, await self._load(worker, wanted))
        self._desired = desired
        return desired

    async def _adopt(self, worker: WorkerProcess, adopted: Desired) -> Desired:
        """Lead a worker from what it has to what is desired; return the latter as it was at the beginning."""
        desired = self._desired
        for wanted in desired.deployments_for(adopted):
            await self._load(worker, wanted)
        for name, version in desired.surplus_of(adopted):
            await self._ask(worker, Unload(name, version), type(None))
        return desired

    async def _load(self, worker: WorkerProcess, wanted: Deployment) -> ModelStatus:
        """Have a worker that does not listen yet load something."""
        ticket = next(self._tickets)
        status = await self._ask(worker, Prepare(ticket, wanted), ModelStatus)
        await self._ask(worker, Commit(ticket), type(None))
        return status

    async def _answer(self, request: object) -> object:
        """What a worker asks on behalf of its caller."""
        match request:
            case Deploy(wanted):
                return await self.deploy(wanted)
            case Unload(name, version):
                await self.unload(name, version)
            case ListModels():
                return await self.models()
        return None

    def _note_lost(self, pid: int) -> None:
        self.metrics.lost(pid)


def share(settings: ServerSettings, port: int) -> ServerSettings:
    """One worker's settings: the port of all, its part of the CPUs, and no metrics of its own to be scraped."""
    threads = settings.threads or max(1, usable_cpus() // settings.workers)
    return replace(settings, port=port, threads=threads, metrics_port=0)
