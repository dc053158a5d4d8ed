"""A client that takes nothing of what it is sent: its stream ends, and nothing of it stays, though it never reads."""

import itertools
import logging
import socket
import threading
import time
from collections.abc import Iterator

import grpc
import pytest

import serve.status
import serve.stream
from bench.raw_stream import RawStream
from protos.streetmask.v1 import segmentation_pb2 as pb
from protos.streetmask.v1.segmentation_pb2_grpc import SegmentationServiceStub
from serve.callers import Callers
from serve.logs import Seldom
from serve.model import Model
from serve.settings import ServerSettings
from tests.bench.test_faulty_clients import tasks
from tests.serve.conftest import PATIENCE_S, RunningServer, running
from tests.serve.test_server import eventually, open_streams
from tests.serve.test_servicer import CONFIGURATION, frame

NARROW = [("grpc.http2.lookahead_bytes", 100), ("grpc.http2.bdp_probe", 0)]
"""A channel whose buffers hold less than one answer."""


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch, tiny: Model) -> Iterator[RunningServer]:
    monkeypatch.setattr(serve.stream, "MOST_UNREAD", 50)
    monkeypatch.setattr(serve.status, "UNREAD_S", 0.3)
    with running(lambda: tiny, ServerSettings(port=0, threads=1, drain_s=0)) as server:
        yield server


def send_until_ended(server: RunningServer, stream: RawStream) -> None:
    """Send frames until the server has ended the stream."""
    stream.send(CONFIGURATION.SerializeToString())
    eventually(lambda: open_streams(server) == 1)
    for number in range(100_000):
        if open_streams(server) == 0:
            return
        stream.send(frame(number).SerializeToString())
        time.sleep(0.002)
    raise AssertionError("the server never ended the stream")


@pytest.mark.parametrize("window", [0, 1000])
def test_a_stream_that_is_never_read_ends_and_nothing_of_it_stays(
    impatient: RunningServer, caplog: pytest.LogCaptureFixture, window: int
) -> None:
    caplog.set_level(logging.INFO)
    idle = tasks(impatient)
    with RawStream(impatient.address, window) as stream:
        stream.acknowledge()
        send_until_ended(impatient, stream)
        eventually(lambda: tasks(impatient) <= idle)
    messages = [record.getMessage() for record in caplog.records]
    assert any("50 replies wait for the client to read them" in each for each in messages)
    assert any("its connection is closed" in each for each in messages)
    assert not any(record.exc_info for record in caplog.records)


def test_one_that_reads_after_all_is_told_why(
    impatient: RunningServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(serve.status, "UNREAD_S", PATIENCE_S)
    monkeypatch.setattr(serve.status.ErrorsAsStatus, "_refusals", Seldom())
    with grpc.insecure_channel(impatient.address, NARROW) as channel:
        ended = threading.Event()

        def requests() -> Iterator[pb.SegmentStreamRequest]:
            yield CONFIGURATION
            for number in itertools.takewhile(lambda _: not ended.is_set(), itertools.count()):
                yield frame(number)

        replies = SegmentationServiceStub(channel).SegmentStream(requests())
        # Not until no stream is open: its end may wait for the client to read.
        eventually(lambda: any("50 replies wait" in each.getMessage() for each in [*caplog.records]))
        ended.set()
        with pytest.raises(grpc.RpcError, match="50 replies wait") as caught:
            for _ in replies:
                pass
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


def test_one_that_takes_not_even_its_first_reply_is_told_why_once_it_reads(
    impatient: RunningServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(serve.status, "UNREAD_S", PATIENCE_S)
    monkeypatch.setattr(serve.status.ErrorsAsStatus, "_refusals", Seldom())
    monkeypatch.setattr(serve.stream, "STALLED_S", 0.2)
    ended = threading.Event()

    def requests() -> Iterator[pb.SegmentStreamRequest]:
        yield CONFIGURATION
        yield frame(1)
        ended.wait(PATIENCE_S)

    with grpc.insecure_channel(impatient.address, NARROW) as channel:
        replies = SegmentationServiceStub(channel).SegmentStream(requests())
        eventually(lambda: any("has read nothing" in each.getMessage() for each in [*caplog.records]))
        with pytest.raises(grpc.RpcError, match="has read nothing for"):
            for _ in replies:
                pass
        ended.set()


def connected() -> tuple[socket.socket, socket.socket, str]:
    """Both ends of a connection, and the far one as gRPC names it."""
    with socket.create_server(("127.0.0.1", 0)) as door:
        far = socket.create_connection(door.getsockname())
        near, (host, port) = door.accept()
    return near, far, f"ipv4:{host}:{port}"


async def test_a_connection_is_cut_only_when_no_call_of_it_is_being_answered() -> None:
    callers = Callers()
    near, far, peer = connected()
    other_near, other_far, _ = connected()
    with callers.answering(peer):
        assert not callers.cut(peer)
    assert callers.cut(peer)
    far.settimeout(10)
    assert far.recv(1) == b""
    other_far.sendall(b"x")
    assert other_near.recv(1) == b"x"
    assert not callers.cut("ipv4:192.0.2.1:1")
    assert not callers.cut("")
    for each in (near, far, other_near, other_far):
        each.close()


async def test_all_gone_waits_for_the_last_call() -> None:
    callers = Callers()
    await callers.all_gone()
    with callers.answering("a"):
        with callers.answering("a"), callers.answering("b"):
            assert not callers._nobody.is_set()
        assert not callers._nobody.is_set()
    await callers.all_gone()
