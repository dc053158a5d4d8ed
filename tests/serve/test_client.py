"""The client against a real server with the tiny model."""

import re
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress

import cv2
import numpy as np
import pytest

import serve.client
from scene.errors import ConfigurationError, ServerError
from scene.image import RgbImage
from serve.answer import Answer, Options
from serve.client import Client
from serve.connection import Captured, Connection
from serve.exchange import Drop, DropPolicy, Failure, FailureCode, StreamOptions
from serve.frame import EncodedFrame
from serve.model import Model
from serve.settings import ServerSettings
from tests.serve.conftest import PATIENCE_S, GatedEngine, RunningServer
from tests.serve.docstring_code import example_of
from tests.serve.tiny_model import street

RED = street((0, (32, 16, 64, 48)))


def test_an_empty_stream_is_answered_by_nothing(client: Client) -> None:
    assert list(client.stream([])) == []


def test_a_picture_without_objects_has_no_instances(client: Client) -> None:
    answer = client.segment(street())
    assert answer.instances == ()
    assert answer.image_size_hw == (64, 128)


def test_a_picture_is_answered_in_its_own_pixels(client: Client) -> None:
    answer = client.segment(RED)
    (instance,) = answer.instances
    assert (answer.model_name, answer.model_version) == ("tiny", 3)
    assert (instance.class_index, instance.class_name) == (0, "red")
    assert instance.score == pytest.approx(1.0)
    assert instance.mask_score == pytest.approx(0.5)
    assert instance.box_xyxy == (32, 16, 64, 48)
    assert instance.mask is not None
    assert instance.mask.pixels().shape == (64, 64), (
        "its box and two of the network's pixels, 16 of the picture's, around it"
    )
    expected = np.zeros((64, 128), np.uint8)
    expected[16:48, 32:64] = 1
    differing = instance.mask.on_frame((64, 128)) != expected
    assert differing.sum() <= 4 * 32  # the tiny model's cells blur its edges by a pixel


@pytest.mark.parametrize(
    "encoded",
    [
        EncodedFrame.raw(RED),
        EncodedFrame.jpeg(RED, 95),
        cv2.imencode(".png", RED[..., ::-1])[1].tobytes(),
    ],
)
def test_every_encoding_is_understood(client: Client, encoded: EncodedFrame | bytes) -> None:
    (instance,) = client.segment(encoded).instances
    assert instance.class_name == "red"


def test_options_choose_what_is_answered(client: Client) -> None:
    image = street((0, (0, 0, 32, 32)), (2, (64, 32, 96, 64)))
    assert len(client.segment(image).instances) == 2
    (best,) = client.segment(image, Options(max_instances=1, include_masks=False)).instances
    assert best.mask is None
    assert client.segment(image, Options(max_instances=0)).instances == ()


def test_stage_times_add_up_to_the_total(client: Client) -> None:
    times = client.segment(RED).times
    stages = (times.queue_ms, times.decode_ms, times.prepare_ms, times.network_ms, times.paste_ms, times.encode_ms)
    assert min(stages) >= 0
    assert times.network_ms > 0
    assert sum(stages) == pytest.approx(times.total_ms, abs=0.01)


def test_every_frame_is_answered_once_and_none_dropped_where_that_is_asked(client: Client) -> None:
    frames = [street((number % 3, (16, 16, 48, 48))) for number in range(40)]
    received = list(client.stream(frames, stream=StreamOptions(DropPolicy.EVERY)))
    assert [each.reply.frame_id for each in received] == list(range(40))
    for number, each in enumerate(received):
        assert isinstance(each.reply.outcome, Answer)
        assert each.reply.outcome.instances[0].class_index == number % 3
        assert each.latency_ms > 0
        assert each.reply.capture_time_us > 0


def test_a_bad_frame_gets_an_error_of_its_own_and_the_stream_goes_on(client: Client) -> None:
    outcomes = {
        each.reply.frame_id: each.reply.outcome
        for each in client.stream([RED, b"no picture", RED], stream=StreamOptions(DropPolicy.EVERY))
    }
    failure = outcomes[1]
    assert isinstance(failure, Failure)
    assert failure.code is FailureCode.INVALID_FRAME
    assert "10 bytes" in failure.message
    assert isinstance(outcomes[0], Answer)
    assert isinstance(outcomes[2], Answer)


def test_a_raw_frame_over_the_pixel_limit_gets_an_error_of_its_own_and_the_stream_goes_on(client: Client) -> None:
    large = np.zeros((2880, 5120, 3), np.uint8)
    received = list(client.stream([RED, large, RED, RED], stream=StreamOptions(DropPolicy.EVERY)))
    outcomes = [each.reply.outcome for each in received]
    assert [each.reply.frame_id for each in received] == [0, 1, 2, 3]
    assert [type(outcome) for outcome in outcomes] == [Answer, Failure, Answer, Answer]
    assert isinstance(outcomes[1], Failure)
    assert outcomes[1].code is FailureCode.INVALID_FRAME
    assert "5120x2880" in outcomes[1].message


def test_the_newest_frame_wins_and_the_client_is_told_by_id(gated_server: RunningServer, gated: GatedEngine) -> None:
    def frames() -> Iterator[RgbImage]:
        yield RED
        gated.wait_entered()  # frame 0 is in work; of 1, 2 and 3 only the newest may wait
        yield from (RED, RED, RED)

    with Client(gated_server.address) as client:
        outcomes = {}
        for each in client.stream(frames()):
            outcomes[each.reply.frame_id] = each.reply.outcome
            if len(outcomes) == 2:
                assert outcomes == {1: Drop.NEWER_FRAME, 2: Drop.NEWER_FRAME}
                gated.open(2)
    assert sorted(outcomes) == [0, 1, 2, 3]
    assert isinstance(outcomes[0], Answer)
    assert isinstance(outcomes[3], Answer)
    assert gated.runs == 2


def test_where_any_number_may_be_on_the_way_it_is_the_server_that_drops(
    gated_server: RunningServer, gated: GatedEngine
) -> None:
    def frames() -> Iterator[RgbImage]:
        yield RED
        gated.wait_entered()
        yield from (RED, RED, RED)

    with Client(gated_server.address) as client:
        received = {}
        for each in client.stream(frames(), in_flight=1 << 20):
            received[each.frame_id] = each
            if len(received) == 2:
                gated.open(2)
    assert {number: each.dropped for number, each in received.items()} == {
        0: None, 1: Drop.NEWER_FRAME, 2: Drop.NEWER_FRAME, 3: None,
    }  # fmt: skip
    assert all(each.round_trip_ms > 0 for each in received.values()), "all of them were sent"


def test_no_frame_is_drawn_while_the_one_in_flight_is_unanswered(
    gated_server: RunningServer, gated: GatedEngine
) -> None:
    def frames() -> Iterator[RgbImage]:
        for number in range(5):
            assert gated.finished == number
            yield RED
            gated.open()

    gated.open()
    with Client(gated_server.address) as client:
        received = list(client.stream(frames(), in_flight=1, stream=StreamOptions(DropPolicy.EVERY)))
    assert [type(each.reply.outcome) for each in received] == [Answer] * 5


def test_an_error_of_the_frames_is_raised_where_they_are_received(client: Client) -> None:
    def frames() -> Iterator[RgbImage]:
        yield RED
        raise ValueError("the camera fell off")

    received = []
    with pytest.raises(ValueError, match="the camera fell off"):
        for each in client.stream(frames()):
            received.append(each.reply.frame_id)
    assert received == [0]


def test_a_server_that_is_not_there_is_one_sentence() -> None:
    for call in (lambda client: client.segment(RED), lambda client: list(client.stream([RED]))):
        with Client("127.0.0.1:1", timeout_s=0.3) as client, pytest.raises(ServerError) as caught:
            call(client)
        assert str(caught.value).startswith("the server cannot be reached")
        assert str(caught.value).endswith("(waited 0.3 s for 127.0.0.1:1 to be ready)")


def test_a_host_that_takes_connections_and_says_nothing_is_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with Client(address, timeout_s=0.3) as client, pytest.raises(ServerError, match="cannot be reached"):
            client.segment(RED)


def test_a_client_waits_for_a_server_that_starts_and_loads(tiny: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    gate, refused, ask = threading.Event(), threading.Event(), Connection.hindrance

    def hindrance(connection: Connection, timeout_s: float) -> str:
        reason = ask(connection, timeout_s)
        if reason:
            refused.set()
        return reason

    monkeypatch.setattr(Connection, "hindrance", hindrance)

    def load() -> Model:
        assert gate.wait(PATIENCE_S)
        return tiny

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = RunningServer(load, ServerSettings(port=port))
    with Client(f"127.0.0.1:{port}", PATIENCE_S) as client, ThreadPoolExecutor(1) as pool:
        answer = pool.submit(client.segment, RED)
        assert refused.wait(PATIENCE_S)
        server.start()
        try:
            refused.clear()
            assert refused.wait(PATIENCE_S)
            gate.set()
            assert len(answer.result(PATIENCE_S).instances) == 1
        finally:
            gate.set()
            server.stop()


class FreezingProxy:
    """Carries one connection to a server until it is told to freeze; then it is as silent as a host that vanished."""

    def __init__(self, port: int) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.frozen = threading.Event()
        self._port = port
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        near = self._listener.accept()[0]
        far = socket.create_connection(("127.0.0.1", self._port))
        for source, target in ((near, far), (far, near)):
            threading.Thread(target=self._carry, args=(source, target), daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                if not self.frozen.is_set():
                    target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self._listener.close()


def test_a_server_that_vanishes_in_a_stream_is_one_sentence(gated_server: RunningServer, gated: GatedEngine) -> None:
    def frames() -> Iterator[RgbImage]:
        yield RED
        gated.wait_entered()
        proxy.frozen.set()

    with (
        closing(FreezingProxy(gated_server.port)) as proxy,
        Client(proxy.address, keepalive_s=1.0) as client,
        pytest.raises(ServerError, match="cannot be reached"),
    ):
        list(client.stream(frames(), reconnect=False))


def test_a_refused_stream_is_one_sentence(client: Client) -> None:
    with pytest.raises(ServerError, match=r"NOT_FOUND.*model_name: expected tiny or nothing, but 'huge' came"):
        list(client.stream([RED], Options(model_name="huge")))


def test_a_stream_that_is_left_early_leaves_the_server_ready(client: Client) -> None:
    for each in client.stream([RED] * 100, in_flight=2, stream=StreamOptions(DropPolicy.EVERY)):
        assert each.frame_id == 0
        break
    assert len(client.segment(RED).instances) == 1


def test_the_example_in_the_docstring_runs(server: RunningServer, capsys: pytest.CaptureFixture[str]) -> None:
    code = example_of(serve.client, server.address)
    assert len(code.splitlines()) == 5
    exec(code, {"Client": Client, "frames": [RED]})
    assert re.fullmatch(r"0 red \(32.0, 16.0, 64.0, 48.0\) \d+\n", capsys.readouterr().out)


def test_times_count_from_the_source_and_from_the_sending(gated_server: RunningServer, gated: GatedEngine) -> None:
    def frames() -> Iterator[RgbImage]:
        yield RED
        gated.wait_entered()
        yield RED
        gated.open(2)

    with Client(gated_server.address) as client:
        first, second = client.stream(frames())
    assert first.latency_ms >= first.round_trip_ms > 0
    assert second.latency_ms > second.round_trip_ms > 0, "it waited in the client for the answer to the first"
    for each in (first, second):
        assert each.round_trip_ms >= each.reply.age_ms > 0


def test_a_capture_time_comes_back_with_its_frame(client: Client) -> None:
    frames: list[RgbImage | Captured] = [Captured(RED, 5), RED]
    told, now = client.stream(frames, stream=StreamOptions(DropPolicy.EVERY))
    assert told.reply.capture_time_us == 5
    assert now.reply.capture_time_us > 1 << 50, "the time of day"


def test_a_queue_of_the_client_s_keeps_the_newest_few(gated_server: RunningServer, gated: GatedEngine) -> None:
    def frames() -> Iterator[RgbImage]:
        yield RED
        gated.wait_entered()
        yield from [RED] * 4
        gated.open(1000)

    with Client(gated_server.address) as client:
        received = list(client.stream(frames(), stream=StreamOptions(DropPolicy.QUEUE, queue_length=2)))
    assert {each.frame_id: each.dropped for each in received} == {
        0: None, 1: Drop.QUEUE_FULL, 2: Drop.QUEUE_FULL, 3: None, 4: None,
    }  # fmt: skip


def test_the_masks_of_an_answer_lie_on_the_frame(client: Client) -> None:
    empty = client.segment(street())
    assert empty.masks().shape == (0, 64, 128)
    answer = client.segment(street((0, (0, 0, 32, 32)), (2, (64, 32, 96, 64))))
    masks = answer.masks()
    assert masks.shape == (2, 64, 128)
    assert masks.dtype == np.uint8
    for mask, instance in zip(masks, answer.instances, strict=True):
        assert instance.mask is not None
        assert np.array_equal(mask, instance.mask.on_frame((64, 128)))
        x1, y1, x2, y2 = (int(side) for side in instance.box_xyxy)
        assert mask[y1:y2, x1:x2].mean() > 0.8
    with pytest.raises(ConfigurationError, match="include_masks"):
        client.segment(RED, Options(include_masks=False)).masks()


def test_a_closed_client_says_so() -> None:
    client = Client("127.0.0.1:1")
    client.close()
    for call in (lambda: client.segment(RED), lambda: list(client.stream([RED]))):
        with pytest.raises(ServerError, match="the client was closed"):
            call()


def test_a_call_ends_at_its_own_deadline(gated_server: RunningServer, gated: GatedEngine) -> None:
    with Client(gated_server.address) as client:
        with pytest.raises(ServerError, match="DEADLINE_EXCEEDED"):
            client.segment(RED, timeout_s=0.1)
        gated.open(1000)
        assert len(client.segment(RED).instances) == 1
