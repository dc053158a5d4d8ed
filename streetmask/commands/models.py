"""``streetmask models``: what a running server has loaded."""

from dataclasses import dataclass

from serve.admin_client import AdminClient


@dataclass(frozen=True)
class ModelsArguments:
    """List what a server has loaded, a line a version; an asterisk marks the one that answers if none is named."""

    server: str = "127.0.0.1:50051"
    """HOST:PORT of the server."""
    token: str = ""
    """The server's admin token; without it the variable STREETMASK_ADMIN_TOKEN."""


def models(arguments: ModelsArguments) -> None:
    """Print the list."""
    with AdminClient(arguments.server, arguments.token, timeout_s=30.0) as admin:
        for each in admin.models():
            mark = "*" if each.current else " "
            print(f"{mark} {each.name} version {each.version}, on {each.runs_on}, {each.golden_ms:.1f} ms")
