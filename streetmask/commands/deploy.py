"""``streetmask deploy`` and ``streetmask unload``: exchange the models of a running server."""

from dataclasses import dataclass

import tyro

from serve.admin_client import AdminClient, deployed
from serve.deployment import Deployment


@dataclass(frozen=True)
class DeployArguments:
    """Let a version from the server's own repository answer, without a failed call; prints what answers now."""

    name: tyro.conf.Positional[str]
    """Model's name, such as street-nano."""
    version: tyro.conf.Positional[int] = 0
    """Its version; 0 for the newest."""
    server: str = "127.0.0.1:50051"
    """HOST:PORT of the server."""
    keep_others: bool = False
    """Keep the name's other versions loaded, for calls that ask for them by number."""
    force: bool = False
    """Load the version again though it is loaded, as its files have changed."""
    token: str = ""
    """The server's admin token; without it the variable STREETMASK_ADMIN_TOKEN, which no list of processes shows."""
    timeout_s: float = 600.0
    """Seconds that it may take."""


@dataclass(frozen=True)
class UnloadArguments:
    """Let a version go that no longer is current, or a model with all its versions."""

    name: tyro.conf.Positional[str]
    """Model's name, such as street-nano."""
    version: tyro.conf.Positional[int] = 0
    """Its version; 0 for all of them."""
    server: str = "127.0.0.1:50051"
    """HOST:PORT of the server."""
    token: str = ""
    """The server's admin token; without it the variable STREETMASK_ADMIN_TOKEN."""


def deploy(arguments: DeployArguments) -> None:
    """Deploy; raises ``ServerError`` where nothing has changed."""
    wanted = Deployment(arguments.name, arguments.version, arguments.keep_others, arguments.force)
    with AdminClient(arguments.server, arguments.token, arguments.timeout_s) as admin:
        print(deployed(arguments.server, admin.deploy(wanted)))


def unload(arguments: UnloadArguments) -> None:
    """Unload; raises ``ServerError`` where nothing has changed."""
    with AdminClient(arguments.server, arguments.token) as admin:
        admin.unload(arguments.name, arguments.version)
    version = f" version {arguments.version}" if arguments.version else ""
    print(f"{arguments.name}{version} is unloaded at {arguments.server}")
