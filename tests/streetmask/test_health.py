"""``streetmask health`` against servers that serve, load, and are not there."""

import socket
import threading
from pathlib import Path

import pytest

from serve.model import Model
from serve.server import SERVICE
from serve.settings import ServerSettings
from streetmask.cli import main
from tests.serve.conftest import PATIENCE_S, RunningServer


def test_nobody_answers(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        assert main(["health", "--server", address, "--timeout-s", "1"]) == 1
    assert "cannot be reached" in capsys.readouterr().err


@pytest.mark.parametrize("service", ["", SERVICE])
def test_a_server_that_serves(tiny_server: RunningServer, service: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["health", "--server", tiny_server.address, "--service", service]) == 0
    assert capsys.readouterr().out == "SERVING\n"


def test_an_unknown_service(tiny_server: RunningServer, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["health", "--server", tiny_server.address, "--service", "weather"]) == 1
    assert "NOT_FOUND" in capsys.readouterr().err


def test_a_server_that_loads(tiny_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gate = threading.Event()

    def load() -> Model:
        assert gate.wait(PATIENCE_S)
        return Model.load(tiny_folder)

    server = RunningServer(load, ServerSettings(port=0))
    server.start()
    try:
        assert main(["health", "--server", server.address]) == 1
        assert "NOT_SERVING" in capsys.readouterr().err
    finally:
        gate.set()
        server.stop()
