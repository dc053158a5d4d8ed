"""The models that a server has loaded: which one answers a call, and how one takes another's place."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from scene.errors import ServerError, UnknownModelError
from serve.answer import Options
from serve.pipeline import Admitted, Pipeline
from serve.turns import Member


@dataclass(eq=False)
class _Loaded:
    """A version that answers, and how many frames are at it: it is closed when it is retired and none is left."""

    pipeline: Pipeline
    leases: int = 0
    idle: asyncio.Event = field(default_factory=asyncio.Event)

    def enter(self) -> None:
        self.leases += 1
        self.idle.clear()

    def leave(self) -> None:
        self.leases -= 1
        if self.leases == 0:
            self.idle.set()


class Models:
    """Loaded models by name and version; of each name one version is current. Used on one event loop."""

    def __init__(self) -> None:
        self._loaded: dict[str, dict[int, _Loaded]] = {}
        self._current: dict[str, int] = {}

    async def admit(self, options: Options, member: Member) -> Admitted:
        """Wait for the member's turn at the model that the options ask for; raises as ``lease``."""
        loaded = self._find(options.model_name, options.model_version)
        loaded.enter()
        try:
            turn = await loaded.pipeline.turns.take(member)
        except BaseException:
            loaded.leave()
            raise
        return Admitted(loaded.pipeline, turn, loaded.leave)

    @contextmanager
    def lease(self, name: str = "", version: int = 0) -> Iterator[Pipeline]:
        """Keep a version open for as long as the block runs: the current one of the name, or of the only name.

        Raises ``UnknownModelError`` for what is not loaded, ``ServerError`` while nothing is.
        """
        loaded = self._find(name, version)
        loaded.enter()
        try:
            yield loaded.pipeline
        finally:
            loaded.leave()

    async def switch(self, pipeline: Pipeline) -> None:
        """Let a version be its model's current one from now on; return when the former one is done and closed."""
        artifact = pipeline.model.artifact
        versions = self._loaded.setdefault(artifact.name, {})
        retired = list(versions.values())
        self._loaded[artifact.name] = {artifact.version: _Loaded(pipeline)}
        self._current[artifact.name] = artifact.version
        for former in retired:
            await _drain(former)

    async def close(self) -> None:
        """Forget what waits and wait for what runs."""
        loaded = [entry for versions in self._loaded.values() for entry in versions.values()]
        self._loaded, self._current = {}, {}
        for entry in loaded:
            await asyncio.to_thread(entry.pipeline.close)

    def _find(self, name: str, version: int) -> _Loaded:
        if not self._loaded:
            raise ServerError("the server is still loading its model; try again")
        names = sorted(self._loaded)
        if not name and len(names) > 1:
            raise UnknownModelError("model_name", f"expected one of {', '.join(names)}, but nothing came")
        name = name or names[0]
        if name not in self._loaded:
            raise UnknownModelError("model_name", f"expected {' or '.join(names)} or nothing, but {name!r} came")
        versions = self._loaded[name]
        version = version or self._current[name]
        if version not in versions:
            known = ", ".join(map(str, sorted(versions)))
            raise UnknownModelError("model_version", f"expected {known} or 0 for {name}, but {version} came")
        return versions[version]


async def _drain(retired: _Loaded) -> None:
    if retired.leases:
        await retired.idle.wait()
    await asyncio.to_thread(retired.pipeline.close)
