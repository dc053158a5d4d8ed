"""Whoever pings is let be, as long as no ping is one too many."""

from collections.abc import Iterator

import grpc
import pytest

from protos.streetmask.v1 import segmentation_pb2 as pb
from protos.streetmask.v1.segmentation_pb2_grpc import SegmentationServiceStub
from serve import keepalive
from serve.model import Model
from serve.settings import ServerSettings
from tests.serve.conftest import PATIENCE_S, RunningServer, running
from tests.serve.passage import PINGS, Passage
from tests.serve.test_server import eventually, open_streams
from tests.serve.test_servicer import CONFIGURATION, Paced, frame

OFTEN_S = 0.4


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch, tiny: Model) -> Iterator[RunningServer]:
    """A server that does not ping within a test, so that all pings are its clients'; for these a second is 25."""
    monkeypatch.setattr(keepalive, "LEAST_INTERVAL_S", 0.2)
    monkeypatch.setattr(keepalive, "PATIENCE_S", 75.0)  # three seconds at a test's pace
    with running(lambda: tiny, ServerSettings(port=0, drain_s=0)) as server:
        yield server


def test_an_idle_stream_stays_open_and_its_pings_are_never_too_many(silent: RunningServer) -> None:
    passage = Passage(silent.address)
    with grpc.insecure_channel(passage.address, keepalive.client_options(OFTEN_S)) as channel:
        paced = Paced()
        paced.send(CONFIGURATION)
        replies = iter(SegmentationServiceStub(channel).SegmentStream(iter(paced)))
        eventually(lambda: passage.pings >= PINGS)
        paced.send(frame(0))
        assert next(replies).frame_id == 0
        assert open_streams(silent) == 1
        paced.done()
        assert list(replies) == []
    passage.close()


def test_a_client_that_pings_without_calls_keeps_its_connection(silent: RunningServer) -> None:
    passage = Passage(silent.address)
    options = list({**dict(keepalive.client_options(OFTEN_S)), "grpc.keepalive_permit_without_calls": 1}.items())
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


def test_both_sides_agree() -> None:
    server, client = dict(keepalive.server_options()), dict(keepalive.client_options())
    assert server["grpc.http2.min_ping_interval_without_data_ms"] < client["grpc.keepalive_time_ms"]
    assert server["grpc.keepalive_time_ms"] + server["grpc.keepalive_timeout_ms"] <= 15_000
    assert PATIENCE_S > 15
