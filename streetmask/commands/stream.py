"""``streetmask stream``: a video, folder or camera through a server, into a recording and an annotated video."""

import tempfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from scene.errors import ConfigurationError, require
from serve.answer import Options
from serve.client import Client
from serve.exchange import DropPolicy, StreamOptions
from streetmask.playback import StreamPlan, annotated, stream_source, write_video
from streetmask.recording import Spool
from streetmask.sources import open_source


@dataclass(frozen=True)
class StreamArguments:
    """Stream frames through a server and draw what it answers."""

    input: tyro.conf.Positional[str]
    """Video file, folder of pictures, picture, camera index, or rtsp:// address."""
    server: str = "127.0.0.1:50051"
    """HOST:PORT of the server."""
    out: Path | None = None
    """Annotated video to write, such as out.mp4: every frame of the input, in order."""
    results: Path | None = None
    """Recording to write: one JSON line a frame."""
    timeout_s: float = 30.0
    """Seconds that the server may take to be ready."""
    pace: Literal["source", "answered"] = "source"
    """At the input's own rate, where frames that come too fast are dropped; or as fast as they are answered, each."""
    policy: Literal["newest", "every", "queue"] | None = None
    """What gives way to a newer frame: the one that waits, none, or the oldest in a queue. Without it none where each
    frame of a file is answered, else the one that waits."""
    queue_length: int = StreamOptions.queue_length
    """Frames that wait in a queue."""
    max_age_ms: int | None = None
    """Drop frames that are older than this when their turn comes."""
    priority: int = 0
    """Streams of a higher priority are served first, -100 to 100."""
    track: bool = False
    """Give objects ids that persist from frame to frame."""
    in_flight: int | None = None
    """Frames on their way to the server and unanswered; 1 without it, 3 where none gives way."""
    jpeg_quality: int = 90
    """Quality of the JPEG files sent, 1 to 100; 0 sends raw pixels."""
    score_threshold: float | None = None
    """Leave out instances below this score; the model's own thresholds without it."""
    max_instances: int | None = None
    """At most so many instances a frame."""
    model_name: str = ""
    """Refuse any server that serves another model."""
    model_version: int = 0
    """Version of the model that answers; 0 for the current one."""

    def __post_init__(self) -> None:
        if not 0 <= self.jpeg_quality <= 100:
            raise ConfigurationError("jpeg_quality", f"expected 0 to 100, but {self.jpeg_quality} came")
        if self.timeout_s <= 0:
            raise ConfigurationError("timeout_s", f"expected more than 0, but {self.timeout_s:g} came")
        unpaced = self.pace == "answered" and self.policy not in (None, "every")
        require("policy", not unpaced, "every, or nothing, with --pace answered", self.policy)
        require("in_flight", self.in_flight is None or self.in_flight >= 1, "1 or more", self.in_flight)


def stream(arguments: StreamArguments) -> None:
    """Stream, print the summary, then draw."""
    source = open_source(arguments.input)
    with (
        tempfile.TemporaryDirectory() as folder,
        closing(Spool()) as disk,
        Client(arguments.server, arguments.timeout_s) as client,
    ):
        spool = disk if source.live else None
        results = arguments.results or Path(folder) / "results.jsonl"
        summary = stream_source(client, source, _plan(arguments, source.live), results, spool)
        print(*summary.lines(), sep="\n")
        if arguments.out is not None:
            count = write_video(annotated(source, results, spool), arguments.out, source.rate)
            print(f"wrote {count} frames to {arguments.out}")


def _plan(arguments: StreamArguments, live: bool) -> StreamPlan:
    options = Options(
        arguments.score_threshold, arguments.max_instances, True, arguments.model_name, arguments.model_version
    )
    policy = arguments.policy or ("newest" if live or arguments.pace == "source" else "every")
    stream = StreamOptions(
        DropPolicy(policy), arguments.queue_length, arguments.max_age_ms, arguments.priority, arguments.track
    )
    return StreamPlan(arguments.pace == "source", arguments.jpeg_quality, options, stream, arguments.in_flight)
