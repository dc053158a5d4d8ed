"""A short load over a slow link: both ways are told, and what they have on the way."""

from collections.abc import Iterator

import numpy as np
import pytest

from bench.throttled import throttled_lines, throttled_report
from scene.errors import ServerError
from serve.frame import EncodedFrame
from streetmask.server_process import RunningServer, server_process
from tests.serve.tiny_model import write_tiny_model

NOISE = EncodedFrame.jpeg(np.random.default_rng(0).integers(0, 255, (96, 128, 3), dtype=np.uint8))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with server_process(write_tiny_model(tmp_path_factory.mktemp("models") / "tiny" / "3")) as running:
        yield running


def test_a_link_to_no_server_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.throttled._READY_S", 0.3)
    with pytest.raises(ServerError, match="cannot be reached"):
        throttled_report("127.0.0.1:1", [NOISE])


def test_more_on_the_way_is_more_that_the_link_holds(server: RunningServer) -> None:
    report = throttled_report(server.address, [NOISE], turns=1, seconds=1.0)
    one, eight = (report["in_flight"][in_flight] for in_flight in ("1", "8"))
    for found in (one, eight):
        assert found["frames"]["due"] == found["frames"]["answered"] + found["frames"]["dropped"] == 30
        assert found["age_ms"]["p95"] >= found["age_ms"]["median"] > 0
    assert one["most_held_bytes"] < 1.5 * len(NOISE.data) < eight["most_held_bytes"]
    assert report["link_bytes_per_s"] == 15 * len(NOISE.data)
    assert report["age_ratio"] is None
    assert len(throttled_lines(report)) == 2
