"""Between our types and the messages of ``streetmask.v1``: the only module, with servicer and client, that knows both.

What a client may get wrong is refused here or by the types themselves, as a ``ConfigurationError`` that names the
message's field; a frame that cannot be used is not refused here, so that its stream can go on and answer it by id.
"""

from collections.abc import AsyncIterator
from dataclasses import asdict

from protos.streetmask.v1 import segmentation_pb2 as pb
from scene.errors import ConfigurationError
from serve.answer import Answer, FoundInstance, MaskRegion, Options, StageTimes
from serve.frame import EncodedFrame, Encoding
from serve.stream import Drop, Failure, FailureCode, Frame, Reply

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
}
_REASON_OF = {int(value): reason for reason, value in _REASONS.items()}
_DROP_POLICIES = (pb.DROP_POLICY_UNSPECIFIED, pb.DROP_POLICY_NEWEST_WINS)

Messages = AsyncIterator[pb.SegmentStreamRequest]


# What the client sends.


def segment_request(frame: Frame[EncodedFrame], options: Options) -> pb.SegmentRequest:
    """One picture and what is wanted of it."""
    return pb.SegmentRequest(frame=_frame_message(frame), options=_options_message(options))


def read_segment_request(request: pb.SegmentRequest) -> tuple[Frame[EncodedFrame], Options]:
    """The picture of a request and its checked options."""
    return _frame(request.frame), _options(request.options)


def configuration_request(options: Options) -> pb.SegmentStreamRequest:
    """The first message of a stream."""
    configuration = pb.StreamConfiguration(options=_options_message(options), drop_policy=pb.DROP_POLICY_NEWEST_WINS)
    return pb.SegmentStreamRequest(configuration=configuration)


def frame_request(frame: Frame[EncodedFrame]) -> pb.SegmentStreamRequest:
    """Every further message of a stream."""
    return pb.SegmentStreamRequest(frame=_frame_message(frame))


async def read_configuration(messages: Messages) -> Options:
    """The checked options of a stream's first message."""
    first = await anext(messages, None)
    kind = None if first is None else first.WhichOneof("request")
    if first is None or kind != "configuration":
        came = "a frame" if kind == "frame" else "nothing"
        raise ConfigurationError("configuration", f"expected as the first message of a stream, but {came} came")
    policy = first.configuration.drop_policy
    if policy not in _DROP_POLICIES:
        raise ConfigurationError(
            "configuration.drop_policy", f"expected DROP_POLICY_NEWEST_WINS or nothing, but {policy} came"
        )
    return _options(first.configuration.options)


async def read_frames(messages: Messages) -> AsyncIterator[Frame[EncodedFrame]]:
    """The frames of a stream after its configuration."""
    async for message in messages:
        kind = message.WhichOneof("request")
        if kind != "frame":
            came = "a second configuration" if kind == "configuration" else "an empty message"
            raise ConfigurationError("frame", f"expected after the first message of a stream, but {came} came")
        yield _frame(message.frame)


def _frame_message(frame: Frame[EncodedFrame]) -> pb.Frame:
    image = frame.payload
    height, width = image.size_hw
    encoding = _ENCODINGS[image.encoding or Encoding.FILE]
    message = pb.Image(data=image.data, encoding=encoding, width=width, height=height)
    return pb.Frame(id=frame.id, capture_time_us=frame.capture_time_us, image=message)


def _frame(message: pb.Frame) -> Frame[EncodedFrame]:
    image = message.image
    encoded = EncodedFrame(image.data, _ENCODING_OF.get(image.encoding), (image.height, image.width))
    return Frame(message.id, message.capture_time_us, encoded)


def _options_message(options: Options) -> pb.SegmentOptions:
    return pb.SegmentOptions(**asdict(options))


def _options(message: pb.SegmentOptions) -> Options:
    return Options(
        score_threshold=message.score_threshold if message.HasField("score_threshold") else None,
        max_instances=message.max_instances if message.HasField("max_instances") else None,
        include_masks=message.include_masks if message.HasField("include_masks") else True,
        model_name=message.model_name,
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
    response = pb.SegmentStreamResponse(frame_id=reply.frame_id, capture_time_us=reply.capture_time_us)
    if isinstance(reply.outcome, Answer):
        response.segmentation.CopyFrom(_answer_message(reply.outcome))
    elif isinstance(reply.outcome, Failure):
        response.error.CopyFrom(pb.FrameError(code=_CODES[reply.outcome.code], message=reply.outcome.message))
    else:
        response.dropped.CopyFrom(pb.FrameDropped(reason=_REASONS[reply.outcome]))
    return response


def read_stream_response(response: pb.SegmentStreamResponse) -> Reply[Answer]:
    """The reply in a stream's response; codes that a newer server may send become UNKNOWN."""
    return Reply(response.frame_id, response.capture_time_us, _outcome(response))


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
    )


def _mask_message(mask: MaskRegion) -> pb.Mask:
    (x, y), (height, width) = mask.xy, mask.size_hw
    return pb.Mask(x=x, y=y, width=width, height=height, rle_counts=mask.counts)


def _mask(message: pb.Mask) -> MaskRegion:
    return MaskRegion((message.x, message.y), (message.height, message.width), message.rle_counts)
