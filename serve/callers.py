"""Whose calls are being answered, by connection; and the end of a connection whose client reads nothing.

gRPC sends a call's status behind whatever the client has not yet taken, and so never to a client that takes nothing:
its call would stay for as long as its library answers pings. Python's gRPC has no way to reset a call of a server; but
a connection whose every call has been given up can be closed beneath it.
"""

import asyncio
import logging
import os
import socket
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from serve.turns import Member

LOG = logging.getLogger(__name__)

_DESCRIPTORS = Path("/proc/self/fd")


class Callers:
    """Counts the calls of each peer, as gRPC names it (``ipv4:127.0.0.1:50000``). Used on one event loop."""

    def __init__(self) -> None:
        self._calls: Counter[str] = Counter()
        self._members: dict[str, Member] = {}
        self._nobody = asyncio.Event()
        self._nobody.set()

    @contextmanager
    def answering(self, peer: str) -> Iterator[None]:
        """Count a call for as long as the block runs."""
        self._calls[peer] += 1
        self._nobody.clear()
        try:
            yield
        finally:
            self._calls[peer] -= 1
            if self._calls[peer] <= 0:
                del self._calls[peer]
                self._members.pop(peer, None)
            if not self._calls:
                self._nobody.set()

    def member(self, peer: str) -> Member:
        """Who takes turns for the single calls of a peer whose call is being answered: however many, they are one."""
        return self._members.setdefault(peer, Member())

    async def all_gone(self) -> None:
        """Wait until no call is being answered."""
        await self._nobody.wait()

    def cut(self, peer: str) -> bool:
        """Close the peer's connection unless another call of it is being answered; whether it could be done."""
        if not peer or self._calls[peer] or not _DESCRIPTORS.is_dir():
            return False
        closed = any(_shut_down(int(entry.name), peer) for entry in _DESCRIPTORS.iterdir())
        if closed:
            LOG.warning("a client reads nothing of what it is sent: its connection is closed", extra={"peer": peer})
        return closed


def _shut_down(descriptor: int, peer: str) -> bool:
    """Whether it was a connection to that peer. What is looked at and what is closed is one duplicate: the number may
    meanwhile be another's."""
    with suppress(OSError), _duplicate(descriptor) as connection:
        if _name(connection) == peer:
            connection.shutdown(socket.SHUT_RDWR)
            return True
    return False


def _duplicate(descriptor: int) -> socket.socket:
    """Raises ``OSError`` for what is no socket, and leaves nothing open."""
    copy = os.dup(descriptor)
    try:
        return socket.socket(fileno=copy)
    except OSError:
        os.close(copy)
        raise


def _name(connection: socket.socket) -> str:
    """The other end as gRPC names it."""
    family, address = connection.family, connection.getpeername()
    if family == socket.AF_INET:
        return f"ipv4:{address[0]}:{address[1]}"
    if family == socket.AF_INET6:
        mapped = str(address[0]).removeprefix("::ffff:")
        return f"ipv4:{mapped}:{address[1]}" if "." in mapped else f"ipv6:%5B{address[0]}%5D:{address[1]}"
    return ""
