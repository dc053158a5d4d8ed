"""Whose calls are being answered, and the end of a connection whose client reads nothing."""

import os
import socket
from contextlib import suppress
from pathlib import Path

import pytest

from serve.callers import Callers
from tests.serve.test_server import eventually

pytestmark = pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="connections are found by /proc alone")


def descriptors() -> set[tuple[str, str]]:
    """What is open, without that which these are read from."""
    found = set()
    for each in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            found.add((each.name, str(each.readlink())))
    return found


def test_nobody_is_waited_for_where_nobody_calls() -> None:
    assert not Callers().cut("")


def test_looking_for_a_connection_leaves_nothing_open() -> None:
    pipe = os.pipe()
    callers, before = Callers(), descriptors()
    for _ in range(3):
        assert not callers.cut("ipv4:192.0.2.1:1")
    eventually(lambda: not descriptors() - before)  # other tests' servers open and close their own
    for end in pipe:
        os.close(end)


def test_a_connection_without_a_call_is_closed_and_one_with_a_call_is_kept() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as client,
        server.accept()[0],
    ):
        host, port = client.getsockname()
        callers, peer = Callers(), f"ipv4:{host}:{port}"
        with callers.answering(peer):
            assert not callers.cut(peer)
        assert callers.cut(peer)
        assert client.recv(1) == b""


def test_all_single_calls_of_a_peer_are_one_member_while_one_is_answered() -> None:
    callers = Callers()
    with callers.answering("a"), callers.answering("b"):
        first = callers.member("a")
        assert callers.member("a") is first
        assert callers.member("b") is not first
    with callers.answering("a"):
        assert callers.member("a") is not first
