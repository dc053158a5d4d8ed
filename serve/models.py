"""The models that a server has loaded: which one answers a call, and how one takes another's place.

Everything here happens on one event loop, so a switch is one step that no call can be in the middle of. A frame holds
a lease on the version that its turn was given at; a version that is retired gives no further turn, is answered to its
last frame, and is closed.
"""

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from scene.errors import ConfigurationError, ServerError, UnknownModelError
from serve.answer import Options
from serve.daemon_thread import on_daemon_thread
from serve.pipeline import Admitted, Pipeline
from serve.turns import Member, TurnsEndedError

LOG = logging.getLogger(__name__)

_CLOSE_S = 3.0
"""How long models may take to end when the server stops, after the time for draining: a run of a network or two."""


@dataclass(eq=False)
class LoadedModel:
    """A version that answers, and how many frames are at it: it is closed when it is retired and none is left."""

    pipeline: Pipeline
    leases: int = 0
    idle: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def label(self) -> str:
        """Its name and version in words."""
        artifact = self.pipeline.model.artifact
        return f"{artifact.name} version {artifact.version}"

    def enter(self) -> None:
        """One more frame is at it."""
        self.leases += 1
        self.idle.clear()

    def leave(self) -> None:
        """One frame less is at it."""
        self.leases -= 1
        if self.leases == 0:
            self.idle.set()

    async def drain(self, drain_s: float) -> None:
        """Wait until its frames are answered, so long at most, and close it; what is not answered by then fails."""
        if self.leases:
            with suppress(TimeoutError):
                async with asyncio.timeout(drain_s):
                    await self.idle.wait()
        closing = asyncio.ensure_future(on_daemon_thread(self.pipeline.close, "close"))
        if not self.leases:
            await closing
            return
        LOG.warning("%s has not answered %d frames within %g s; they fail", self.label, self.leases, drain_s)
        with suppress(TimeoutError):  # an engine that hangs is left behind, and its thread with it
            await asyncio.wait_for(asyncio.shield(closing), drain_s)


class Models:
    """Loaded models by name and version; of each name one version is current.

    Calls that name no model get ``default`` as long as it is loaded, whatever else is loaded beside it, and otherwise
    the only name that is.
    """

    def __init__(self, default: str = "") -> None:
        self._default = default
        self._loaded: dict[str, dict[int, LoadedModel]] = {}
        self._current: dict[str, int] = {}
        self._closed = False

    async def admit(self, options: Options, member: Member) -> Admitted:
        """Wait for the member's turn at the model that the options ask for; raises as ``lease``.

        Whoever still waits when that version is retired waits on at the one that answers now.
        """
        while True:
            loaded = self._find(options.model_name, options.model_version)
            loaded.enter()
            try:
                turn = await loaded.pipeline.turns.take(member)
            except TurnsEndedError:
                loaded.leave()
            except BaseException:
                loaded.leave()
                raise
            else:
                return Admitted(loaded.pipeline, turn, loaded.leave)

    @contextmanager
    def lease(self, name: str = "", version: int = 0) -> Iterator[Pipeline]:
        """Keep a version open for as long as the block runs: the current one of the name, or of the default.

        Raises ``UnknownModelError`` for what is not loaded, ``ServerError`` while nothing is.
        """
        loaded = self._find(name, version)
        loaded.enter()
        try:
            yield loaded.pipeline
        finally:
            loaded.leave()

    def __iter__(self) -> Iterator[tuple[LoadedModel, bool]]:
        """Every loaded version, by name and number, and whether it is current."""
        for name, versions in sorted(self._loaded.items()):
            for number, loaded in sorted(versions.items()):
                yield loaded, number == self._current[name]

    def holds(self, name: str, version: int) -> bool:
        """Whether the version is loaded."""
        return version in self._loaded.get(name, {})

    def switch(self, pipeline: Pipeline, keep_others: bool = False) -> list[LoadedModel]:
        """Let a version be its model's current one from now on; return those that are retired, to be drained.

        That is the same version as it was loaded before, and all others of the name unless they are kept. Raises
        ``ServerError`` once the server stops.
        """
        if self._closed:
            raise ServerError("the server is stopping; connect again")
        artifact = pipeline.model.artifact
        versions = self._loaded.setdefault(artifact.name, {})
        replaced = versions.pop(artifact.version, None)
        versions[artifact.version] = LoadedModel(pipeline)
        retired = self.make_current(artifact.name, artifact.version, keep_others)
        return retired if replaced is None else [_ended(replaced), *retired]

    def make_current(self, name: str, version: int, keep_others: bool = False) -> list[LoadedModel]:
        """As ``switch``, for a version that is loaded; raises ``UnknownModelError`` for any other."""
        if not self.holds(name, version):
            raise UnknownModelError("model_version", f"{name} version {version} is not loaded; deploy it")
        self._current[name] = version
        others = [] if keep_others else [number for number in self._loaded[name] if number != version]
        return [_ended(self._loaded[name].pop(number)) for number in others]

    def retire(self, name: str, version: int = 0) -> list[LoadedModel]:
        """Let go of a version, or with 0 of all of the name; return what is to be drained.

        Raises ``UnknownModelError`` for what is not loaded, ``ConfigurationError`` for a current version beside others
        and for the server's last model.
        """
        versions = self._loaded.get(name, {})
        numbers = [version] if version else list(versions)
        if not numbers or not versions.keys() >= set(numbers):
            known = ", ".join(f"{loaded.label}" for loaded, _ in self) or "nothing"
            asked = f"{name!r} version {version}" if version else repr(name)
            raise UnknownModelError("model_name", f"expected what is loaded ({known}), but {asked} came")
        whole = len(numbers) == len(versions)
        if not whole and version == self._current[name]:
            raise ConfigurationError(
                "model_version", f"{name} version {version} is current; deploy another version before it is unloaded"
            )
        if whole and len(self._loaded) == 1:
            raise ConfigurationError(
                "model_name", f"{name} is the last model of this server; deploy another one before it is unloaded"
            )
        retired = [_ended(versions.pop(number)) for number in numbers]
        if whole:
            del self._loaded[name], self._current[name]
        return retired

    async def close(self) -> None:
        """Take nothing more, forget what waits and wait for what runs, but for no engine that hangs."""
        loaded = [entry for entry, _ in self]
        self._loaded, self._current, self._closed = {}, {}, True
        closing = [on_daemon_thread(_ended(entry).pipeline.close, "close") for entry in loaded]
        try:
            async with asyncio.timeout(_CLOSE_S):
                await asyncio.gather(*closing)
        except TimeoutError:
            LOG.warning("a model has not come to an end within %g s; it is left behind", _CLOSE_S)

    def _find(self, name: str, version: int) -> LoadedModel:
        if self._closed:
            raise ServerError("the server is stopping; connect again")
        if not self._loaded:
            raise ServerError("the server is still loading its model; try again")
        name = self._named(name)
        versions = self._loaded[name]
        version = version or self._current[name]
        if version not in versions:
            known = ", ".join(map(str, sorted(versions)))
            raise UnknownModelError("model_version", f"expected {known} or 0 for {name}, but {version} came")
        return versions[version]

    def _named(self, name: str) -> str:
        """The name itself, or the one that answers calls without a name."""
        names = sorted(self._loaded)
        default = self._default if self._default in self._loaded else names[0] if len(names) == 1 else ""
        name = name or default
        if not name:
            raise UnknownModelError("model_name", f"expected one of {', '.join(names)}, but nothing came")
        if name not in self._loaded:
            known = " or ".join([*names, "nothing"] if default else names)
            raise UnknownModelError("model_name", f"expected {known}, but {name!r} came")
        return name


def _ended(loaded: LoadedModel) -> LoadedModel:
    """Send those who wait for a turn at it elsewhere."""
    loaded.pipeline.turns.end()
    return loaded
