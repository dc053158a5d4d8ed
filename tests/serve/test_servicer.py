"""What a client may get wrong, message by message, against a real server."""

from collections.abc import Iterator
from queue import SimpleQueue
from typing import Any

import grpc
import pytest

from protos.streetmask.v1 import segmentation_pb2 as pb
from protos.streetmask.v1.segmentation_pb2_grpc import SegmentationServiceStub
from serve.frame import EncodedFrame
from tests.serve.conftest import RunningServer
from tests.serve.tiny_model import street

JPEG = EncodedFrame.jpeg(street((0, (32, 16, 64, 48))), 95).data
CONFIGURATION = pb.SegmentStreamRequest(configuration=pb.StreamConfiguration())
INVALID = grpc.StatusCode.INVALID_ARGUMENT


def image(data: bytes = JPEG, encoding: int = 0, width: int = 0, height: int = 0) -> pb.Image:
    return pb.Image(data=data, encoding=encoding, width=width, height=height)  # type: ignore[arg-type]


def frame(number: int, picture: pb.Image | None = None) -> pb.SegmentStreamRequest:
    return pb.SegmentStreamRequest(frame=pb.Frame(id=number, capture_time_us=number + 7, image=picture or image()))


@pytest.fixture
def stub(server: RunningServer) -> Iterator[SegmentationServiceStub]:
    with grpc.insecure_channel(server.address) as channel:
        yield SegmentationServiceStub(channel)


BAD_IMAGES = [
    (image(b""), "the frame is empty"),
    (image(b"hello"), "no JPEG or PNG"),
    (image(JPEG[:-30]), "truncated"),
    (image(JPEG, pb.IMAGE_ENCODING_PNG), "is not a PNG file"),
    (image(JPEG, 99), "image.encoding: expected"),
    (image(b"\0" * 100, pb.IMAGE_ENCODING_RAW_RGB, 128, 64), "24576 bytes, but 100 came"),
    (image(b"\0" * 100, pb.IMAGE_ENCODING_RAW_BGR), "at least 16x16"),
    (image(b"\0" * 100, pb.IMAGE_ENCODING_RAW_RGB, 40_000, 30_000), "may have 8847360 pixels, but 40000x30000 came"),
]


@pytest.mark.parametrize(("bad", "sentence"), BAD_IMAGES)
def test_a_picture_that_cannot_be_used_ends_a_single_call(
    stub: SegmentationServiceStub, bad: pb.Image, sentence: str
) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        stub.Segment(pb.SegmentRequest(frame=pb.Frame(image=bad)))
    assert caught.value.code() is INVALID
    assert sentence in str(caught.value.details())


def test_bad_frames_get_errors_by_id_and_the_stream_goes_on(stub: SegmentationServiceStub) -> None:
    paced = Paced()
    paced.send(CONFIGURATION)
    replies = iter(stub.SegmentStream(iter(paced)))
    for number, (bad, sentence) in enumerate(BAD_IMAGES):
        paced.send(frame(2 * number, bad))
        reply = next(replies)
        assert (reply.frame_id, reply.capture_time_us) == (2 * number, 2 * number + 7)
        assert reply.error.code == pb.FRAME_ERROR_CODE_INVALID_FRAME
        assert sentence in reply.error.message
        paced.send(frame(2 * number + 1))
        good = next(replies)
        assert good.frame_id == 2 * number + 1
        assert [each.class_name for each in good.segmentation.instances] == ["red"]
    paced.done()
    assert list(replies) == []


def configured(**options: Any) -> pb.SegmentStreamRequest:
    configuration = pb.StreamConfiguration(options=pb.SegmentOptions(**options))
    return pb.SegmentStreamRequest(configuration=configuration)


WRONG_OPTIONS: list[tuple[dict[str, Any], grpc.StatusCode, str]] = [
    ({"score_threshold": 1.5}, INVALID, "score_threshold: expected 0 to 1, but 1.5 came"),
    ({"max_instances": -1}, INVALID, "max_instances: expected 0 or more, but -1 came"),
    ({"model_name": "huge"}, grpc.StatusCode.NOT_FOUND, "model_name: expected tiny or nothing, but 'huge' came"),
]


@pytest.mark.parametrize(("options", "code", "sentence"), WRONG_OPTIONS)
def test_wrong_options_end_a_single_call(
    stub: SegmentationServiceStub, options: dict[str, Any], code: grpc.StatusCode, sentence: str
) -> None:
    request = pb.SegmentRequest(frame=pb.Frame(image=image()), options=pb.SegmentOptions(**options))
    with pytest.raises(grpc.RpcError) as caught:
        stub.Segment(request)
    assert (caught.value.code(), caught.value.details()) == (code, sentence)


@pytest.mark.parametrize(
    ("requests", "code", "sentence"),
    [
        *[([configured(**options)], code, sentence) for options, code, sentence in WRONG_OPTIONS],
        ([], INVALID, "configuration: expected as the first message of a stream, but nothing came"),
        ([frame(0)], INVALID, "configuration: expected as the first message of a stream, but a frame came"),
        (
            [CONFIGURATION, CONFIGURATION],
            INVALID,
            "frame: expected after the first message of a stream, but a second configuration came",
        ),
        ([CONFIGURATION, frame(3), frame(3)], INVALID, "frame.id: expected more than 3, but 3 came"),
        ([CONFIGURATION, frame(3), frame(2)], INVALID, "frame.id: expected more than 3, but 2 came"),
    ],
)
def test_a_wrong_stream_ends_with_the_field_what_came_and_what_is_allowed(
    stub: SegmentationServiceStub, requests: list[pb.SegmentStreamRequest], code: grpc.StatusCode, sentence: str
) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        list(stub.SegmentStream(iter(requests)))
    assert (caught.value.code(), caught.value.details()) == (code, sentence)


def test_a_raw_4k_frame_fits(server: RunningServer) -> None:
    picture = street((0, (0, 0, 2000, 2000)), size_hw=(2160, 3840))
    message = image(picture.tobytes(), pb.IMAGE_ENCODING_RAW_RGB, 3840, 2160)
    with grpc.insecure_channel(server.address, [("grpc.max_send_message_length", -1)]) as channel:
        response = SegmentationServiceStub(channel).Segment(pb.SegmentRequest(frame=pb.Frame(id=9, image=message)))
    assert response.frame_id == 9
    assert (response.segmentation.image_width, response.segmentation.image_height) == (3840, 2160)
    assert [each.class_name for each in response.segmentation.instances] == ["red"]


def _as_it_is(data: bytes) -> bytes:
    return data


@pytest.mark.parametrize("data", [b"\xff" * 100, b"\xff" * (2 << 20)])
def test_bytes_that_are_no_message_end_their_call_with_a_sentence(server: RunningServer, data: bytes) -> None:
    with grpc.insecure_channel(server.address) as channel:
        single = channel.unary_unary("/streetmask.v1.SegmentationService/Segment", _as_it_is, _as_it_is)
        stream = channel.stream_stream("/streetmask.v1.SegmentationService/SegmentStream", _as_it_is, _as_it_is)
        good = CONFIGURATION.SerializeToString()
        for call in (
            lambda: single(data),
            lambda: list(stream(iter([data]))),
            lambda: list(stream(iter([good, data]))),
        ):
            with pytest.raises(grpc.RpcError) as caught:
                call()
            assert caught.value.code() is INVALID
            assert f"but {len(data)} bytes that are none came" in str(caught.value.details())


def test_large_frames_of_a_stream_are_answered_in_order_with_small_ones(stub: SegmentationServiceStub) -> None:
    picture = street((0, (0, 0, 400, 400)), size_hw=(800, 1000))
    large = image(picture.tobytes(), pb.IMAGE_ENCODING_RAW_RGB, 1000, 800)
    first = pb.SegmentStreamRequest(configuration=pb.StreamConfiguration(drop_policy=pb.DROP_POLICY_EVERY_FRAME))
    replies = list(stub.SegmentStream(iter([first, *(frame(n, large if n % 2 else None) for n in range(6))])))
    assert [each.frame_id for each in replies] == list(range(6))
    assert [each.segmentation.image_width for each in replies] == [128, 1000] * 3


class Paced:
    """Requests that a test sends one by one."""

    def __init__(self) -> None:
        self._queue: SimpleQueue[pb.SegmentStreamRequest | None] = SimpleQueue()

    def send(self, request: pb.SegmentStreamRequest) -> None:
        self._queue.put(request)

    def done(self) -> None:
        self._queue.put(None)

    def __iter__(self) -> Iterator[pb.SegmentStreamRequest]:
        while (request := self._queue.get()) is not None:
            yield request
