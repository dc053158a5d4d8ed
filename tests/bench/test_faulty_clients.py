"""Each fault: while it lasts others are answered, and when it ends nothing of it is left in the server."""

import asyncio
import gc
import logging
import time
from collections.abc import Iterator
from functools import partial

import pytest

from bench.faulty_clients import FAULTS, Fault, idle_streams, others_p99, slow_senders, stalled_readers, vanishing
from serve.answer import Answer
from serve.client import Client
from serve.exchange import DropPolicy, StreamOptions
from serve.frame import EncodedFrame
from serve.memory import resident_bytes
from serve.model import Model
from serve.settings import ServerSettings
from tests.serve.conftest import RunningServer, running
from tests.serve.test_server import eventually, open_streams
from tests.serve.tiny_model import street

FRAME = EncodedFrame.jpeg(street((0, (32, 16, 64, 48))), 95)
MIB = 1 << 20

SMALL: dict[str, tuple[Fault, int]] = {
    "stalled-readers": (partial(stalled_readers, count=4, takes_hold_s=0.5), 4),
    "slow-senders": (partial(slow_senders, count=4), 4),
    "vanishing": (partial(vanishing, count=100), 0),
    "idle-streams": (partial(idle_streams, count=30), 30),
}


@pytest.fixture
def busy(tiny: Model) -> Iterator[RunningServer]:
    with running(lambda: tiny, ServerSettings(port=0, threads=1, drain_s=0)) as server:
        yield server


def tasks(server: RunningServer) -> int:
    async def count() -> int:
        gc.collect()
        return len(asyncio.all_tasks())

    return asyncio.run_coroutine_threadsafe(count(), server._loop).result()


def test_every_fault_is_tested() -> None:
    assert SMALL.keys() == FAULTS.keys()


@pytest.mark.parametrize("name", SMALL)
def test_others_are_answered_and_nothing_is_left(
    busy: RunningServer, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    fault, streams = SMALL[name]
    with Client(busy.address) as client:
        client.segment(FRAME)
        idle = tasks(busy)
        with fault(busy.address, FRAME) as clients:
            eventually(lambda: (open_streams(busy) or 0) >= streams)
            for _ in range(3):
                received = list(client.stream([FRAME] * 8, in_flight=1, stream=StreamOptions(DropPolicy.EVERY)))
                assert [each.reply.frame_id for each in received] == list(range(8))
                assert all(isinstance(each.reply.outcome, Answer) for each in received)
                time.sleep(0.3)
        assert clients["came"] >= max(1, streams)
        eventually(lambda: open_streams(busy) == 0)
        eventually(lambda: tasks(busy) <= idle)
        client.segment(FRAME)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


def test_those_that_find_no_server_are_counted_as_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.faulty_clients._VANISH_WITHIN_S", 0.1)
    with vanishing("127.0.0.1:9", FRAME, count=5) as clients:
        eventually(lambda: clients.total() == 5)
    assert clients == {"refused": 5}


def test_all_that_are_asked_for_vanish_and_no_more(busy: RunningServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.faulty_clients._VANISH_WITHIN_S", 0.2)
    with vanishing(busy.address, FRAME, count=20) as clients:
        eventually(lambda: clients["came"] >= 20)
        time.sleep(0.1)
    assert clients == {"came": 20}


def test_those_that_vanish_leave_no_memory_behind(busy: RunningServer) -> None:
    def come_and_go() -> None:
        with vanishing(busy.address, FRAME, count=200) as clients:
            time.sleep(2.2)
        assert 0 < clients["came"] <= 200
        assert not clients["refused"]
        eventually(lambda: open_streams(busy) == 0)

    come_and_go()
    before = resident_bytes()
    come_and_go()
    assert resident_bytes() - before < 16 * MIB


def test_what_neighbours_notice_is_told_in_ratios(busy: RunningServer) -> None:
    found = others_p99(busy.address, partial(idle_streams, count=5), FRAME, (20.0,), windows=1, window_s=0.5)
    for kind, frames in found["frames"].items():  # of ten that are due a machine that is busy skips or drops some
        assert 0 < found[f"{kind}_ms"]["count"] == frames["answered"]
        assert found["not_answered"][kind] == sum(each for name, each in frames.items() if name != "answered")
        assert sum(frames.values()) == 10
        assert frames.keys() <= {"answered", "dropped", "unsent"}
    assert found["frames"].keys() == {"quiet", "fault"}
    assert (found["clients"], found["turns"]) == ({"came": 5}, 1)
    assert found["errors"] == []
    ratio = found["fault_ms"]["p99"] / found["quiet_ms"]["p99"]
    assert found["p99_ratio"] == pytest.approx(ratio, abs=1e-3)
    assert found["p50_ratio"] > 0
