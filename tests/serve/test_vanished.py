"""Whoever vanishes is noticed, and whoever is only silent is left alone."""

from collections.abc import Iterator

import grpc
import pytest

from protos.streetmask.v1.segmentation_pb2_grpc import SegmentationServiceStub
from serve import keepalive
from serve.model import Model
from serve.settings import ServerSettings
from tests.serve.conftest import RunningServer, running
from tests.serve.passage import PINGS, Passage
from tests.serve.test_server import eventually, open_streams
from tests.serve.test_servicer import CONFIGURATION, Paced, frame


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch, tiny: Model) -> Iterator[RunningServer]:
    """A server, and clients after it, on which ten seconds pass in less than a half of one."""
    monkeypatch.setattr(keepalive, "INTERVAL_S", 0.4)
    monkeypatch.setattr(keepalive, "PATIENCE_S", 3.0)
    monkeypatch.setattr(keepalive, "LEAST_INTERVAL_S", 0.2)
    with running(lambda: tiny, ServerSettings(port=0, drain_s=0)) as server:
        yield server


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
    with grpc.insecure_channel(passage.address, keepalive.client_options(keepalive.INTERVAL_S)) as channel:
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
