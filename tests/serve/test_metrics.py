"""What the server counts."""

import socket
import urllib.request

import pytest

from scene.errors import FrameError, ServerError
from serve.answer import Answer, StageTimes
from serve.exchange import Drop, Failure, FailureCode
from serve.metrics import Metrics


def test_nothing_is_counted_at_first() -> None:
    metrics = Metrics()
    assert metrics.registry.get_sample_value("streetmask_streams") == 0
    assert metrics.registry.get_sample_value("streetmask_frames_total", {"outcome": "answered"}) is None


def test_frames_are_counted_by_outcome_and_stage() -> None:
    metrics = Metrics()
    metrics.count(Answer("tiny", 1, (64, 64), (), StageTimes(network_ms=30, total_ms=40)))
    metrics.count(Failure(FailureCode.INVALID_FRAME, "no picture"))
    metrics.count(Drop.NEWER_FRAME)
    metrics.count(Drop.NEWER_FRAME)
    value = metrics.registry.get_sample_value
    counts = [value("streetmask_frames_total", {"outcome": outcome}) for outcome in ("answered", "failed", "dropped")]
    assert counts == [1, 1, 2]
    assert value("streetmask_stage_seconds_sum", {"stage": "network"}) == pytest.approx(0.03)
    assert value("streetmask_stage_seconds_sum", {"stage": "total"}) == pytest.approx(0.04)


def test_a_frame_that_cannot_be_used_is_counted_as_failed() -> None:
    metrics = Metrics()
    with pytest.raises(FrameError), metrics.count_failure():
        raise FrameError("no picture")
    assert metrics.registry.get_sample_value("streetmask_frames_total", {"outcome": "failed"}) == 1


def test_open_streams_are_counted_while_they_are_open() -> None:
    metrics = Metrics()
    with metrics.open_stream(), metrics.open_stream():
        assert metrics.registry.get_sample_value("streetmask_streams") == 2
    assert metrics.registry.get_sample_value("streetmask_streams") == 0


def test_scrapes_are_answered_and_a_taken_port_is_a_sentence() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    metrics = Metrics()
    metrics.listen("127.0.0.1", port)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as page:
        assert b"streetmask_streams 0.0" in page.read()
    with pytest.raises(ServerError, match=f"metrics cannot listen on 127.0.0.1:{port}"):
        Metrics().listen("127.0.0.1", port)
