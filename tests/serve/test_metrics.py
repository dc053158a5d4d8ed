"""What the server counts."""

import os
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from scene.errors import FrameError, ServerError
from serve.answer import Answer, StageTimes
from serve.exchange import Drop, Failure, FailureCode
from serve.metrics import CrewMetrics, Metrics


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
    assert value("streetmask_answers_total", {"model": "tiny", "version": "1"}) == 1
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


_COUNTS = """
import os
from serve.answer import Answer, StageTimes
from serve.metrics import Metrics
metrics = Metrics()
metrics.count(Answer("tiny", 1, (64, 64), (), StageTimes(network_ms=30, total_ms=40)))
with metrics.open_stream():
    print(os.getpid(), flush=True)
    input()
    os.kill(os.getpid(), 9)
"""


def test_a_crew_that_has_counted_nothing_has_only_its_supervisor(tmp_path: Path) -> None:
    value = CrewMetrics(tmp_path, list).registry.get_sample_value
    assert value("streetmask_workers") == 0
    assert value("streetmask_workers_lost_total") == 0
    assert value("streetmask_streams") is None
    assert (value("process_resident_memory_bytes") or 0) > 0


def test_what_workers_count_is_added_up_and_outlives_them(tmp_path: Path) -> None:
    environment = {**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(tmp_path)}
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _COUNTS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True
        )
        for _ in range(2)
    ]
    pids = [int(process.stdout.readline()) for process in processes if process.stdout is not None]
    metrics = CrewMetrics(tmp_path, lambda: pids)
    value = metrics.registry.get_sample_value
    alone = CrewMetrics(tmp_path, list).registry.get_sample_value("process_resident_memory_bytes") or 0
    assert value("streetmask_frames_total", {"outcome": "answered"}) == 2
    assert value("streetmask_stage_seconds_sum", {"stage": "network"}) == pytest.approx(0.06)
    assert value("streetmask_streams") == 2
    assert value("streetmask_worker_streams", {"pid": str(pids[1])}) == 1
    assert (value("process_resident_memory_bytes") or 0) > alone + (20 << 20)
    assert value("streetmask_workers") == 2
    for process in processes:
        process.communicate("\n")
    metrics.lost(pids[0])
    assert value("streetmask_frames_total", {"outcome": "answered"}) == 2
    assert value("streetmask_streams") == 1  # of the one that nobody has missed yet
    assert value("streetmask_workers_lost_total") == 1


@pytest.mark.parametrize(
    ("error", "counted"),
    [(FrameError("no picture"), 1), (RuntimeError("the engine"), 1), (ServerError("loading"), None)],
)
def test_what_a_single_call_fails_of_is_counted_unless_it_was_refused(error: Exception, counted: float | None) -> None:
    metrics = Metrics()
    with pytest.raises(type(error)), metrics.count_failure():
        raise error
    assert metrics.registry.get_sample_value("streetmask_frames_total", {"outcome": "failed"}) == counted
