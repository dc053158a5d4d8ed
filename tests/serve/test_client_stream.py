"""The life of a client's stream, as the server sees it."""

import threading
from contextlib import AbstractContextManager

import pytest

from serve.client import Client
from serve.exchange import DropPolicy, StreamOptions
from tests.serve.both_clients import Kind, received_by
from tests.serve.conftest import PATIENCE_S, RunningServer
from tests.serve.tiny_model import street

RED = street((0, (32, 16, 64, 48)))


@pytest.fixture
def opened(server: RunningServer, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one with each stream that the server opens."""
    numbers: list[int] = []
    open_stream = server.server.metrics.open_stream

    def counted() -> AbstractContextManager[None]:
        numbers.append(len(numbers))
        return open_stream()

    monkeypatch.setattr(server.server.metrics, "open_stream", counted)
    return numbers


def wait_for_readers(before: set[threading.Thread]) -> None:
    """Return when the threads that read replies have ended: none of them opens a stream any more."""
    for thread in set(threading.enumerate()) - before:
        if thread.name == "replies":
            thread.join(PATIENCE_S)
            assert not thread.is_alive()


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_a_stream_of_no_frames_is_opened_once(server: RunningServer, opened: list[int], kind: Kind) -> None:
    assert list(received_by(kind, server.address, [])) == []
    assert len(opened) == 1


def test_a_stream_that_is_left_early_is_not_opened_again(server: RunningServer, opened: list[int]) -> None:
    with Client(server.address) as client:
        for turn in range(3):
            before = set(threading.enumerate())
            for _ in client.stream([RED] * 100, in_flight=2, stream=StreamOptions(DropPolicy.EVERY)):
                break
            wait_for_readers(before)
            assert len(opened) == turn + 1
