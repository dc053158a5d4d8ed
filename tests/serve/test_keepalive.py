"""Whoever vanishes is noticed, and whoever is only silent is left alone."""

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress

import grpc
import pytest

from protos.streetmask.v1 import segmentation_pb2 as pb
from protos.streetmask.v1.segmentation_pb2_grpc import SegmentationServiceStub
from serve import keepalive
from serve.model import Model
from serve.settings import ServerSettings
from tests.serve.conftest import PATIENCE_S, RunningServer, running
from tests.serve.test_server import eventually, open_streams
from tests.serve.test_servicer import CONFIGURATION, Paced, frame

PINGS = 4
"""A minute's and a half, in two parts, at ten seconds each: gRPC sends one a second at most."""


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch, tiny: Model) -> Iterator[RunningServer]:
    """A server, and clients after it, on which ten seconds pass in a fifth of one."""
    monkeypatch.setattr(keepalive, "INTERVAL_S", 0.2)
    monkeypatch.setattr(keepalive, "PATIENCE_S", 0.3)
    monkeypatch.setattr(keepalive, "LEAST_INTERVAL_S", 0.5)
    with running(lambda: tiny, ServerSettings(port=0, drain_s=0)) as server:
        yield server


PING, PING_ACKNOWLEDGED = b"\0\0\x08\x06\0\0\0\0\0", b"\0\0\x08\x06\x01\0\0\0\0"


class Passage:
    """A way to a server which a test can turn into a hole that swallows everything."""

    def __init__(self, address: str) -> None:
        self._address = address.rsplit(":", 1)
        self._door = socket.create_server(("127.0.0.1", 0))
        self._swallow = threading.Event()
        self.pings = 0  # the client's
        self.answered_pings = 0  # the server's
        self.address = f"127.0.0.1:{self._door.getsockname()[1]}"
        threading.Thread(target=self._open, daemon=True).start()

    def swallow(self) -> None:
        self._swallow.set()

    def close(self) -> None:
        self._door.close()

    def _open(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._door.accept()
                far = socket.create_connection((self._address[0], int(self._address[1])))
                threading.Thread(target=self._pass_on, args=(near, far, True), daemon=True).start()
                threading.Thread(target=self._pass_on, args=(far, near, False), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket, count: bool) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                self.pings += count and data.count(PING)
                self.answered_pings += count and data.count(PING_ACKNOWLEDGED)
                if not self._swallow.is_set():
                    target.sendall(data)


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch, tiny: Model) -> Iterator[RunningServer]:
    """A server that does not ping within a test, so that all pings are its clients'."""
    monkeypatch.setattr(keepalive, "LEAST_INTERVAL_S", 0.5)
    with running(lambda: tiny, ServerSettings(port=0, drain_s=0)) as server:
        monkeypatch.setattr(keepalive, "INTERVAL_S", 0.2)
        yield server


def test_an_idle_stream_stays_open_and_its_pings_are_never_too_many(silent: RunningServer) -> None:
    passage = Passage(silent.address)
    with grpc.insecure_channel(passage.address, keepalive.client_options()) as channel:
        paced = Paced()
        paced.send(CONFIGURATION)
        replies = iter(SegmentationServiceStub(channel).SegmentStream(iter(paced)))
        for number in range(2):
            pings = passage.pings
            eventually(lambda before=pings: passage.pings >= before + PINGS)  # type: ignore[misc]
            paced.send(frame(number))
            assert next(replies).frame_id == number
        assert open_streams(silent) == 1
        paced.done()
        assert list(replies) == []
    passage.close()


def test_a_client_that_pings_without_calls_keeps_its_connection(silent: RunningServer) -> None:
    passage = Passage(silent.address)
    options = list({**dict(keepalive.client_options()), "grpc.keepalive_permit_without_calls": 1}.items())
    states: list[grpc.ChannelConnectivity] = []
    with grpc.insecure_channel(passage.address, options) as channel:
        stub = SegmentationServiceStub(channel)
        request = pb.SegmentRequest(frame=frame(0).frame)
        stub.Segment(request)
        channel.subscribe(states.append)
        eventually(lambda: passage.pings >= PINGS)
        stub.Segment(request)
    assert set(states) == {grpc.ChannelConnectivity.READY}
    passage.close()


def test_an_idle_stream_of_a_client_without_pings_stays_open(hasty: RunningServer) -> None:
    passage = Passage(hasty.address)
    with grpc.insecure_channel(passage.address) as channel:
        paced = Paced()
        paced.send(CONFIGURATION)
        replies = iter(SegmentationServiceStub(channel).SegmentStream(iter(paced)))
        eventually(lambda: passage.answered_pings >= PINGS)
        paced.send(frame(0))
        assert next(replies).frame_id == 0
        paced.done()
        assert list(replies) == []
    passage.close()


def test_a_client_that_vanishes_without_a_word_is_noticed(hasty: RunningServer) -> None:
    passage = Passage(hasty.address)
    with grpc.insecure_channel(passage.address) as channel:  # a client without keepalive of its own
        paced = Paced()
        paced.send(CONFIGURATION)
        paced.send(frame(0))
        replies = iter(SegmentationServiceStub(channel).SegmentStream(iter(paced)))
        assert next(replies).frame_id == 0
        assert open_streams(hasty) == 1
        passage.swallow()
        eventually(lambda: open_streams(hasty) == 0)
        paced.done()
    passage.close()


def test_a_server_that_vanishes_without_a_word_is_noticed(hasty: RunningServer) -> None:
    passage = Passage(hasty.address)
    with grpc.insecure_channel(passage.address, keepalive.client_options()) as channel:
        paced = Paced()
        paced.send(CONFIGURATION)
        paced.send(frame(0))
        replies = iter(SegmentationServiceStub(channel).SegmentStream(iter(paced)))
        assert next(replies).frame_id == 0
        passage.swallow()
        with pytest.raises(grpc.RpcError) as caught:
            next(replies)
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        paced.done()
    passage.close()


def test_both_sides_agree() -> None:
    server, client = dict(keepalive.server_options()), dict(keepalive.client_options())
    assert server["grpc.http2.min_ping_interval_without_data_ms"] < client["grpc.keepalive_time_ms"]
    assert server["grpc.keepalive_time_ms"] + server["grpc.keepalive_timeout_ms"] <= 15_000
    assert PATIENCE_S > 15
