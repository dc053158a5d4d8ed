"""What streams lose when a worker is killed."""

from pathlib import Path

import pytest

from bench.worker_kill import KillPlan, kill_worker_under_load
from scene.errors import ConfigurationError
from serve.frame import EncodedFrame
from tests.serve.tiny_model import street, write_tiny_model


def test_a_server_of_one_process_has_no_worker_to_kill() -> None:
    with pytest.raises(ConfigurationError, match="workers: expected 2 to 64"):
        KillPlan(workers=1)


def test_every_frame_is_accounted_for_and_every_killed_worker_replaced(tmp_path: Path) -> None:
    model = write_tiny_model(tmp_path / "tiny" / "3")
    frames = [EncodedFrame.jpeg(street((0, (32, 16, 64, 48))), 90)]
    plan = KillPlan(streams=6, rate=20, seconds=5, kill_every_s=2)
    found = kill_worker_under_load(model, frames, plan, ["--engine", "onnxruntime", "--threads", "1"])
    counts = found["frames"]
    assert counts["due"] == 6 * 20 * 5
    assert counts["due"] == sum(count for kind, count in counts.items() if kind != "due")
    assert all(count >= 0 for count in counts.values())
    assert counts["answered"] > 0
    assert counts["failed"] == 0
    assert found["killed"] == found["replaced"] >= 1
    assert found["next_answer_s"]["count"] == 6 * found["killed"]
