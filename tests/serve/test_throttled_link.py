"""A live stream over a way that is half as fast as its camera: nothing grows stale in the buffers of the way."""

import itertools
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from bench.slow_link import SlowLink
from serve.exchange import Drop, DropPolicy, StreamOptions
from serve.frame import EncodedFrame
from serve.outbox import Received
from streetmask.server_process import RunningServer, server_process
from tests.serve.both_clients import Kind, received_by

COUNT = 45
RATE = 30
NOISE = EncodedFrame.jpeg(np.random.default_rng(0).integers(0, 255, (96, 128, 3), dtype=np.uint8))
SLACK_BYTES = 2048
"""HTTP/2's preface, headers and pings, and what surrounds a frame in its message."""


@pytest.fixture(scope="module")
def process(model_folder: Path) -> Iterator[RunningServer]:
    with server_process(model_folder) as server:
        yield server


def camera() -> Iterator[EncodedFrame]:
    for _ in range(COUNT):
        yield NOISE
        time.sleep(1 / RATE)


def over_slow_link(
    process: RunningServer, kind: Kind, stream: StreamOptions, in_flight: int | None
) -> tuple[list[Received], int]:
    """What a stream receives whose frames need twice the link's rate, and the most bytes that were on the way."""
    with SlowLink(process.address, bytes_per_s=len(NOISE.data) * RATE / 2) as link:
        received = list(received_by(kind, link.address, camera(), stream, in_flight))
        return received, link.most_held_bytes


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_one_frame_at_most_is_on_the_way_and_the_next_is_the_newest(process: RunningServer, kind: Kind) -> None:
    received, most_bytes = over_slow_link(process, kind, StreamOptions(), None)
    assert len(NOISE.data) < most_bytes <= len(NOISE.data) + SLACK_BYTES
    assert sorted(each.frame_id for each in received) == list(range(COUNT))
    answered = [each.frame_id for each in received if each.answer]
    assert {each.dropped for each in received if not each.answer} == {Drop.NEWER_FRAME}
    assert answered == sorted(answered)
    assert max(later - earlier for earlier, later in itertools.pairwise(answered)) >= 2
    assert answered[-1] == COUNT - 1, "the last frame is the newest of all"


def test_more_frames_on_the_way_lie_there_and_grow_old(process: RunningServer) -> None:
    received, most_bytes = over_slow_link(process, "sync", StreamOptions(DropPolicy.NEWEST), 8)
    assert most_bytes > 2 * len(NOISE.data)
    assert sorted(each.frame_id for each in received) == list(range(COUNT))
