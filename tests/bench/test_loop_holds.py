"""What holds a server's event loop, measured on the tiny model."""

import asyncio
from pathlib import Path

import numpy as np

from bench.loop_holds import LIMIT_MS, Holds, Scenario, measure_holds, scenarios
from serve.frame import EncodedFrame
from tests.serve.tiny_model import street


def test_nothing_held_is_reported_as_nothing() -> None:
    report = Holds().report()
    assert (report["callbacks"], report["over_limit"], report["worst"]) == (0, 0, "")
    assert report["cpu_ms"]["max"] == 0


def test_the_longest_is_named() -> None:
    holds = Holds()
    for number, cpu_ms in enumerate([1.0, LIMIT_MS + 2, 3.0]):
        holds.add(cpu_ms, cpu_ms * 2, lambda name=f"step {number}": name)  # type: ignore[misc]
    report = holds.report()
    assert report["worst"] == "step 1"
    assert report["over_limit"] == 1
    assert (report["cpu_ms"]["max"], report["wall_ms"]["max"]) == (LIMIT_MS + 2, 2 * LIMIT_MS + 4)


def test_our_own_share_is_told_from_what_went_by_before_a_message_was_handed_over() -> None:
    holds = Holds()
    for number, (cpu_ms, grpc_ms) in enumerate([(1.0, None), (18.0, 17.0), (18.0, 1.0)]):
        holds.add(cpu_ms, cpu_ms, lambda name=f"step {number}": name, grpc_ms)  # type: ignore[misc]
    report = holds.report()
    assert (report["over_limit"], report["own_over_limit"], report["messages"]) == (2, 1, 2)
    assert (report["cpu_ms"]["max"], report["own_ms"]["max"]) == (18.0, 17.0)
    assert (report["worst"], report["own_worst"]) == ("step 1", "step 2")


def test_the_loads_are_what_their_names_say() -> None:
    loads = {load.name: load for load in scenarios(street())}
    assert loads["4 streams, 720p JPEG"].streams == 4
    assert len(loads["1 stream, 4K raw"].frame.data) == 3840 * 2160 * 3
    assert loads["single calls, 4K raw"].single
    assert loads["1 stream, 720p JPEG, 100 instances"].options.max_instances == 100


def test_a_real_servers_loop_is_timed_in_a_process_of_its_own(model_folder: Path) -> None:
    frame = EncodedFrame.jpeg(street((0, (32, 16, 64, 48))))
    before = asyncio.Handle._run
    found = measure_holds(model_folder, [Scenario("streams", frame, 2), Scenario("calls", frame, single=True)], 0.3)
    assert asyncio.Handle._run is before
    assert found.keys() == {"streams", "calls"}
    for report in found.values():
        assert report["answered"] > 0
        assert report["callbacks"] > report["messages"] >= report["answered"]
        assert report["worst"]
        assert 0 < report["cpu_ms"]["p99"] <= report["cpu_ms"]["max"]
        assert 0 < report["own_ms"]["max"] <= report["cpu_ms"]["max"]


def test_what_grpc_copies_is_not_counted_as_ours(model_folder: Path) -> None:
    frame = EncodedFrame.raw(np.zeros((2048, 4096, 3), np.uint8))
    report = measure_holds(model_folder, [Scenario("raw", frame, single=True)], 0.3)["raw"]
    assert report["messages"] > 0
    assert report["own_ms"]["p99"] < report["cpu_ms"]["p99"]
