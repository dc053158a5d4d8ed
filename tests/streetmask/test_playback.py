"""From a source through a server to a recording and a drawn video."""

from collections import Counter
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scene.image import RgbImage
from serve.client import Client, Received
from serve.exchange import Drop, DropPolicy, Reply, StreamOptions
from serve.frame import EncodedFrame
from streetmask.playback import MOST_FRAMES_LATE, StreamPlan, _at_pace, annotated, stream_source, write_video
from streetmask.recording import FrameRecord, RecordWriter, Spool, read_records
from streetmask.sources import Pictures, VideoFile
from tests.serve.conftest import RunningServer
from tests.streetmask.conftest import FRAMES, answered, found, moving

RED = np.array([255, 77, 109])


@dataclass(frozen=True)
class Once:
    """A live source that can be read once only."""

    frames: list[RgbImage]
    rate: Fraction = Fraction(25)
    live: bool = True

    def __iter__(self) -> Any:
        while self.frames:
            yield self.frames.pop(0)


def record(path: Path, *records: FrameRecord) -> Path:
    with RecordWriter(path) as writer:
        for each in records:
            writer.write(each)
    return path


def test_a_source_of_nothing_gives_an_empty_recording(tiny_server: RunningServer, tmp_path: Path) -> None:
    with Client(tiny_server.address) as client:
        summary = stream_source(client, Pictures(()), StreamPlan(), tmp_path / "results.jsonl", None)
    assert summary.outcomes == Counter()
    assert list(annotated(Pictures(()), tmp_path / "results.jsonl", None)) == []


@pytest.mark.parametrize(
    "plan",
    [
        StreamPlan(paced=False, stream=StreamOptions(DropPolicy.EVERY)),
        StreamPlan(paced=False, jpeg_quality=0, stream=StreamOptions(DropPolicy.EVERY), in_flight=1),
        StreamPlan(stream=StreamOptions(DropPolicy.QUEUE, queue_length=2)),
        StreamPlan(),
    ],
)
def test_every_frame_of_a_video_is_recorded_and_drawn_in_order(
    tiny_server: RunningServer, clip: Path, tmp_path: Path, plan: StreamPlan
) -> None:
    results, source = tmp_path / "results.jsonl", VideoFile(clip)
    with Client(tiny_server.address) as client:
        summary = stream_source(client, source, plan, results, None)
    records = list(read_records(results))
    assert [each.frame_id for each in records] == list(range(FRAMES))
    assert summary.sent == summary.outcomes.total() == FRAMES
    if not plan.paced:
        assert summary.outcomes == {"answered": FRAMES}
    for each in records:
        if each.answer:
            (instance,) = each.answer.instances
            assert abs(instance.box_xyxy[0] - 8 * each.frame_id) <= 8
    assert write_video(annotated(source, results, None), tmp_path / "out.mp4", source.rate) == FRAMES
    assert VideoFile(tmp_path / "out.mp4").rate == source.rate
    assert len(list(VideoFile(tmp_path / "out.mp4"))) == FRAMES


@pytest.mark.parametrize("quality", [90, 0])
def test_a_live_source_is_drawn_from_what_was_kept(tiny_server: RunningServer, tmp_path: Path, quality: int) -> None:
    source = Once([moving(number) for number in range(FRAMES)])
    results = tmp_path / "results.jsonl"
    with closing(Spool()) as spool, Client(tiny_server.address) as client:
        stream_source(client, source, StreamPlan(jpeg_quality=quality), results, spool)
        drawn = list(annotated(source, results, spool))
    assert [each.record.frame_id for each in drawn] == list(range(FRAMES))
    assert all(each.image.shape == (64, 128, 3) for each in drawn)


def test_a_dropped_frame_shows_the_last_answer_paler_and_says_so(tmp_path: Path) -> None:
    answer = answered(found(0, (40, 10, 80, 30)))
    results = record(
        tmp_path / "results.jsonl",
        FrameRecord(0, "dropped", 1.0),
        FrameRecord(1, "answered", 1.0, answer=answer),
        FrameRecord(2, "dropped", 1.0),
    )
    grey = np.full((64, 128, 3), 90, np.uint8)
    before, fresh, faded = (each.image for each in annotated(Once([grey, grey, grey]), results, None))
    tints = [np.abs(image[25, 70] - 90.0).sum() for image in (before, fresh, faded)]
    assert tints[0] == 0 < tints[2] < tints[1]
    assert (before[44:] != 90).any()
    assert not (fresh[44:] != 90).any()
    assert (faded[44:] != 90).any()


def test_an_answer_too_old_is_not_shown(tmp_path: Path) -> None:
    late = MOST_FRAMES_LATE + 1
    answer = answered(found(0, (40, 10, 80, 30)))
    dropped = [FrameRecord(number, "dropped", 1.0) for number in range(1, late + 1)]
    results = record(tmp_path / "results.jsonl", FrameRecord(0, "answered", 1.0, answer=answer), *dropped)
    grey = np.full((64, 128, 3), 90, np.uint8)
    images = [each.image for each in annotated(Once([grey] * (late + 1)), results, None)]
    assert not np.array_equal(images[late - 1][25, 70], grey[25, 70])
    assert np.array_equal(images[late][25, 70], grey[25, 70])


def test_ctrl_c_ends_the_stream_and_keeps_what_was_answered(tmp_path: Path) -> None:
    class Interrupted(Client):
        def stream(self, *_: Any, **__: Any) -> Generator[Received, None, None]:
            yield Received(Reply(0, 0, answered()), 1.0)
            yield Received(Reply(1, 0, Drop.NEWER_FRAME), 1.0)
            raise KeyboardInterrupt

    source = Once([moving(number) for number in range(9)])
    with Interrupted("127.0.0.1:1") as client:
        summary = stream_source(client, source, StreamPlan(), tmp_path / "results.jsonl", None)
    assert summary.outcomes == {"answered": 1, "dropped": 1}
    drawn = list(annotated(Once([moving(0), moving(1), moving(2)]), tmp_path / "results.jsonl", None))
    assert [each.record.outcome for each in drawn] == ["answered", "dropped"]


def nearest(image: RgbImage) -> int:
    """Which of the moving pictures it is; a note in the corner and JPEG's losses do not matter."""
    top = image[:40].astype(int)
    return int(np.argmin([np.abs(top - moving(number)[:40]).mean() for number in range(9)]))


class CutOff(Client):
    """Ctrl-C comes when three frames are sent and two have a reply; the thread that sends is at work on a fourth."""

    frames: Iterator[EncodedFrame]

    def stream(self, frames: Iterable[Any], *_: Any, **__: Any) -> Generator[Received, None, None]:
        self.frames = iter(frames)
        for _number in range(3):
            next(self.frames)
        yield Received(Reply(0, 0, answered()), 1.0)
        yield Received(Reply(1, 0, Drop.NEWER_FRAME), 1.0)
        raise KeyboardInterrupt


def test_a_camera_cut_off_by_ctrl_c_keeps_its_pictures_though_one_more_comes(tmp_path: Path) -> None:
    source, results = Once([moving(number) for number in range(9)]), tmp_path / "results.jsonl"
    with closing(Spool()) as spool, closing(CutOff("127.0.0.1:1")) as client:
        stream_source(client, source, StreamPlan(), results, spool)
        drawn = annotated(source, results, spool)
        first = next(drawn)
        next(client.frames)
        images = [first.image, *(each.image for each in drawn)]
    assert [nearest(image) for image in images] == [0, 1]


def test_what_was_sent_is_counted_though_it_got_no_reply(tmp_path: Path) -> None:
    source = Once([moving(number) for number in range(9)])
    with closing(CutOff("127.0.0.1:1")) as client:
        summary = stream_source(client, source, StreamPlan(), tmp_path / "results.jsonl", None)
        next(client.frames)
    assert (summary.sent, summary.outcomes) == (3, {"answered": 1, "dropped": 1})


def test_records_are_drawn_on_their_own_pictures_though_one_is_missing(tmp_path: Path) -> None:
    records = [FrameRecord(number, "answered", 1.0, answer=answered()) for number in (0, 2, 3)]
    results = record(tmp_path / "results.jsonl", *records)
    drawn = list(annotated(Once([moving(number) for number in range(9)]), results, None))
    assert [each.record for each in drawn] == records
    assert all(np.array_equal(each.image, moving(each.record.frame_id)) for each in drawn)


def test_frames_are_not_sent_before_their_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = [100.0]
    monkeypatch.setattr("time.perf_counter", lambda: now_s[0])
    monkeypatch.setattr("time.sleep", lambda pause_s: now_s.__setitem__(0, now_s[0] + pause_s))
    frames = _at_pace([moving(0)] * 5, Fraction(10))
    times_s = []
    for number, _ in enumerate(frames):
        times_s.append(now_s[0] - 100)
        now_s[0] += 0.25 if number == 1 else 0.0
    assert np.allclose(times_s, [0, 0.1, 0.35, 0.35, 0.4])
