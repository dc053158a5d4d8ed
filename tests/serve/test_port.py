"""A port for several processes of ours, and for nobody else's."""

import socket

import pytest

from scene.errors import ServerError
from serve.port import reserved_port


def listener(port: int, shared: bool) -> socket.socket:
    """As gRPC listens."""
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, int(shared))
    held.bind(("127.0.0.1", port))
    held.listen()
    return held


def test_nobody_answers_at_a_reserved_port() -> None:
    with reserved_port("127.0.0.1", 0) as port, socket.socket() as caller:
        assert port > 0
        with pytest.raises(ConnectionRefusedError):
            caller.connect(("127.0.0.1", port))


def test_several_listeners_share_a_reserved_port() -> None:
    with reserved_port("localhost", 0) as port, listener(port, shared=True), listener(port, shared=True):
        socket.create_connection(("127.0.0.1", port)).close()


def test_nobody_else_gets_a_reserved_port() -> None:
    with reserved_port("127.0.0.1", 0) as port:
        with pytest.raises(OSError, match="in use"):
            listener(port, shared=False)
        with pytest.raises(ServerError, match=f"cannot listen on 127.0.0.1:{port}"), reserved_port("127.0.0.1", port):
            raise AssertionError("two servers must not share it")


@pytest.mark.parametrize("shared", [False, True])
def test_a_port_that_somebody_listens_on_is_not_reserved(shared: bool) -> None:
    with listener(0, shared) as held:
        port = held.getsockname()[1]
        with pytest.raises(ServerError, match=f"cannot listen on 127.0.0.1:{port}"), reserved_port("127.0.0.1", port):
            raise AssertionError("it is taken")


def test_an_address_of_another_machine_is_a_sentence() -> None:
    with pytest.raises(ServerError, match="not this machine's"), reserved_port("192.0.2.1", 0):
        raise AssertionError("it is not here")


def test_a_port_whose_last_connections_linger_is_free() -> None:
    with listener(0, shared=False) as held:
        port = held.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as caller:
            held.accept()[0].close()  # whoever closes first keeps the connection for a minute
            assert caller.recv(1) == b""
    with reserved_port("127.0.0.1", port) as reserved:
        assert reserved == port
