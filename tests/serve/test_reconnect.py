"""A stream outlives its connection: servers that stop, are killed and come back, and a way that falls silent."""

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.slow_link import SlowLink
from scene.errors import ServerError
from scene.image import RgbImage
from serve.client import Client
from serve.exchange import Drop, DropPolicy, StreamOptions
from serve.model import Model
from serve.outbox import Received
from serve.settings import ServerSettings
from streetmask.server_process import RunningServer as ServerProcess
from streetmask.server_process import server_process
from tests.loopback import free_port
from tests.serve.both_clients import Kind, received_by
from tests.serve.conftest import GatedEngine, running
from tests.serve.tiny_model import street

RED = street((0, (32, 16, 64, 48)))
KINDS: list[Kind] = ["sync", "async"]
LOSSES = {Drop.NEWER_FRAME, Drop.CONNECTION_LOST}


@pytest.fixture(scope="module")
def process(model_folder: Path) -> Iterator[ServerProcess]:
    """A server in a process of its own: the asynchronous client wants gRPC's event loop for itself."""
    with server_process(model_folder) as server:
        yield server


class Camera:
    """A hundred frames a second until it is switched off."""

    def __init__(self) -> None:
        self.off = threading.Event()
        self.shown = 0

    def __iter__(self) -> Iterator[RgbImage]:
        while not self.off.wait(0.01):
            self.shown += 1
            yield RED


def until_answered(stream: Iterator[Received], after: int = -1) -> list[Received]:
    """What comes until a frame later than that one is answered."""
    received = []
    for each in stream:
        received.append(each)
        if each.answer and each.frame_id > after:
            return received
    raise AssertionError("the stream ended before")


def until_lost(stream: Iterator[Received]) -> list[Received]:
    received = []
    for each in stream:
        received.append(each)
        if each.dropped is Drop.CONNECTION_LOST:
            return received
    raise AssertionError("the stream ended before")


def check_live(received: list[Received], camera: Camera) -> None:
    """Each frame has one outcome, answers come in order, and what was not answered was lost or too old."""
    assert sorted(each.frame_id for each in received) == list(range(camera.shown))
    answered = [each.frame_id for each in received if each.answer]
    assert answered == sorted(answered)
    assert {each.dropped for each in received if not each.answer} <= LOSSES


@pytest.mark.parametrize(
    ("kind", "number"), [("sync", signal.SIGTERM), ("async", signal.SIGTERM), ("sync", signal.SIGKILL)]
)
def test_a_live_stream_goes_on_with_a_server_that_is_started_anew(
    model_folder: Path, kind: Kind, number: signal.Signals
) -> None:
    camera, port = Camera(), str(free_port())
    with server_process(model_folder, ["--port", port]) as server:
        stream = received_by(kind, server.address, camera)
        received = until_answered(stream)
        os.kill(server.pid, number)
    shown = camera.shown
    with server_process(model_folder, ["--port", port]):
        received += until_answered(stream, after=shown)
        camera.off.set()
        received += stream
    check_live(received, camera)
    assert camera.shown > shown + 1, "the source was drawn from all the while"


def test_a_stream_that_wants_every_answer_gets_it_from_the_next_server(model_folder: Path) -> None:
    port, shown = str(free_port()), 0

    def frames() -> Iterator[RgbImage]:
        nonlocal shown
        while not done.is_set():
            yield street((shown % 3, (16, 16, 48, 48)))
            shown += 1

    done = threading.Event()
    with server_process(model_folder, ["--port", port]) as server:
        stream = received_by("async", server.address, frames(), StreamOptions(DropPolicy.EVERY))
        received = until_answered(stream)
        os.kill(server.pid, signal.SIGKILL)
    with server_process(model_folder, ["--port", port]):
        received += until_answered(stream, after=shown)
        done.set()
        received += stream
    assert [each.frame_id for each in received] == list(range(shown))
    for each in received:
        assert each.answer is not None
        assert each.answer.instances[0].class_index == each.frame_id % 3


def test_what_was_on_its_way_is_lost_and_said_so(tiny: Model, gated: GatedEngine) -> None:
    camera, port = Camera(), free_port()
    settings = ServerSettings(port=port, threads=1, drain_s=0)
    with Client(f"127.0.0.1:{port}") as client:
        with running(lambda: Model(tiny.artifact, gated), settings) as server:
            stream = client.stream(camera)
            received = [next(stream)]  # while frame 0 is in work, others give way
            gated.wait_entered()
            server.begin_stop()
            received += until_lost(stream)
            gated.open(1000)
        with running(lambda: tiny, settings):
            received += until_answered(stream)
            camera.off.set()
            received += stream
    check_live(received, camera)
    assert {each.frame_id: each.dropped for each in received}[0] is Drop.CONNECTION_LOST


@pytest.mark.parametrize("kind", KINDS)
def test_a_way_that_falls_silent_is_found_out_and_another_is_taken(process: ServerProcess, kind: Kind) -> None:
    camera = Camera()
    with SlowLink(process.address) as link:
        stream = received_by(kind, link.address, camera, keepalive_s=1.0)
        received = until_answered(stream)
        link.freeze()
        received += until_lost(stream)
        received += until_answered(stream, after=camera.shown)
        camera.off.set()
        received += stream
    check_live(received, camera)


@pytest.mark.parametrize(("kind", "policy"), [("sync", DropPolicy.QUEUE), ("async", DropPolicy.EVERY)])
def test_a_server_that_does_not_come_back_is_given_up(process: ServerProcess, kind: Kind, policy: DropPolicy) -> None:
    camera = Camera()
    with SlowLink(process.address) as link:
        stream = received_by(kind, link.address, camera, StreamOptions(policy), timeout_s=3.0)
        until_answered(stream)
        link.cut()
        with pytest.raises(ServerError) as caught:
            list(stream)
    camera.off.set()
    assert str(caught.value).startswith("the server cannot be reached")
    assert str(caught.value).endswith(f"(tried for 3 s to reach {link.address} again)")


@pytest.mark.parametrize("kind", KINDS)
def test_a_stream_that_must_not_reconnect_ends_with_its_connection(process: ServerProcess, kind: Kind) -> None:
    camera = Camera()
    with SlowLink(process.address) as link:
        stream = received_by(kind, link.address, camera, reconnect=False)
        until_answered(stream)
        link.cut()
        with pytest.raises(ServerError, match="cannot be reached") as caught:
            list(stream)
    camera.off.set()
    assert "tried for" not in str(caught.value)
