"""An engine that fails in the middle of a batch, as clients see it."""

from pathlib import Path

from bench.failing_engine import fail_batches
from serve.frame import EncodedFrame
from tests.serve.tiny_model import street, write_tiny_model


def test_frames_of_a_failed_batch_get_an_error_and_the_next_are_served(tmp_path: Path) -> None:
    model = write_tiny_model(tmp_path / "tiny" / "3")
    frames = [EncodedFrame.raw(street((channel, (32, 16, 64, 48)))) for channel in range(3)]
    found = fail_batches(model, frames, 200)
    assert found["frames"] == found["answered"] + found["failed"] == 200
    assert found["wrong"] == 0
    assert (found["answered"], found["failed"]) == (found["engine_answered"], found["engine_failed"])
    assert found["failed"] > 0
