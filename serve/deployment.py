"""Models are exchanged in three steps: prepare beside what serves, switch, let the former ones end.

Until the switch nothing is visible, so whatever fails before it leaves everything as it was.
"""

import asyncio
import logging
import threading
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol, TypeVar

from scene.errors import ArtifactError, ServerError, StreetMaskError
from serve.daemon_thread import on_daemon_thread
from serve.engines import named
from serve.engines.contract import first_line
from serve.memory import give_memory_back
from serve.model import Model
from serve.models import LoadedModel, Models
from serve.pipeline import Pipeline
from serve.repository import Repository
from serve.settings import ServerSettings

LOG = logging.getLogger(__name__)

Result = TypeVar("Result")

_STOPPING = "the server is stopping; connect again"


@dataclass(frozen=True)
class Deployment:
    """What is wanted. ``version`` 0 is the newest in the repository.

    With ``keep_others`` other versions of the name stay loaded and are reached by their number; with ``force`` a
    version that is loaded is loaded again, as its files have changed. ``runs_on`` is the way to run it, as a
    ``ModelStatus`` tells it; empty, the settings and the engines' own times choose.
    """

    name: str
    version: int = 0
    keep_others: bool = False
    force: bool = False
    runs_on: str = ""


@dataclass(frozen=True)
class ModelStatus:
    """What is loaded: ``current`` answers calls that name no version; ``golden_ms`` is one run of the network."""

    name: str
    version: int
    current: bool
    runs_on: str
    golden_ms: float


class Deployer(Protocol):
    """What stands behind the admin service, the watcher and the start."""

    async def deploy(self, wanted: Deployment) -> ModelStatus:
        """Answered when all have it; raises ``StreetMaskError``, and then nothing has changed anywhere."""
        ...

    async def unload(self, name: str, version: int) -> None:
        """Let a loaded version go, or with 0 all of the name; raises ``StreetMaskError`` as ``deploy``."""
        ...

    async def models(self) -> list[ModelStatus]:
        """What is loaded, by name and version."""
        ...


@dataclass(frozen=True)
class Prepared:
    """A version that is ready to take over. Without a pipeline it is loaded already, and only becomes current."""

    wanted: Deployment
    pipeline: Pipeline | None


class LocalDeployer:
    """Deploys in this process: ``deploy`` and ``unload`` one at a time, to the end even if whoever asked has gone.

    ``prepare`` and ``commit`` are for who deploys to several processes, and sees to the order of that.
    """

    def __init__(self, models: Models, repository: Repository, settings: ServerSettings) -> None:
        self._models = models
        self._repository = repository
        self._settings = settings
        self._lock = asyncio.Lock()
        self._working: set[asyncio.Task[Any]] = set()
        self._closed = False

    async def start(self, wanted: Sequence[Deployment]) -> None:
        """Load what a server begins with, and let none of it answer before all of it is ready."""
        prepared: list[Prepared] = []
        try:
            for each in wanted:
                prepared.append(await self.prepare(each))
        except BaseException:
            for ready in prepared:
                self.abandon(ready)
            raise
        for ready in prepared:
            await self.commit(ready)

    async def deploy(self, wanted: Deployment) -> ModelStatus:
        """``prepare`` and ``commit``."""
        return await self._alone(self._deploy(wanted))

    async def unload(self, name: str, version: int) -> None:
        """Let go, drain, close."""
        await self._alone(self._unload(name, version))

    async def models(self) -> list[ModelStatus]:
        """What is loaded, by name and version."""
        return [_status(loaded, current) for loaded, current in self._models]

    async def prepare(self, wanted: Deployment) -> Prepared:
        """Load, check the golden frame and warm up on a daemon thread; nothing is visible yet.

        Raises ``StreetMaskError``: ``ArtifactError`` for whatever cannot be served.
        """
        if wanted.version == 0:
            version = await on_daemon_thread(partial(self._repository.newest, wanted.name), "look")
            wanted = replace(wanted, version=version)
        if self._models.holds(wanted.name, wanted.version) and not wanted.force:
            return Prepared(wanted, None)
        return Prepared(wanted, await on_daemon_thread(partial(self._load, wanted), "load"))

    async def commit(self, prepared: Prepared) -> ModelStatus:
        """Switch at once, answer the frames in work at the retired ones, close them, give their memory back."""
        wanted, pipeline = prepared.wanted, prepared.pipeline
        if pipeline is None:
            retired = self._models.make_current(wanted.name, wanted.version, wanted.keep_others)
        else:
            retired = self._models.switch(pipeline, wanted.keep_others)
        status = next(each for each in await self.models() if (each.name, each.version) == _key(wanted))
        LOG.info("%s version %d is current, on %s", status.name, status.version, status.runs_on)
        await self._let_go(retired)
        return status

    def abandon(self, prepared: Prepared) -> None:
        """Close what was prepared and is not wanted after all."""
        if prepared.pipeline is not None:
            threading.Thread(target=prepared.pipeline.close, name="close", daemon=True).start()

    def close(self) -> None:
        """Give up what is being deployed, and refuse whatever else is asked for: the server stops."""
        self._closed = True
        for task in self._working:
            task.cancel()

    async def _deploy(self, wanted: Deployment) -> ModelStatus:
        prepared = await self.prepare(wanted)
        try:
            return await self.commit(prepared)
        except StreetMaskError:
            self.abandon(prepared)
            raise

    async def _unload(self, name: str, version: int) -> None:
        retired = self._models.retire(name, version)
        LOG.info("unloaded: %s", ", ".join(each.label for each in retired))
        await self._let_go(retired)

    async def _let_go(self, retired: list[LoadedModel]) -> None:
        await asyncio.gather(*(each.drain(self._settings.drain_s) for each in retired))
        if retired:
            retired.clear()
            await on_daemon_thread(give_memory_back, "memory")

    def _load(self, wanted: Deployment) -> Pipeline:
        settings = self._settings
        folder = self._repository.folder(wanted.name, wanted.version)
        engine, precision = named(wanted.runs_on) if wanted.runs_on else (settings.engine, settings.precision)
        try:
            model = Model.load(folder, settings.engine_threads, precision, engine, settings.lanes)
            model.warm_up(settings.max_batch)
            return Pipeline(model, settings)
        except StreetMaskError:
            raise
        except Exception as error:  # engines' own exceptions share no nearer root
            LOG.exception("%s cannot be loaded", folder)
            raise ArtifactError(f"{folder} cannot be loaded: {first_line(error)}; export it again") from error

    async def _alone(self, work: Coroutine[Any, Any, Result]) -> Result:
        """One after the other. Whoever waits may go away; the work is done all the same."""
        if self._closed:
            work.close()
            raise ServerError(_STOPPING)
        task = asyncio.create_task(self._in_turn(work))
        self._working.add(task)
        task.add_done_callback(partial(self._done, work))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():
                raise ServerError(_STOPPING) from None
            raise

    async def _in_turn(self, work: Coroutine[Any, Any, Result]) -> Result:
        async with self._lock:
            return await work

    def _done(self, work: Coroutine[Any, Any, object], task: "asyncio.Task[Any]") -> None:
        work.close()  # a task that is cancelled before its first step, or at the lock, has not begun it
        self._working.discard(task)
        if not task.cancelled():
            task.exception()  # somebody has heard of it, even if nobody waits any more


def _key(wanted: Deployment) -> tuple[str, int]:
    return wanted.name, wanted.version


def _status(loaded: LoadedModel, current: bool) -> ModelStatus:
    model = loaded.pipeline.model
    return ModelStatus(model.artifact.name, model.artifact.version, current, model.runs_on, model.golden_ms)
