"""What streams lose when a worker is killed."""

import threading
import time
from pathlib import Path

import pytest

import bench.worker_kill
from bench.worker_kill import KillPlan, _Stream, kill_worker_under_load
from scene.errors import ConfigurationError
from serve.frame import EncodedFrame
from serve.model import Model
from serve.settings import ServerSettings
from tests.serve.conftest import PATIENCE_S, running
from tests.serve.test_server import eventually
from tests.serve.tiny_model import street, write_tiny_model

FRAMES = [EncodedFrame.jpeg(street((0, (32, 16, 64, 48))), 90)]


def test_a_server_of_one_process_has_no_worker_to_kill() -> None:
    with pytest.raises(ConfigurationError, match="workers: expected 2 to 64"):
        KillPlan(workers=1)


def test_a_stream_without_a_server_tells_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench.worker_kill, "_READY_S", 0.3)
    stream = _Stream("127.0.0.1:9", FRAMES, KillPlan(), time.perf_counter())
    stream.run()
    assert "127.0.0.1:9" in stream.error
    assert stream.counts == {}


def test_a_stream_that_gives_up_tells_why_and_its_last_frames_were_due(
    tiny: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench.worker_kill, "_READY_S", 2.0)
    with running(lambda: tiny, ServerSettings(port=0, threads=1, drain_s=0)) as server:
        stream = _Stream(server.address, FRAMES, KillPlan(rate=50), time.perf_counter())
        thread = threading.Thread(target=stream.run, daemon=True)
        thread.start()
        eventually(lambda: stream.counts["answered"] > 0)
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    assert server.address in stream.error
    told = sum(count for kind, count in stream.counts.items() if kind != "due")
    assert stream.counts["due"] > told, "one waited for the server to come back"


def test_every_frame_is_accounted_for_and_every_killed_worker_replaced(tmp_path: Path) -> None:
    model = write_tiny_model(tmp_path / "tiny" / "3")
    plan = KillPlan(streams=6, rate=20, seconds=5, kill_every_s=2)
    found = kill_worker_under_load(model, FRAMES, plan, ["--engine", "onnxruntime", "--threads", "1"])
    counts = found["frames"]
    assert counts["due"] == 6 * 20 * 5
    assert counts["due"] == sum(count for kind, count in counts.items() if kind != "due")
    assert all(count >= 0 for count in counts.values())
    assert counts["answered"] > 0
    assert counts["failed"] == 0
    assert found["errors"] == []
    assert found["killed"] == found["replaced"] >= 1
    assert found["next_answer_s"]["count"] == 6 * found["killed"]
