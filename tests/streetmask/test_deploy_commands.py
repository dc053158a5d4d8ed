"""Deploying from the command line: to a server of this process, and to one that is a process of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from serve.admin_client import TOKEN_VARIABLE
from serve.answer import Options
from serve.client import Client
from streetmask.cli import main
from streetmask.server_process import server_process
from tests.serve.repository_server import RepositoryServer, serving, settings, write_repository
from tests.serve.tiny_model import street

RED = street((0, (32, 16, 64, 48)))


def run(*words: object) -> int:
    return main([str(word) for word in words])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_repository(tmp_path / "models", 1, 2)


@pytest.fixture
def admin_server(root: Path) -> Iterator[RepositoryServer]:
    with serving(root / "tiny" / "1", settings()) as server:
        yield server


def test_deploy_wants_a_name(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        run("deploy")
    assert caught.value.code == 2
    assert "Required options" in capsys.readouterr().err


def test_a_deployment_is_told_in_a_line(admin_server: RepositoryServer, capsys: pytest.CaptureFixture[str]) -> None:
    address = admin_server.address
    assert run("deploy", "tiny", "--server", address) == 0
    assert capsys.readouterr().out == f"tiny version 2 answers at {address}, on onnxruntime in float32\n"
    assert run("deploy", "tiny", 1, "--server", address, "--keep-others", "--force") == 0
    capsys.readouterr()
    assert run("models", "--server", address) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("* tiny version 1, on onnxruntime in float32, ")
    assert second.startswith("  tiny version 2, on onnxruntime in float32, ")
    assert run("unload", "tiny", 2, "--server", address) == 0
    assert capsys.readouterr().out == f"tiny version 2 is unloaded at {address}\n"


def test_what_fails_is_a_sentence_and_a_status(
    admin_server: RepositoryServer, root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with (root / "tiny" / "2" / "model.onnx").open("ab") as file:
        file.write(b"\0")
    address = admin_server.address
    for words, sentence in (
        (("deploy", "tiny"), "is damaged: its SHA-256 is not the one"),
        (("deploy", "../tiny"), "model_name: expected a folder's plain name"),
        (("deploy", "tiny", 7), "expected a version of tiny in the repository (1, 2), but 7 came"),
        (("unload", "tiny"), "tiny is the last model of this server"),
    ):
        assert run(*words, "--server", address) == 1
        told = capsys.readouterr()
        assert told.out == ""
        assert told.err.startswith(f"streetmask: the server {address} refuses: ")
        assert sentence in told.err
        assert told.err.count("\n") == 1


def test_a_token_is_given_or_found_in_the_environment(
    root: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(TOKEN_VARIABLE, raising=False)
    with serving(root, settings(admin_token="secret")) as server:
        assert run("models", "--server", server.address) == 1
        assert "expected the server's admin token" in capsys.readouterr().err
        assert run("models", "--server", server.address, "--token", "secret") == 0
        monkeypatch.setenv(TOKEN_VARIABLE, "secret")
        assert run("deploy", "tiny", 1, "--server", server.address) == 0


def test_a_served_repository_has_every_model_and_is_watched(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root = write_repository(tmp_path / "models", 1, 2)
    write_repository(root, 3, name="other")
    options = ("--engine", "onnxruntime", "--pin", "tiny=2", "tiny=1", "--watch-s", "0.1")
    with server_process(root, options) as server:
        assert run("models", "--server", server.address) == 0
        listed = [line.split(",")[0] for line in capsys.readouterr().out.splitlines()]
        assert listed == ["* other version 3", "* tiny version 1", "  tiny version 2"]
        assert run("deploy", "tiny", 2, "--server", server.address) == 0
        with Client(server.address) as client:
            for name, version in (("tiny", 2), ("other", 3)):
                answer = client.segment(RED, Options(model_name=name))
                assert (answer.model_name, answer.model_version) == (name, version)


def test_a_pin_of_what_is_not_there_stops_the_server_with_a_sentence(
    root: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run("serve", root, "--port", 0, "--pin", "tiny=9") == 1
    assert "expected a version of tiny in the repository (1, 2), but 9 came" in capfd.readouterr().err
