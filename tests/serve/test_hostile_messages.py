"""Bytes that are almost messages: a value, or an error that the server knows how to answer."""

from collections import Counter
from collections.abc import AsyncIterator

from google.protobuf.message import DecodeError

from bench.hostile_messages import HostileMessage, mutated_messages
from protos.streetmask.v1 import segmentation_pb2 as pb
from scene.errors import StreetMaskError
from serve import wire

COUNT = 10_000


async def one(message: pb.SegmentStreamRequest) -> AsyncIterator[pb.SegmentStreamRequest]:
    yield message


async def outcome(hostile: HostileMessage) -> str:
    """Read the bytes as the server does, as the first and as a later message of a stream, and decode the frame."""
    try:
        if hostile.message == "SegmentRequest":
            frame, _ = wire.read_segment_request(pb.SegmentRequest.FromString(hostile.data))
            frame.payload.decode()
            return "read"
        message = pb.SegmentStreamRequest.FromString(hostile.data)
        if message.WhichOneof("request") == "configuration":
            await wire.read_configuration(one(message))
        async for frame in wire.read_frames(one(message)):
            frame.payload.decode()
        return "read"
    except DecodeError:
        return "no message"
    except StreetMaskError as error:
        assert str(error)
        return type(error).__name__


def test_no_messages_of_none() -> None:
    assert list(mutated_messages(1, 0)) == []


def test_the_same_seed_gives_the_same_messages() -> None:
    first, again, other = (list(mutated_messages(seed, 50)) for seed in (1, 1, 2))
    assert first == again
    assert first != other


async def test_ten_thousand_mutated_messages() -> None:
    found = Counter([await outcome(hostile) for hostile in mutated_messages(6, COUNT)])
    assert set(found) == {"read", "no message", "FrameError", "ConfigurationError"}
    assert min(found.values()) > COUNT // 100, found


async def test_sound_messages_are_among_them_and_are_read() -> None:
    sound = [hostile for hostile in mutated_messages(8, 300) if hostile.name == "sound"]
    assert sound
    assert all([await outcome(hostile) != "no message" for hostile in sound])
