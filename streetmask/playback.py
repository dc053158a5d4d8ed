"""The way of a source through a server, and from its recording to an annotated video.

Two passes, so that drawing and encoding take no processor time from what is measured: first the frames are streamed
at their pace and the replies recorded, then the frames are read once more and drawn upon.
"""

import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from scene.image import RgbImage
from serve.answer import Options
from serve.client import Client
from serve.connection import Captured, now_us
from serve.exchange import StreamOptions
from serve.frame import EncodedFrame
from streetmask.drawing import painter_for
from streetmask.recording import FrameRecord, RecordWriter, Spool, read_records, record_of
from streetmask.sources import Source
from streetmask.summary import Summary
from streetmask.video import VideoWriter

MOST_FRAMES_LATE = 25
"""A dropped frame is drawn with the last answer's instances, unless that answer is older than this."""


@dataclass(frozen=True)
class StreamPlan:
    """How a source is streamed, by default as a live one. ``jpeg_quality`` 1 to 100, or 0 for raw pixels.

    ``paced`` shows a file's frames at its own rate; a live source has its own.
    """

    paced: bool = True
    jpeg_quality: int = 90
    options: Options = field(default_factory=Options)
    stream: StreamOptions = field(default_factory=StreamOptions)
    in_flight: int | None = None


@dataclass(frozen=True)
class AnnotatedFrame:
    """A frame with its record drawn upon it: uint8 [H, W, 3] RGB."""

    record: FrameRecord
    image: RgbImage


def stream_source(client: Client, source: Source, plan: StreamPlan, results: Path, spool: Spool | None) -> Summary:
    """Send the source's frames and record the replies in ``results``; what a live source showed goes to the spool.

    Ctrl-C ends the stream, not the program: what was recorded until then is kept.
    """
    summary = Summary()
    frames = _Counted(_encoded(source, plan, spool))
    with (
        RecordWriter(results) as writer,
        closing(client.stream(frames, plan.options, plan.in_flight, plan.stream)) as replies,
    ):
        try:
            for received in replies:
                record = record_of(received)
                summary.add(record)
                writer.write(record)
        except KeyboardInterrupt:
            print("stopped; what was answered is kept")
        summary.sent = frames.count
    return summary


def annotated(source: Source, results: Path, spool: Spool | None) -> Iterator[AnnotatedFrame]:
    """Every frame of a recording in order, drawn upon.

    An answered frame shows its instances. A dropped or failed one shows those of the last answer, paler, for they lie
    where things were, and a note in the corner that says so. A recording that was cut off may lack a frame: a notice
    of a drop overtakes the frame in work. Its picture is passed over.
    """
    last: FrameRecord | None = None
    pictures = enumerate(_pictures(source, spool))
    for record in read_records(results):
        image = next((picture for number, picture in pictures if number == record.frame_id), None)
        if image is None:
            return
        last = record if record.answer else last
        yield AnnotatedFrame(record, _drawn(record, last, image))


def write_video(frames: Iterable[AnnotatedFrame], path: Path, rate: Fraction) -> int:
    """Write annotated frames to an MP4 file; return how many."""
    with VideoWriter(path, rate) as writer:
        for frame in frames:
            writer.write(frame.image)
        return writer.frames


class _Counted:
    """Frames, and how many of them were drawn."""

    def __init__(self, frames: Iterable[Captured]) -> None:
        self._frames = frames
        self.count = 0

    def __iter__(self) -> Iterator[Captured]:
        for frame in self._frames:
            self.count += 1
            yield frame


def _encoded(source: Source, plan: StreamPlan, spool: Spool | None) -> Iterator[Captured]:
    """The frames as they are sent. A file's were taken at its rate, however fast they are shown."""
    started_us = now_us()
    images = _at_pace(source, source.rate) if plan.paced and not source.live else iter(source)
    for number, image in enumerate(images):
        frame = EncodedFrame.jpeg(image, plan.jpeg_quality) if plan.jpeg_quality else EncodedFrame.raw(image)
        if spool is not None:
            spool.keep(frame if plan.jpeg_quality else EncodedFrame.jpeg(image))
        yield Captured(frame, now_us() if source.live else started_us + round(1_000_000 * number / source.rate))


def _at_pace(images: Iterable[RgbImage], rate: Fraction) -> Iterator[RgbImage]:
    """Each picture not before its time; one that comes late is not waited for."""
    started_s = time.perf_counter()
    for number, image in enumerate(images):
        time.sleep(max(0.0, started_s + float(number / rate) - time.perf_counter()))
        yield image


def _pictures(source: Source, spool: Spool | None) -> Iterable[RgbImage]:
    return source if spool is None else (frame.decode() for frame in spool.frames())


def _drawn(record: FrameRecord, last: FrameRecord | None, image: RgbImage) -> RgbImage:
    height, width = image.shape[:2]
    painter = painter_for((height, width))
    if record.answer is not None:
        return painter.paint(image, record.answer)
    note = f"frame {record.frame_id} {record.outcome}"
    if last is None or last.answer is None or record.frame_id - last.frame_id > MOST_FRAMES_LATE:
        return painter.note(image.copy(), note)
    if last.answer.image_size_hw != (height, width):
        return painter.note(image.copy(), note)
    return painter.note(painter.paint(image, last.answer, faded=True), f"{note}: masks of frame {last.frame_id}")
