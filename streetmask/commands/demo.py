"""``streetmask demo``: the whole way once: a clip, a server, a stream, an annotated video, figures."""

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from scene.image import RgbImage
from serve.client import Client
from serve.settings import usable_cpus
from streetmask.picture import write_picture
from streetmask.playback import AnnotatedFrame, StreamPlan, annotated, stream_source, write_video
from streetmask.server_process import server_process
from streetmask.sources import Source, VideoFile, open_source
from streetmask.video import VideoWriter

CLIP_SEED = 20_000
"""Of the demo's street. Training and evaluation use other seeds, and their scenes are drawn from other numbers."""

CLIP_RATE = 30

FRAMES_A_PART = 10
"""Frames that one process renders at a time."""


@dataclass(frozen=True)
class DemoArguments:
    """Start a server, stream a clip through it at the clip's own rate, and write what it saw."""

    video: Path | None = None
    """Your own video; a street that the model has never seen is rendered without it."""
    model: Path = Path("models/street-nano/1")
    """Model folder."""
    out: Path = Path("demo")
    """Folder for street.mp4, preview.png and results.jsonl."""
    seconds: float = 10.0
    """Length of the rendered clip."""
    seed: int = CLIP_SEED
    """Which street is rendered."""
    height: int = 720
    """Height of the rendered clip in pixels."""
    width: int = 1280
    """Width of the rendered clip in pixels."""


def demo(arguments: DemoArguments) -> None:
    """Run the demo; everything it starts is stopped again."""
    source: Source = open_source(str(arguments.video)) if arguments.video else _rendered(arguments)
    results = arguments.out / "results.jsonl"
    print("starting the server", flush=True)
    with server_process(arguments.model) as server, Client(server.address) as client:
        print(f"streaming to {server.address} at {float(source.rate):g} frames per second", flush=True)
        summary = stream_source(client, source, StreamPlan(), results, spool=None)
    print(*summary.lines(), sep="\n", flush=True)
    print("drawing", flush=True)
    preview = Preview()
    count = write_video(preview.watch(annotated(source, results, None)), arguments.out / "street.mp4", source.rate)
    preview.write(arguments.out / "preview.png")
    print(f"wrote {count} frames to {arguments.out / 'street.mp4'}, preview.png and results.jsonl beside it")


class Preview:
    """Keeps the answered frame with the most instances of those that pass by."""

    def __init__(self) -> None:
        self._most = -1
        self._image: RgbImage | None = None

    def watch(self, frames: Iterator[AnnotatedFrame]) -> Iterator[AnnotatedFrame]:
        """The same frames."""
        for frame in frames:
            count = len(frame.record.answer.instances) if frame.record.answer else -1
            if count > self._most:
                self._most, self._image = count, frame.image
            yield frame

    def write(self, path: Path) -> None:
        """Write the picture, if any frame was answered."""
        if self._image is not None:
            write_picture(path, self._image)


def _rendered(arguments: DemoArguments) -> VideoFile:
    print(f"rendering {arguments.seconds:g} s of a street that the model has never seen", flush=True)
    path = arguments.out / "clip.mp4"
    count = max(1, round(arguments.seconds * CLIP_RATE))
    parts = [range(first, min(first + FRAMES_A_PART, count)) for first in range(0, count, FRAMES_A_PART)]
    with (
        ProcessPoolExecutor(usable_cpus(), mp_context=get_context("spawn")) as processes,
        VideoWriter(path, Fraction(CLIP_RATE)) as writer,
    ):
        for images in processes.map(partial(_part, arguments), parts):
            for image in images:
                writer.write(image)
    return VideoFile(path)


def _part(arguments: DemoArguments, frames: range) -> list[RgbImage]:
    from training.data.synthetic import SceneSettings, clip  # noqa: PLC0415 - one's own video needs no generator

    settings = SceneSettings(height=arguments.height, width=arguments.width)
    return [scene.image for scene in clip(arguments.seed, arguments.seconds, CLIP_RATE, settings, frames)]
