"""One port for several processes of ours, and for nobody else's."""

import errno
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from scene.errors import ServerError

_NOT_HERE = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


def not_listening(host: str, port: int) -> ServerError:
    """What keeps a server from starting."""
    return ServerError(f"cannot listen on {host}:{port}: the port is taken or the address is not this machine's")


@contextmanager
def reserved_port(host: str, port: int) -> Iterator[int]:
    """Keep a TCP port for listeners of this user that share it by SO_REUSEPORT; yield its number, for 0 a free one's.

    The reservation itself never listens: without a listener, connections are refused. It outlives every one of them,
    so that nobody takes the port while one is replaced. Raises ``ServerError`` if the port is taken.
    """
    with ExitStack() as stack:
        try:
            number = _reserve(stack, host, port)
        except OSError as error:
            raise not_listening(host, port) from error
        yield number


def _reserve(stack: ExitStack, host: str, port: int) -> int:
    """At each of the host's addresses that this machine has: it may have none of IPv6, say."""
    missing: OSError | None = None
    held = 0
    for family, _, _, _, address in socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM):
        try:
            port = _free_port(family, (address[0], port, *address[2:]))
            stack.enter_context(_reservation(family, (address[0], port, *address[2:])))
            held += 1
        except OSError as error:
            if error.errno not in _NOT_HERE:
                raise
            missing = error
    if not held and missing is not None:
        raise missing
    return port


def _free_port(family: int, address: Any) -> int:
    """The address's port, if no other server listens there or has reserved it as we do; raises ``OSError``."""
    with socket.socket(family, socket.SOCK_STREAM) as alone:
        alone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # closed connections that linger are nobody's
        alone.bind(address)
        alone.listen()
        return int(alone.getsockname()[1])


def _reservation(family: int, address: Any) -> socket.socket:
    held = socket.socket(family, socket.SOCK_STREAM)
    try:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.bind(address)
        # Bound with it, past connections that linger do not matter; without it from now on, other servers see us.
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    except OSError:
        held.close()
        raise
    return held
