"""Bytes that are almost a message of the wire contract: seeded damage to serialized requests."""

import random
from collections.abc import Iterator
from functools import cache
from typing import Literal, NamedTuple

from bench.hostile import MUTATORS, Mutator, malformed_frames, whole_files
from protos.streetmask.v1 import segmentation_pb2 as pb

RequestName = Literal["SegmentRequest", "SegmentStreamRequest"]

_LONGEST = 1 << 16
_LENGTH_DELIMITED, _GROUP = 2, 3
_ODD_LENGTHS = (0, 1, 127, 128, 2**14, 2**31 - 1, 2**32 - 1, 2**63)


class HostileMessage(NamedTuple):
    """Bytes that claim to be a message of this name, and what was done to them."""

    message: RequestName
    name: str
    data: bytes


def mutated_messages(seed: int, count: int) -> Iterator[HostileMessage]:
    """``count`` messages, the same for the same seed; now and then one that is sound."""
    rng = random.Random(seed)
    bases = _requests()
    for _ in range(count):
        message, data = rng.choice(bases)
        steps = rng.choices(list(STEPS), k=rng.choice((0, 1, 1, 1, 2, 3)))
        for step in steps:
            data = STEPS[step](rng, data)[:_LONGEST]
        yield HostileMessage(message, " + ".join(steps) or "sound", data)


def varint(value: int) -> bytes:
    """A number as protobuf writes it, seven bits a byte, the lowest first."""
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def relengthened(rng: random.Random, data: bytes) -> bytes:
    """One byte, perhaps a length, in place of which another length stands."""
    place = rng.randrange(len(data) + 1)
    return data[:place] + varint(rng.choice(_ODD_LENGTHS)) + data[place + 1 :]


def with_unknown_fields(rng: random.Random, data: bytes) -> bytes:
    """Fields behind it that the contract does not have, of any wire type, or has with another."""
    for _ in range(rng.choice((1, 3, 100))):
        wire_type = rng.randrange(8)
        number = rng.choice((1, 2, 3, 4, 99, 2**29 - 1, 2**29, 0))
        content = rng.randbytes(rng.choice((0, 1, 4, 8)))
        length = varint(len(content)) if wire_type == _LENGTH_DELIMITED else b""
        data += varint(number << 3 | wire_type) + length + content
    return data


def nested(rng: random.Random, data: bytes) -> bytes:
    """It within itself, or within groups, many times over."""
    number, depth = rng.choice((1, 2, 3, 99)), rng.choice((2, 50, 101, 500))
    if rng.random() < 0.5:
        return varint(number << 3 | _GROUP) * depth + data + varint(number << 3 | _GROUP + 1) * depth
    for _ in range(depth):
        data = varint(number << 3 | _LENGTH_DELIMITED) + varint(len(data)) + data
    return data


def merged(rng: random.Random, data: bytes) -> bytes:
    """Another request behind it: fields that come twice are merged."""
    return data + rng.choice(_requests())[1]


def with_odd_values(rng: random.Random, _: bytes) -> bytes:
    """A sound message, but with values that no client of ours sends."""
    options = pb.SegmentOptions(
        score_threshold=rng.choice((float("nan"), float("inf"), -1.0, 1e30, 0.5)),
        max_instances=rng.choice((-(2**31), -1, 0, 2**31 - 1)),
        model_name=rng.choice(("", "../..", "\0", "é" * 500, "street-nano")),
    )
    configuration = pb.StreamConfiguration(options=options, drop_policy=rng.choice((0, 1, -1, 99)))  # type: ignore[arg-type]
    return pb.SegmentStreamRequest(configuration=configuration).SerializeToString()


STEPS: dict[str, Mutator] = {
    **{name: step for name, step in MUTATORS.items() if name not in ("spliced", "resized", "recoded")},
    **{step.__name__: step for step in (relengthened, with_unknown_fields, nested, merged, with_odd_values)},
}
"""What can be done to a message, by name."""


@cache
def _requests() -> tuple[tuple[RequestName, bytes], ...]:
    """Serialized requests of both kinds, with frames small and large, sound and not."""
    found: list[tuple[RequestName, bytes]] = []
    options = pb.SegmentOptions(score_threshold=0.25, max_instances=10, include_masks=False, model_name="street-nano")
    configuration = pb.StreamConfiguration(options=options, drop_policy=pb.DROP_POLICY_NEWEST_WINS)
    found.append(("SegmentStreamRequest", pb.SegmentStreamRequest(configuration=configuration).SerializeToString()))
    sound = [data for name, data in whole_files() if name.startswith("JPEG")]
    for number, data in enumerate([*sound, *(frame.data for _, frame in malformed_frames(1, 20))]):
        image = pb.Image(data=data, encoding=number % 5, width=16, height=16)  # type: ignore[arg-type]
        frame = pb.Frame(id=number, capture_time_us=-number, image=image)
        found.append(("SegmentRequest", pb.SegmentRequest(frame=frame, options=options).SerializeToString()))
        found.append(("SegmentStreamRequest", pb.SegmentStreamRequest(frame=frame).SerializeToString()))
    return tuple(found)
