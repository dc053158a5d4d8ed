"""What became of every frame, line by line."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scene.errors import DataError
from serve.client import Received
from serve.exchange import Drop, Failure, FailureCode, Reply
from serve.frame import EncodedFrame
from streetmask.recording import FrameRecord, RecordWriter, Spool, read_records, record_of
from tests.streetmask.conftest import answered, found

ANSWER = answered(replace(found(0, (10, 10, 20, 20)), track_id=4), found(1, (30, 10, 50, 20), masked=False))


def test_an_empty_recording_has_no_records(tmp_path: Path) -> None:
    with RecordWriter(tmp_path / "deep" / "results.jsonl"):
        pass
    assert list(read_records(tmp_path / "deep" / "results.jsonl")) == []


@pytest.mark.parametrize(
    ("outcome", "record"),
    [
        (ANSWER, FrameRecord(7, "answered", 1.5, answer=ANSWER)),
        (Drop.NEWER_FRAME, FrameRecord(7, "dropped", 1.5, "newer_frame")),
        (Drop.CONNECTION_LOST, FrameRecord(7, "dropped", 1.5, "connection_lost")),
        (Failure(FailureCode.INVALID_FRAME, "no picture"), FrameRecord(7, "failed", 1.5, "no picture")),
    ],
)
def test_a_reply_becomes_a_record_and_a_line_and_a_record(tmp_path: Path, outcome: object, record: FrameRecord) -> None:
    assert record_of(Received(Reply(7, 0, outcome), 1.5)) == record  # type: ignore[arg-type]
    with RecordWriter(tmp_path / "results.jsonl") as writer:
        writer.write(record)
    assert list(read_records(tmp_path / "results.jsonl")) == [record]


def test_a_line_reads_as_json(tmp_path: Path) -> None:
    with RecordWriter(tmp_path / "results.jsonl") as writer:
        writer.write(FrameRecord(0, "answered", 1.5, answer=ANSWER))
    line = json.loads((tmp_path / "results.jsonl").read_text())
    assert line["outcome"] == "answered"
    assert line["answer"]["times"]["network_ms"] == 3
    instance = line["answer"]["instances"][0]
    assert (instance["class_name"], instance["box_xyxy"]) == ("class0", [10, 10, 20, 20])
    assert instance["mask"]["size_hw"] == [10, 10]
    assert instance["track_id"] == 4


@given(order=st.permutations(range(9)))
def test_records_in_any_order_are_written_in_order(tmp_path_factory: pytest.TempPathFactory, order: list[int]) -> None:
    path = tmp_path_factory.mktemp("order") / "results.jsonl"
    with RecordWriter(path) as writer:
        for number in order:
            writer.write(FrameRecord(number, "dropped", 1.0))
    assert [record.frame_id for record in read_records(path)] == list(range(9))


def test_what_waits_for_a_missing_frame_is_written_at_the_end(tmp_path: Path) -> None:
    with RecordWriter(tmp_path / "results.jsonl") as writer:
        for number in (4, 0, 2):
            writer.write(FrameRecord(number, "dropped", 1.0))
    assert [record.frame_id for record in read_records(tmp_path / "results.jsonl")] == [0, 2, 4]


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    path.write_text('{"frame_id": 0, "outcome": "dropped", "latency_ms": 1}\n{"frame_id": "x"}\n')
    records = read_records(path)
    assert next(records).frame_id == 0
    with pytest.raises(DataError, match=r"results.jsonl, line 2"):
        next(records)


def test_a_spool_gives_back_what_it_kept() -> None:
    assert list(Spool().frames()) == []
    spool = Spool()
    for data in (b"one", b"", b"three"):
        spool.keep(EncodedFrame(data))
    assert [frame.data for frame in spool.frames()] == [b"one", b"", b"three"]
    spool.close()


def test_a_spool_that_is_read_keeps_nothing_more() -> None:
    spool = Spool()
    for data in (b"one", b"two"):
        spool.keep(EncodedFrame(data))
    frames = spool.frames()
    first = next(frames)
    spool.keep(EncodedFrame(b"too late"))
    assert [each.data for each in (first, *frames)] == [b"one", b"two"]
    assert [each.data for each in spool.frames()] == [b"one", b"two"]
    spool.close()
    spool.keep(EncodedFrame(b"later still"))
