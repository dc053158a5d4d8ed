"""Watches a repository: a new version that appears in it is deployed.

Names are looked at and no events are waited for: that works on every disk, across networks too. What does not load is
told once, and tried again when any of its files has changed, so that a folder that is still being copied is taken when
it is whole. Where the server is at fault and not the files, the next look tries again, and after it ever fewer do: a
version that brings a worker down each time must not do so at every look.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from scene.errors import ServerError, StreetMaskError
from serve.daemon_thread import on_daemon_thread
from serve.deployment import Deployer, Deployment
from serve.repository import Repository

LOG = logging.getLogger(__name__)

Versions = dict[str, list[int]]

_MOST_LOOKS_LEFT_OUT = 63

_Print = frozenset[tuple[str, int, int, int]]
"""Of every file its name, when it was written, its size and its number on the disk."""


class Watcher:
    """Deploys versions higher than all that were there when it was made; of one name alone, or of every one."""

    def __init__(self, repository: Repository, deployer: Deployer, name: str = "") -> None:
        self._repository = repository
        self._deployer = deployer
        self._name = name
        self._highest = {each: versions[-1] for each, versions in self._look().items()}
        self._failed: dict[tuple[str, int], _Print] = {}
        self._server_failures: Counter[tuple[str, int]] = Counter()
        self._looks_to_leave_out: Counter[tuple[str, int]] = Counter()
        self._lost = False

    async def run(self, every_s: float) -> None:
        """Look so often, until cancelled."""
        while True:
            await asyncio.sleep(every_s)
            try:
                await self.look()
            except Exception:  # the next look may do better
                LOG.exception("a look at the models' folder failed")

    async def look(self) -> None:
        """Deploy of each name the highest new version that can be."""
        try:
            found = await on_daemon_thread(self._look, "watch")
        except OSError as error:
            if not self._lost:
                LOG.warning("the models' folder cannot be read: %s; the loaded models go on", error)
            self._lost = True
            return
        self._lost = False
        for name, versions in found.items():
            for version in reversed(versions):
                if version <= self._highest.get(name, 0) or await self._settled(name, version):
                    break

    async def _settled(self, name: str, version: int) -> bool:
        """Whether nothing older is to be deployed: it is deployed, or the next looks are to try it again."""
        key = name, version
        before = await on_daemon_thread(lambda: _print(self._repository.root / name / str(version)), "watch")
        if self._failed.get(key) == before:
            return False
        if self._looks_to_leave_out[key] > 0:
            self._looks_to_leave_out[key] -= 1
            return True
        loaded = {(each.name, each.version) for each in await self._deployer.models()}
        try:
            if key not in loaded:
                await self._deployer.deploy(Deployment(name, version))
        except ServerError as error:
            LOG.error("%s version %d is not deployed yet, and will be tried again: %s", name, version, error)
            self._looks_to_leave_out[key] = min(2 ** self._server_failures[key] - 1, _MOST_LOOKS_LEFT_OUT)
            self._server_failures[key] += 1
            return True
        except StreetMaskError as error:
            LOG.error("%s version %d is not deployed: %s", name, version, error)
            self._failed[key] = before
            return False
        self._highest[name] = version
        return True

    def _look(self) -> Versions:
        names = [self._name] if self._name else self._repository.names()
        return {name: versions for name in names if (versions := self._repository.versions(name))}


def _print(folder: Path) -> _Print:
    return frozenset(_of_files(folder))


def _of_files(folder: Path) -> Iterator[tuple[str, int, int, int]]:
    try:
        for path in folder.iterdir():
            status = path.stat()
            yield path.name, status.st_mtime_ns, status.st_size, status.st_ino
    except OSError:
        return  # it is being written, or is gone again: other than it will be
