"""A server's life: loading, health, reflection, stopping, and what keeps it from starting."""

import asyncio
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from protos.streetmask.v1.segmentation_pb2_grpc import SegmentationServiceStub
from scene.errors import ServerError
from scene.image import RgbImage
from serve import wire
from serve.answer import Answer, Options
from serve.client import Client, Received
from serve.connection import Captured
from serve.exchange import DropPolicy, Frame, StreamOptions
from serve.frame import EncodedFrame
from serve.model import Model
from serve.server import done_before
from serve.servicer import SERVICE
from serve.settings import ServerSettings
from tests.serve.conftest import PATIENCE_S, GatedEngine, RunningServer, running
from tests.serve.tiny_model import street

RED = street((0, (32, 16, 64, 48)))
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


def health_of(address: str, service: str = SERVICE) -> int:
    with grpc.insecure_channel(address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        return int(stub.Check(health_pb2.HealthCheckRequest(service=service)).status)


def eventually(condition: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline_s, "what was waited for never came"
        time.sleep(0.01)


def open_streams(server: RunningServer) -> float | None:
    return server.server.metrics.registry.get_sample_value("streetmask_streams")


def serve_command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "streetmask", "serve", *arguments]


def test_a_server_that_still_loads_says_so(tiny: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serve.connection.POLL_S", PATIENCE_S)  # asked once, however long its answer takes
    gate = threading.Event()

    def load() -> Model:
        assert gate.wait(PATIENCE_S)
        return tiny

    server = RunningServer(load, ServerSettings(port=0))
    server.start()
    try:
        assert health_of(server.address) == health_of(server.address, "") == NOT_SERVING
        with Client(server.address, timeout_s=0.3) as client, pytest.raises(ServerError, match="still loading"):
            client.segment(RED)
        gate.set()
        assert server.loaded.wait(PATIENCE_S)
        assert health_of(server.address) == health_of(server.address, "") == SERVING
    finally:
        gate.set()
        server.stop()


def test_reflection_names_the_service(server: RunningServer) -> None:
    with grpc.insecure_channel(server.address) as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        request = reflection_pb2.ServerReflectionRequest(list_services="")
        (answer,) = stub.ServerReflectionInfo(iter([request]))
    assert SERVICE in {service.name for service in answer.list_services_response.service}


def test_a_draining_server_answers_what_it_has_and_takes_nothing_new(
    gated_server: RunningServer, gated: GatedEngine
) -> None:
    sent = threading.Event()

    def frames() -> Iterator[RgbImage]:
        yield RED
        gated.wait_entered()
        yield RED
        sent.set()
        assert ended.wait(PATIENCE_S)

    ended = threading.Event()
    received: list[Received] = []
    with Client(gated_server.address) as client:
        replies = client.stream(frames(), in_flight=2, reconnect=False)

        def drain() -> None:
            assert sent.wait(PATIENCE_S)
            gated_server.begin_stop()
            gated.open(2)

        threading.Thread(target=drain).start()
        with pytest.raises(ServerError, match="stopping"):
            for each in replies:
                received.append(each)
        ended.set()
    assert received[0].reply.frame_id == 0
    assert all(isinstance(each.reply.outcome, Answer) for each in received)


def test_a_client_that_goes_away_frees_its_stream_at_once(gated_server: RunningServer, gated: GatedEngine) -> None:
    entered = threading.Event()

    def frames() -> Iterator[RgbImage]:
        yield RED
        gated.wait_entered()
        yield RED
        yield RED
        entered.set()

    with Client(gated_server.address) as client:
        replies = client.stream(frames())
        first = next(replies)  # the notice that frame 1 gave way to frame 2: frame 0 is in work, frame 2 waits
        assert first.reply.frame_id == 1
        assert entered.wait(PATIENCE_S)
        assert open_streams(gated_server) == 1
        replies.close()
        eventually(lambda: open_streams(gated_server) == 0)
    assert gated.finished == 0  # free although the engine is still at its first frame
    gated.open(1000)
    with Client(gated_server.address) as client:
        client.segment(RED)
    assert gated.runs == 2  # frame 2 was never run


def test_a_client_whose_connection_breaks_frees_its_stream(gated_server: RunningServer, gated: GatedEngine) -> None:
    def frames() -> Iterator[RgbImage]:
        yield RED
        gated.wait_entered()
        client.close()

    client = Client(gated_server.address)
    with pytest.raises(ServerError, match="the client was closed"):
        list(client.stream(frames()))
    eventually(lambda: open_streams(gated_server) == 0)
    assert gated.finished == 0


def test_more_calls_than_allowed_are_refused(tiny: Model, gated: GatedEngine) -> None:
    request = wire.segment_request(Frame(0, 0, EncodedFrame.raw(RED)), Options())
    with (
        running(lambda: Model(tiny.artifact, gated), ServerSettings(port=0, max_calls=1, drain_s=0)) as server,
        grpc.insecure_channel(server.address) as channel,
        Client(server.address) as other,
    ):
        call = SegmentationServiceStub(channel).Segment.future(request)
        gated.wait_entered()
        with pytest.raises(ServerError, match="RESOURCE_EXHAUSTED"):
            other.segment(RED)
        gated.open()
        assert len(call.result(PATIENCE_S).segmentation.instances) == 1


async def test_work_that_a_stopping_server_gives_up_has_cleaned_up_when_that_is_told() -> None:
    told_to_stop, begun, cleaned_up = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def work() -> None:
        try:
            begun.set()
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            cleaned_up.set()

    outcome = asyncio.create_task(done_before(told_to_stop, work()))
    await begun.wait()
    told_to_stop.set()
    assert not await outcome
    assert cleaned_up.is_set()


_LOADS_FOR_EVER = """
import asyncio, sys, threading
from pathlib import Path
from serve.model import Model
from serve.server import serve
from serve.settings import ServerSettings

def load(*_):
    print("loading", flush=True)
    threading.Event().wait()

Model.load = load
asyncio.run(serve(Path(sys.argv[1]), ServerSettings(port=0), print))
print("ended", flush=True)
"""


def test_a_server_told_to_stop_while_it_loads_ends_without_waiting_for_it(model_folder: Path) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        command = [sys.executable, "-c", _LOADS_FOR_EVER, str(model_folder)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "loading\n"
            process.send_signal(number)
            try:
                output, errors = process.communicate(timeout=PATIENCE_S)
            finally:
                process.kill()
        assert process.returncode == 0
        assert output == "ended\n"
        assert errors == ""


def test_a_server_stops_cleanly_on_each_signal(model_folder: Path) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        command = serve_command(str(model_folder), "--port", "0")
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.startswith("listening on 127.0.0.1:")
            address = line.removeprefix("listening on ").strip()
            assert health_of(address) == SERVING
            with Client(address) as client:
                assert len(client.segment(RED).instances) == 1
            process.send_signal(number)
            _, errors = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0
        assert "Traceback" not in errors


def test_a_missing_or_damaged_model_stops_the_server_with_a_sentence(tmp_path: Path, model_folder: Path) -> None:
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    (damaged / "artifact.json").write_text("{}")
    for folder, sentence in ((tmp_path / "none", "expected a model folder"), (damaged, "is damaged")):
        done = subprocess.run(serve_command(str(folder), "--port", "0"), capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert done.stdout == ""
        assert sentence in done.stderr
        assert done.stderr.startswith("streetmask: ")
        assert done.stderr.count("\n") == 1


def test_a_taken_port_stops_the_server_with_a_sentence(model_folder: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        command = serve_command(str(model_folder), "--port", str(port))
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}" in done.stderr
    assert "Traceback" not in done.stderr


def test_objects_keep_their_ids_over_the_frames_of_a_stream_that_asks_for_them(client: Client) -> None:
    frames = [
        street((0, (100 + 4 * number, 64, 228 + 4 * number, 192)), (2, (400, 64, 528, 192)), size_hw=(256, 640))
        for number in range(8)
    ]
    shown = [Captured(image, 1 + 33_333 * number) for number, image in enumerate(frames)]
    plain = client.stream(frames[:2], stream=StreamOptions(DropPolicy.EVERY))
    assert {found.track_id for each in plain for found in answer_of(each).instances} == {None}
    followed = list(client.stream(shown, stream=StreamOptions(DropPolicy.EVERY, track=True)))
    ids: dict[str, set[int | None]] = {}
    for each in followed[1:]:  # an id appears with the second sighting
        for found in answer_of(each).instances:
            ids.setdefault(found.class_name, set()).add(found.track_id)
    (red,), (blue,) = ids["red"], ids["blue"]
    assert red != blue
    assert None not in (red, blue)


def answer_of(received: Received) -> Answer:
    assert isinstance(received.reply.outcome, Answer)
    return received.reply.outcome
