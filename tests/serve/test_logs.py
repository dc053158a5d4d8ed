"""What the log holds: names of streams and frames, and never what is in them."""

import base64
import json
import logging
import sys
from collections.abc import Iterator

import grpc
import pytest

from protos.streetmask.v1 import segmentation_pb2 as pb
from protos.streetmask.v1.segmentation_pb2_grpc import SegmentationServiceStub
from serve.engines import Outputs
from serve.logs import LogFormat, Seldom, TextFormatter, configure_logs, json_formatter
from serve.model import Model
from serve.settings import ServerSettings
from tests.serve.conftest import running
from tests.serve.test_servicer import CONFIGURATION, JPEG, frame, image

CANARY = b"CANARY-7f3a91c2-in-a-picture"
TOKEN = "CANARY-token-55e1"


def record(message: str, **names: object) -> logging.LogRecord:
    made = logging.LogRecord("serve.stream", logging.INFO, __file__, 1, message, (), None)
    made.__dict__.update(names)
    return made


@pytest.fixture
def logs_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def test_a_line_for_people_has_its_fields_behind_it() -> None:
    assert TextFormatter().format(record("a frame failed")).endswith(" INFO serve.stream: a frame failed")
    line = TextFormatter().format(record("a frame failed", stream="3", frame=17, colour="red"))
    assert line.endswith(" INFO serve.stream: a frame failed stream=3 frame=17")


def test_a_line_for_machines_is_one_object() -> None:
    found = json.loads(json_formatter().format(record('it "failed"\nbadly', stream="3", frame=17)))
    assert found.pop("time").endswith("+00:00")
    assert found == {
        "level": "INFO",
        "logger": "serve.stream",
        "message": 'it "failed"\nbadly',
        "stream": "3",
        "frame": 17,
    }
    try:
        raise ValueError("why")
    except ValueError:
        failed = record("a frame failed")
        failed.exc_info = sys.exc_info()
    line = json_formatter().format(failed)
    assert "\n" not in line
    assert "ValueError: why" in json.loads(line)["exc_info"]


@pytest.mark.usefixtures("logs_as_before")
def test_the_log_goes_to_stderr_from_its_level_on(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs("json", "warning")
    logging.getLogger("serve.x").info("not this")
    logging.getLogger("serve.x").warning("this", extra={"peer": "there"})
    output, errors = capsys.readouterr()
    assert output == ""
    assert json.loads(errors)["message"] == "this"
    configure_logs("text", "debug")
    logging.getLogger("serve.x").debug("and this", extra={"peer": "there"})
    assert capsys.readouterr().err.endswith("DEBUG serve.x: and this peer=there\n")


def test_what_comes_too_often_is_said_once_a_second_with_how_often_it_came() -> None:
    now_s = 0.0
    seldom = Seldom(1.0, lambda: now_s)
    assert seldom("limit") == 0
    assert [seldom("limit") for _ in range(3)] == [None] * 3
    assert seldom("other") == 0
    now_s = 1.0
    assert seldom("limit") == 3
    now_s = 5.0
    assert seldom("limit") == 0


class FailingEngine:
    """Fails on every other run."""

    def __init__(self, model: Model) -> None:
        self._run = model.engine.run
        self._runs = 0

    def run(self, images: object, score_threshold: float = 0.0) -> Outputs:
        self._runs += 1
        if self._runs % 2:
            raise ValueError("the engine broke")
        return self._run(images, score_threshold)  # type: ignore[arg-type]


def with_canary(jpeg: bytes) -> bytes:
    """The same picture with a comment in its file."""
    comment = b"\xff\xfe" + (len(CANARY) + 2).to_bytes(2, "big") + CANARY
    return jpeg[:2] + comment + jpeg[2:]


def pictures() -> list[pb.Image]:
    good = with_canary(JPEG)
    return [
        image(good),
        image(good),
        image(CANARY * 10),
        image(good[:-40]),
        image(good, pb.IMAGE_ENCODING_PNG),
        image(CANARY, pb.IMAGE_ENCODING_RAW_RGB, 128, 64),
        image(CANARY, 99),
    ]


def test_nothing_of_a_frame_an_answer_or_a_token_is_ever_logged(
    tiny: Model,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(caplog.handler, "formatter", json_formatter())
    model = Model(tiny.artifact, FailingEngine(tiny))
    answers: list[str] = []
    metadata = (("authorization", f"Bearer {TOKEN}"),)
    with (
        running(lambda: model, ServerSettings(port=0, drain_s=0, max_streams=1)) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        stub = SegmentationServiceStub(channel)
        first = pb.SegmentStreamRequest(configuration=pb.StreamConfiguration(drop_policy=pb.DROP_POLICY_EVERY_FRAME))
        requests = [first, *(frame(number, each) for number, each in enumerate(pictures() * 2))]
        for reply in stub.SegmentStream(iter(requests), metadata=metadata):
            answers += [instance.mask.rle_counts for instance in reply.segmentation.instances]
        for each in pictures() * 2:
            call = stub.Segment.future(pb.SegmentRequest(frame=pb.Frame(image=each)), metadata=metadata)
            if call.exception() is None:
                answers += [instance.mask.rle_counts for instance in call.result().segmentation.instances]
        for wrong in ([frame(1)], [CONFIGURATION, frame(3), frame(3, image(CANARY))]):
            with pytest.raises(grpc.RpcError) as caught:  # the first frame may be answered before the second comes
                list(stub.SegmentStream(iter(wrong), metadata=metadata))
            assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        broken = channel.unary_unary("/streetmask.v1.SegmentationService/Segment", bytes.strip, bytes.strip)
        assert broken.future(b"\xff" + CANARY, metadata=metadata).code() is grpc.StatusCode.INVALID_ARGUMENT
    written = caplog.text + "".join(capfd.readouterr()) + repr([each.__dict__ for each in caplog.records])
    assert "the engine broke" in written
    assert "a frame cannot be used" in written
    assert "a stream closed" in written
    assert len(answers) >= 2
    for secret in (CANARY.decode(), CANARY.hex(), base64.b64encode(CANARY).decode()[:20], TOKEN, *answers):
        assert secret not in written
    failed = [each for each in caplog.records if each.getMessage() == "a frame failed"]
    names = {(each.stream, each.frame) for each in failed}  # type: ignore[attr-defined]
    # The engine may get to the first frame of the last stream before the second one, of the same id, ends it.
    assert {stream for stream, _ in names - {("2", 3)}} == {"1"}
    assert all(isinstance(frame_id, int) for _, frame_id in names)
    assert all("peer" in each.__dict__ for each in caplog.records if each.name == "serve.stream_account")


def test_streams_have_numbers_of_their_own(tiny: Model, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with (
        running(lambda: tiny, ServerSettings(port=0, drain_s=0)) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        for _ in range(3):
            list(SegmentationServiceStub(channel).SegmentStream(iter([CONFIGURATION])))
    opened = [each for each in caplog.records if each.getMessage().startswith("a stream opened")]
    assert [each.stream for each in opened] == ["1", "2", "3"]  # type: ignore[attr-defined]
    assert all(each.peer.startswith("ipv4:127.0.0.1:") for each in opened)  # type: ignore[attr-defined]


@pytest.mark.parametrize("form", ["text", "json"])
def test_one_of_several_workers_names_itself(form: LogFormat, capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    kept, level = root.handlers[:], root.level
    try:
        configure_logs(form, "info", worker="2/4711")
        logging.getLogger("serve").info("ready")
    finally:
        root.handlers[:] = kept
        root.setLevel(level)
    line = capsys.readouterr().err
    assert ("worker=2/4711" if form == "text" else '"worker": "2/4711"') in line
