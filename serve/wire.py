"""Between our types and the messages of ``streetmask.v1``: the only module, with servicer and client, that knows both.

What a client may get wrong is refused here or by the types themselves, as a ``ConfigurationError`` that names the
message's field; a frame that cannot be used is not refused here, so that its stream can go on and answer it by id.
"""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict
from typing import NamedTuple, TypeVar

from google.protobuf.message import DecodeError

from protos.streetmask.v1 import segmentation_pb2 as pb
from scene.errors import ConfigurationError
from serve.answer import Answer, FoundInstance, MaskRegion, Options, StageTimes
from serve.exchange import Drop, DropPolicy, Failure, FailureCode, Frame, Reply, StreamOptions
from serve.frame import EncodedFrame, Encoding

_ENCODINGS = {
    Encoding.FILE: pb.IMAGE_ENCODING_UNSPECIFIED,
    Encoding.JPEG: pb.IMAGE_ENCODING_JPEG,
    Encoding.PNG: pb.IMAGE_ENCODING_PNG,
    Encoding.RAW_RGB: pb.IMAGE_ENCODING_RAW_RGB,
    Encoding.RAW_BGR: pb.IMAGE_ENCODING_RAW_BGR,
}
_ENCODING_OF = {int(value): encoding for encoding, value in _ENCODINGS.items()}
_CODES = {
    FailureCode.UNKNOWN: pb.FRAME_ERROR_CODE_UNSPECIFIED,
    FailureCode.INVALID_FRAME: pb.FRAME_ERROR_CODE_INVALID_FRAME,
    FailureCode.INTERNAL: pb.FRAME_ERROR_CODE_INTERNAL,
}
_CODE_OF = {int(value): code for code, value in _CODES.items()}
_REASONS = {
    Drop.UNKNOWN: pb.FRAME_DROP_REASON_UNSPECIFIED,
    Drop.NEWER_FRAME: pb.FRAME_DROP_REASON_NEWER_FRAME,
    Drop.QUEUE_FULL: pb.FRAME_DROP_REASON_QUEUE_FULL,
    Drop.EXPIRED: pb.FRAME_DROP_REASON_EXPIRED,
}
_REASON_OF = {int(value): reason for reason, value in _REASONS.items()}
_POLICIES = {
    DropPolicy.NEWEST: pb.DROP_POLICY_NEWEST_WINS,
    DropPolicy.EVERY: pb.DROP_POLICY_EVERY_FRAME,
    DropPolicy.QUEUE: pb.DROP_POLICY_BOUNDED_QUEUE,
}
_POLICY_OF = {int(value): policy for policy, value in _POLICIES.items()} | {0: DropPolicy.NEWEST}

Message = TypeVar("Message", pb.SegmentRequest, pb.SegmentStreamRequest)


class Unparsed:
    """A message's bytes until they are taken, once: gRPC keeps what it received until it has received the next, and
    to free 25 MB takes as long as to copy them."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def take(self) -> bytes:
        """The bytes, which are forgotten here."""
        data, self._data = self._data, b""
        return data


Messages = AsyncIterator[pb.SegmentStreamRequest | Unparsed]

LARGE_BYTES = 1 << 20
"""From this size on a message is parsed on a thread: a raw 4K frame's would hold the event loop for 10 to 20 ms."""


class Configuration(NamedTuple):
    """A stream's first message: what is wanted of every answer, how frames are treated, and when it was sent."""

    options: Options
    stream: StreamOptions
    send_time_us: int


# What the client sends.


def segment_request(frame: Frame[EncodedFrame], options: Options) -> pb.SegmentRequest:
    """One picture and what is wanted of it."""
    return pb.SegmentRequest(frame=_frame_message(frame), options=_options_message(options))


def received(kind: type[Message]) -> Callable[[bytes], Message | Unparsed]:
    """What gRPC makes of a message's bytes: the message, or the bytes where parsing them is left to others."""

    def parse(data: bytes) -> Message | Unparsed:
        try:
            return Unparsed(data) if len(data) >= LARGE_BYTES else kind.FromString(data)
        except DecodeError:
            return Unparsed(data)

    return parse


def read_segment_request(request: pb.SegmentRequest) -> tuple[Frame[EncodedFrame], Options]:
    """The picture of a request and its checked options."""
    return _segment_request(request, time.perf_counter())


async def read_received_request(request: pb.SegmentRequest | Unparsed) -> tuple[Frame[EncodedFrame], Options]:
    """The same of what ``received`` made of a request."""
    arrived_s = time.perf_counter()
    if isinstance(request, Unparsed):
        return await asyncio.to_thread(lambda: _segment_request(_parsed(pb.SegmentRequest, request), arrived_s))
    return _segment_request(request, arrived_s)


def configuration_request(configuration: Configuration) -> pb.SegmentStreamRequest:
    """The first message of a stream."""
    stream = configuration.stream
    message = pb.StreamConfiguration(
        options=_options_message(configuration.options),
        drop_policy=_POLICIES[stream.policy],
        queue_length=stream.queue_length,
        max_age_ms=stream.max_age_ms or 0,
        priority=stream.priority,
        track=stream.track,
        send_time_us=configuration.send_time_us,
    )
    return pb.SegmentStreamRequest(configuration=message)


def frame_request(frame: Frame[EncodedFrame]) -> pb.SegmentStreamRequest:
    """Every further message of a stream."""
    return pb.SegmentStreamRequest(frame=_frame_message(frame))


async def read_configuration(messages: Messages) -> Configuration:
    """A stream's checked first message."""
    data = await anext(messages, None)
    if isinstance(data, Unparsed):
        first: pb.SegmentStreamRequest | None = await asyncio.to_thread(_parsed, pb.SegmentStreamRequest, data)
    else:
        first = data
    kind = None if first is None else first.WhichOneof("request")
    if first is None or kind != "configuration":
        came = "a frame" if kind == "frame" else "nothing"
        raise ConfigurationError("configuration", f"expected as the first message of a stream, but {came} came")
    message = first.configuration
    return Configuration(_options(message.options), _stream_options(message), message.send_time_us)


async def read_frames(messages: Messages) -> AsyncIterator[Frame[EncodedFrame]]:
    """The frames of a stream after its configuration."""
    async for message in messages:
        arrived_s = time.perf_counter()
        if isinstance(message, Unparsed):
            yield await asyncio.to_thread(_read_frame, message, arrived_s)
        else:
            yield _stream_frame(message, arrived_s)


def _read_frame(unparsed: Unparsed, arrived_s: float) -> Frame[EncodedFrame]:
    return _stream_frame(_parsed(pb.SegmentStreamRequest, unparsed), arrived_s)


def _stream_frame(message: pb.SegmentStreamRequest, arrived_s: float) -> Frame[EncodedFrame]:
    kind = message.WhichOneof("request")
    if kind != "frame":
        came = "a second configuration" if kind == "configuration" else "an empty message"
        raise ConfigurationError("frame", f"expected after the first message of a stream, but {came} came")
    return _frame(message.frame, arrived_s)


def _segment_request(request: pb.SegmentRequest, arrived_s: float) -> tuple[Frame[EncodedFrame], Options]:
    return _frame(request.frame, arrived_s), _options(request.options)


def _parsed(kind: type[Message], unparsed: Unparsed) -> Message:
    data = unparsed.take()
    try:
        return kind.FromString(data)
    except DecodeError as error:
        name = kind.DESCRIPTOR.full_name
        raise ConfigurationError("request", f"expected a {name}, but {len(data)} bytes that are none came") from error


def _frame_message(frame: Frame[EncodedFrame]) -> pb.Frame:
    image = frame.payload
    height, width = image.size_hw
    encoding = _ENCODINGS[image.encoding or Encoding.FILE]
    message = pb.Image(data=image.data, encoding=encoding, width=width, height=height)
    return pb.Frame(id=frame.id, capture_time_us=frame.capture_time_us, image=message, send_time_us=frame.send_time_us)


def _frame(message: pb.Frame, arrived_s: float) -> Frame[EncodedFrame]:
    image = message.image
    encoded = EncodedFrame(image.data, _ENCODING_OF.get(image.encoding), (image.height, image.width), arrived_s)
    return Frame(message.id, message.capture_time_us, encoded, message.send_time_us, arrived_s)


def _stream_options(message: pb.StreamConfiguration) -> StreamOptions:
    if message.drop_policy not in _POLICY_OF:
        known = ", ".join(pb.DropPolicy.Name(value) for value in _POLICIES.values())
        raise ConfigurationError("drop_policy", f"expected {known} or nothing, but {message.drop_policy} came")
    return StreamOptions(
        policy=_POLICY_OF[message.drop_policy],
        queue_length=message.queue_length or StreamOptions.queue_length,
        max_age_ms=message.max_age_ms or None,
        priority=message.priority,
        track=message.track,
    )


def _options_message(options: Options) -> pb.SegmentOptions:
    return pb.SegmentOptions(**asdict(options))


def _options(message: pb.SegmentOptions) -> Options:
    return Options(
        score_threshold=message.score_threshold if message.HasField("score_threshold") else None,
        max_instances=message.max_instances if message.HasField("max_instances") else None,
        include_masks=message.include_masks if message.HasField("include_masks") else True,
        model_name=message.model_name,
        model_version=message.model_version,
    )


# What the server sends.


def segment_response(frame: Frame[EncodedFrame], answer: Answer) -> pb.SegmentResponse:
    """The answer to one picture."""
    return pb.SegmentResponse(
        frame_id=frame.id, capture_time_us=frame.capture_time_us, segmentation=_answer_message(answer)
    )


def read_segment_response(response: pb.SegmentResponse) -> Answer:
    """The answer in a response."""
    return _answer(response.segmentation)


def stream_response(reply: Reply[Answer]) -> pb.SegmentStreamResponse:
    """What became of one frame of a stream."""
    response = pb.SegmentStreamResponse(
        frame_id=reply.frame_id,
        capture_time_us=reply.capture_time_us,
        age_ms=0.0 if math.isnan(reply.age_ms) else reply.age_ms,
    )
    if isinstance(reply.outcome, Answer):
        response.segmentation.CopyFrom(_answer_message(reply.outcome))
    elif isinstance(reply.outcome, Failure):
        response.error.CopyFrom(pb.FrameError(code=_CODES[reply.outcome.code], message=reply.outcome.message))
    else:
        response.dropped.CopyFrom(pb.FrameDropped(reason=_REASONS[reply.outcome]))
    return response


def read_stream_response(response: pb.SegmentStreamResponse) -> Reply[Answer]:
    """The reply in a stream's response; codes that a newer server may send become UNKNOWN."""
    return Reply(response.frame_id, response.capture_time_us, _outcome(response), response.age_ms)


def _outcome(response: pb.SegmentStreamResponse) -> Answer | Failure | Drop:
    kind = response.WhichOneof("outcome")
    if kind == "segmentation":
        return _answer(response.segmentation)
    if kind == "dropped":
        return _REASON_OF.get(response.dropped.reason, Drop.UNKNOWN)
    return Failure(_CODE_OF.get(response.error.code, FailureCode.UNKNOWN), response.error.message)


def _answer_message(answer: Answer) -> pb.Segmentation:
    height, width = answer.image_size_hw
    return pb.Segmentation(
        model_name=answer.model_name,
        model_version=answer.model_version,
        image_width=width,
        image_height=height,
        instances=[_instance_message(instance) for instance in answer.instances],
        stage_times=pb.StageTimes(**asdict(answer.times)),
    )


def _answer(message: pb.Segmentation) -> Answer:
    times = message.stage_times
    return Answer(
        model_name=message.model_name,
        model_version=message.model_version,
        image_size_hw=(message.image_height, message.image_width),
        instances=tuple(_instance(instance) for instance in message.instances),
        times=StageTimes(**{field.name: getattr(times, field.name) for field in times.DESCRIPTOR.fields}),
    )


def _instance_message(instance: FoundInstance) -> pb.Instance:
    x1, y1, x2, y2 = instance.box_xyxy
    return pb.Instance(
        class_index=instance.class_index,
        class_name=instance.class_name,
        score=instance.score,
        mask_score=instance.mask_score,
        box=pb.Box(x1=x1, y1=y1, x2=x2, y2=y2),
        mask=None if instance.mask is None else _mask_message(instance.mask),
        track_id=instance.track_id,
    )


def _instance(message: pb.Instance) -> FoundInstance:
    box = message.box
    return FoundInstance(
        class_index=message.class_index,
        class_name=message.class_name,
        score=message.score,
        mask_score=message.mask_score,
        box_xyxy=(box.x1, box.y1, box.x2, box.y2),
        mask=_mask(message.mask) if message.HasField("mask") else None,
        track_id=message.track_id if message.HasField("track_id") else None,
    )


def _mask_message(mask: MaskRegion) -> pb.Mask:
    (x, y), (height, width) = mask.xy, mask.size_hw
    return pb.Mask(x=x, y=y, width=width, height=height, rle_counts=mask.counts)


def _mask(message: pb.Mask) -> MaskRegion:
    return MaskRegion((message.x, message.y), (message.height, message.width), message.rle_counts)
