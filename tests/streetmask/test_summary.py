"""What a stream came to."""

import numpy as np

from serve.answer import Answer, StageTimes
from streetmask.recording import FrameRecord
from streetmask.summary import Summary


def answer(network_ms: float) -> Answer:
    return Answer("tiny", 1, (64, 64), (), StageTimes(network_ms=network_ms, total_ms=network_ms + 1))


def test_an_empty_stream_has_counts_and_no_table() -> None:
    (line,) = Summary().lines()
    assert line.startswith("0 frames sent, 0 answered, 0 dropped")


def test_frames_are_counted_and_stages_ranked() -> None:
    summary = Summary()
    for number in range(101):
        summary.add(FrameRecord(number, "answered", number + 2.0, answer=answer(float(number))))
    summary.add(FrameRecord(101, "dropped", 1.0))
    summary.add(FrameRecord(102, "failed", 1.0))
    percentiles = summary.percentiles_ms()
    assert np.allclose(percentiles["network"], (50, 95, 99))
    assert np.allclose(percentiles["total"], (51, 96, 100))
    assert np.allclose(percentiles["latency"], (52, 97, 101))
    summary.sent = 103
    first, *table = summary.lines()
    assert first.startswith("103 frames sent, 101 answered, 1 dropped, 1 failed")
    assert table[0].split() == ["milliseconds", "p50", "p95", "p99"]
    assert "network            50.0     95.0     99.0" in table
    assert len({len(line) for line in table}) == 1


def test_frames_that_were_sent_in_vain_are_counted_too() -> None:
    summary = Summary()
    summary.sent = 3
    summary.add(FrameRecord(1, "dropped", 1.0))
    (line,) = summary.lines()
    assert line.startswith("3 frames sent, 0 answered, 1 dropped, 2 without a reply in ")
