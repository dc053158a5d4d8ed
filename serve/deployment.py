"""Models are exchanged in three steps: prepare beside what serves, switch, let the former ones end.

Until the switch nothing is visible, so whatever fails before it leaves everything as it was.
"""

from dataclasses import dataclass
from typing import Protocol

from serve.models import Models
from serve.pipeline import Pipeline
from serve.repository import Repository
from serve.settings import ServerSettings


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
    """Deploys in this process, one deployment at a time."""

    def __init__(self, models: Models, repository: Repository, settings: ServerSettings) -> None:
        raise NotImplementedError

    async def deploy(self, wanted: Deployment) -> ModelStatus:
        """``prepare`` and ``commit``."""
        raise NotImplementedError

    async def unload(self, name: str, version: int) -> None:
        """Let go, drain, close."""
        raise NotImplementedError

    async def models(self) -> list[ModelStatus]:
        """What is loaded, by name and version."""
        raise NotImplementedError

    async def prepare(self, wanted: Deployment) -> Prepared:
        """Load, check the golden frame and warm up on a daemon thread; nothing is visible yet."""
        raise NotImplementedError

    async def commit(self, prepared: Prepared) -> ModelStatus:
        """Switch at once, answer the frames in work at the retired ones, close them."""
        raise NotImplementedError

    def abandon(self, prepared: Prepared) -> None:
        """Close what was prepared and is not wanted after all."""
        raise NotImplementedError
