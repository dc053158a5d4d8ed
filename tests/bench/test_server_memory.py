"""What a process holds, and how it grows."""

import os
import time

import pytest

from bench.server_memory import Growth, MemoryWatch, memory_report, resident_bytes


def test_a_server_that_cannot_be_asked_tells_nothing() -> None:
    assert resident_bytes(None, "") is None
    assert resident_bytes(2**30, "") is None
    assert resident_bytes(None, "127.0.0.1:9") is None


def test_one_reading_has_no_slope() -> None:
    report = memory_report([(1.0, 100)])
    assert report == {
        "start_bytes": 100,
        "warm_bytes": 100,
        "middle_bytes": 100,
        "end_bytes": 100,
        "most_bytes": 100,
        "slope_bytes_a_second": None,
    }


def test_what_fills_once_is_no_growth_and_what_grows_on_is() -> None:
    filled = [(float(second), min(1000, 100 * second)) for second in range(40)]
    report = memory_report(filled)
    assert (report["start_bytes"], report["end_bytes"], report["slope_bytes_a_second"]) == (150, 1000, 0)
    assert report["warm_bytes"] == 550
    grown = memory_report([(float(second), 7 * second) for second in range(40)])
    assert grown["slope_bytes_a_second"] == pytest.approx(7)
    assert grown["start_bytes"] < grown["warm_bytes"] < grown["middle_bytes"] < grown["end_bytes"] < grown["most_bytes"]


def test_a_block_is_watched_from_its_start_to_its_end() -> None:
    with MemoryWatch(os.getpid(), "") as watch:
        while watch.report() is None:
            time.sleep(0.01)
        kept = b"\1" * (64 << 20)  # written to: of zeros no page would be taken
    report = watch.report()
    assert report is not None
    assert len(kept) > 0
    assert report["end_bytes"] - report["start_bytes"] > 32 << 20


def test_what_is_filled_once_is_told_from_what_leaks() -> None:
    held = iter([100 << 20, 130 << 20, 131 << 20])
    growth = Growth(lambda: next(held), 5)
    for _ in range(5):
        growth.done()
    assert growth.halves() == [30 << 20, 1 << 20]
    assert growth.words() == "memory +30.0, then +1.0 MiB by halves"
    held = iter([7, 9])
    growth = Growth(lambda: next(held), 1)
    growth.done()
    assert growth.halves() == [2]
