"""What a supervisor and its workers ask of each other over their pipe."""

from dataclasses import dataclass

from serve.deployment import Deployment


@dataclass(frozen=True)
class Prepare:
    """To a worker: load this, visible to nobody; answered by its ``ModelStatus``. ``ticket`` is its name."""

    ticket: int
    wanted: Deployment


@dataclass(frozen=True)
class Commit:
    """To a worker: switch to what was prepared, and return when what it replaces has ended."""

    ticket: int


@dataclass(frozen=True)
class Abandon:
    """To a worker: forget what was prepared, if anything was."""

    ticket: int


@dataclass(frozen=True)
class Unload:
    """To a worker; or from one, on behalf of its caller."""

    name: str
    version: int


@dataclass(frozen=True)
class Deploy:
    """From a worker, on behalf of its caller; answered by a ``ModelStatus``, when all have it."""

    wanted: Deployment


@dataclass(frozen=True)
class ListModels:
    """From a worker, on behalf of its caller; answered by a list of ``ModelStatus``."""


@dataclass(frozen=True)
class Listen:
    """To a worker that has everything: take a share of the port's connections."""
