"""The generator of bytes that are almost messages."""

import random

import pytest
from google.protobuf.message import DecodeError

from bench.hostile_messages import STEPS, mutated_messages, nested, varint, with_unknown_fields
from protos.streetmask.v1 import segmentation_pb2 as pb


def test_a_number_is_written_as_protobuf_does() -> None:
    assert varint(0) == b"\0"
    for value in (1, 127, 128, 300, 2**32, 2**64 - 1):
        assert pb.Frame(id=value).SerializeToString() == b"\x08" + varint(value)


def test_every_kind_of_damage_comes_to_both_kinds_of_messages() -> None:
    found = list(mutated_messages(2, 2000))
    for message in ("SegmentRequest", "SegmentStreamRequest"):
        names = " ".join(row.name for row in found if row.message == message)
        assert all(step in names for step in (*STEPS, "sound"))


def test_unknown_fields_alone_leave_a_message_readable_now_and_then() -> None:
    def readable(seed: int) -> bool:
        try:
            pb.SegmentRequest.FromString(with_unknown_fields(random.Random(seed), b""))
        except DecodeError:
            return False
        return True

    assert {readable(seed) for seed in range(50)} == {True, False}


def test_a_message_nested_too_deep_is_none() -> None:
    deep = [nested(random.Random(seed), b"") for seed in range(40)]
    with pytest.raises(DecodeError):
        for data in deep:
            pb.SegmentRequest.FromString(data)
