"""Our types to messages and back."""

from collections.abc import AsyncIterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protos.streetmask.v1 import segmentation_pb2 as pb
from scene.errors import ConfigurationError
from serve import wire
from serve.answer import Answer, FoundInstance, MaskRegion, Options, StageTimes
from serve.exchange import Drop, DropPolicy, Failure, FailureCode, Frame, Reply, StreamOptions
from serve.frame import EncodedFrame, Encoding

floats = st.floats(0, 1e4, width=32)
sides = st.integers(0, 4096)
masks = st.builds(MaskRegion, st.tuples(sides, sides), st.tuples(sides, sides), st.text("0123abcPQ\\^", max_size=20))
instances = st.builds(
    FoundInstance,
    st.integers(0, 79),
    st.text(max_size=12),
    floats,
    floats,
    st.tuples(floats, floats, floats, floats),
    st.none() | masks,
)
answers = st.builds(
    Answer,
    st.text(max_size=12),
    st.integers(1, 1000),
    st.tuples(sides, sides),
    st.lists(instances, max_size=4).map(tuple),
    st.builds(StageTimes, *[floats] * 7),
)
outcomes = (
    answers
    | st.builds(Failure, st.sampled_from(FailureCode), st.text())
    | st.sampled_from([drop for drop in Drop if drop is not Drop.CONNECTION_LOST])
)
replies = st.builds(Reply, st.integers(0, 2**64 - 1), st.integers(-(2**63), 2**63 - 1), outcomes)
frames = st.builds(
    Frame,
    st.integers(0, 2**64 - 1),
    st.integers(0, 2**63 - 1),
    st.builds(EncodedFrame, st.binary(max_size=50), st.sampled_from(Encoding), st.tuples(sides, sides)),
)
options = st.builds(
    Options,
    st.none() | st.floats(0, 1, width=32),
    st.none() | st.integers(0, 2**31 - 1),
    st.booleans(),
    st.text(max_size=12),
)


async def several(*messages: pb.SegmentStreamRequest) -> AsyncIterator[pb.SegmentStreamRequest]:
    for message in messages:
        yield message


def test_an_empty_request_means_the_defaults() -> None:
    frame, wanted = wire.read_segment_request(pb.SegmentRequest())
    assert wanted == Options()
    assert frame.payload.data == b""


@given(frames, options)
def test_a_request_comes_back(frame: Frame[EncodedFrame], wanted: Options) -> None:
    message = pb.SegmentRequest.FromString(wire.segment_request(frame, wanted).SerializeToString())
    assert wire.read_segment_request(message) == (frame, wanted)


@given(replies)
def test_a_reply_comes_back(reply: Reply[Answer]) -> None:
    message = pb.SegmentStreamResponse.FromString(wire.stream_response(reply).SerializeToString())
    assert wire.read_stream_response(message) == reply


@given(answers)
def test_an_answer_comes_back(answer: Answer) -> None:
    response = wire.segment_response(Frame(7, 8, EncodedFrame(b"")), answer)
    assert (response.frame_id, response.capture_time_us) == (7, 8)
    assert wire.read_segment_response(response) == answer


def test_codes_of_a_newer_server_become_unknown() -> None:
    dropped = pb.SegmentStreamResponse(dropped=pb.FrameDropped(reason=99))  # type: ignore[arg-type]
    failed = pb.SegmentStreamResponse(error=pb.FrameError(code=99, message="new"))  # type: ignore[arg-type]
    assert wire.read_stream_response(dropped).outcome is Drop.UNKNOWN
    assert wire.read_stream_response(failed).outcome == Failure(FailureCode.UNKNOWN, "new")


def test_an_unknown_encoding_waits_to_be_refused_with_its_frame() -> None:
    request = pb.SegmentRequest(frame=pb.Frame(image=pb.Image(data=b"x", encoding=99)))  # type: ignore[arg-type]
    assert wire.read_segment_request(request)[0].payload.encoding is None


@pytest.mark.parametrize(
    ("messages", "sentence"),
    [
        ([], "configuration: expected as the first message of a stream, but nothing came"),
        ([pb.SegmentStreamRequest()], "configuration: .* but nothing came"),
        ([pb.SegmentStreamRequest(frame=pb.Frame())], "configuration: .* but a frame came"),
        (
            [pb.SegmentStreamRequest(configuration=pb.StreamConfiguration(drop_policy=9))],  # type: ignore[arg-type]
            "drop_policy: expected DROP_POLICY_NEWEST_WINS, DROP_POLICY_EVERY_FRAME, .* or nothing, but 9 came",
        ),
    ],
)
async def test_a_wrong_first_message_is_refused(messages: list[pb.SegmentStreamRequest], sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        await wire.read_configuration(several(*messages))


@pytest.mark.parametrize(
    ("second", "came"),
    [
        (wire.configuration_request(wire.Configuration(Options(), StreamOptions(), 0)), "a second configuration"),
        (pb.SegmentStreamRequest(), "an empty message"),
    ],
)
async def test_only_frames_follow_the_configuration(second: pb.SegmentStreamRequest, came: str) -> None:
    frame = Frame(3, 4, EncodedFrame(b"data"))
    messages = wire.read_frames(several(wire.frame_request(frame), second))
    assert await anext(messages) == frame
    with pytest.raises(ConfigurationError, match=f"frame: expected after the first message of a stream, but {came}"):
        await anext(messages)


async def test_the_configuration_of_a_stream_comes_back() -> None:
    stream = StreamOptions(DropPolicy.QUEUE, 5, 250, -3, True)
    wanted = wire.Configuration(Options(0.25, 3, False, "tiny", 7), stream, 123)
    assert await wire.read_configuration(several(wire.configuration_request(wanted))) == wanted


async def test_a_configuration_that_says_nothing_means_the_defaults() -> None:
    empty = pb.SegmentStreamRequest(configuration=pb.StreamConfiguration())
    assert await wire.read_configuration(several(empty)) == wire.Configuration(Options(), StreamOptions(), 0)


@pytest.mark.parametrize(
    ("configuration", "sentence"),
    [
        (pb.StreamConfiguration(queue_length=257), "queue_length: expected 1 to 256, but 257 came"),
        (pb.StreamConfiguration(priority=101), "priority: expected -100 to 100, but 101 came"),
    ],
)
async def test_a_wrong_way_to_treat_frames_is_refused(configuration: pb.StreamConfiguration, sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        await wire.read_configuration(several(pb.SegmentStreamRequest(configuration=configuration)))


def test_masks_travel_as_coco_run_lengths_of_their_region() -> None:
    mask = MaskRegion((5, 6), (2, 3), "1122")
    found = FoundInstance(0, "person", 0.5, 0.5, (5.0, 6.0, 8.0, 8.0), mask)
    message = wire.segment_response(
        Frame(0, 0, EncodedFrame(b"")), Answer("m", 1, (32, 32), (found,), StageTimes())
    ).segmentation.instances[0]
    assert (message.mask.x, message.mask.y, message.mask.width, message.mask.height) == (5, 6, 3, 2)
    assert message.mask.rle_counts == "1122"
    assert np.allclose((message.box.x1, message.box.y1, message.box.x2, message.box.y2), (5, 6, 8, 8))
