"""``bench track``: whether objects keep their ids over the frames of generated clips, and how much answers flicker."""

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import tyro

from bench.machine import Watch
from bench.report import Document, aligned, document, emit, prepare_out
from bench.samples import summary
from bench.track_scores import Clip, Seen, detection_flicker, identity, mask_flicker, perfect
from scene.artifact import Precision
from scene.errors import require
from scene.image import parse_size
from serve.engines import EngineName
from serve.model import Model
from serve.settings import usable_cpus
from serve.tracking import Tracker
from streetmask.command_line import INTERRUPTED
from streetmask.loading import load
from training.data.synthetic import SceneSettings, clip

SEED = 50_000
"""Of the first clip. The tracker was chosen on others."""

DROPS: dict[str, tuple[bool, ...]] = {
    "none": (True,),
    "every second": (True, False),
    "every third": (True, True, False),
    "two of three": (True, False, False),
}
"""Which frames of a clip never arrive: what is shown and what is not, over and over again."""


@dataclass(frozen=True)
class TrackArguments:
    """Drive generated clips through a model and a tracker; compare ids and masks with the true ones."""

    folder: Annotated[Path, tyro.conf.Positional]
    """Model folder NAME/VERSION."""
    clips: int = 4
    """Clips, each through a street of its own."""
    seconds: float = 6.0
    """Length of each."""
    fps: float = 12.0
    """Frames a second."""
    size: str = "1280x720"
    """Frames' WIDTHxHEIGHT."""
    seed: int = SEED
    """Of the first clip; the others' follow."""
    engine: EngineName | None = None
    """What runs the network; the fastest that can be trusted without it."""
    precision: Precision | None = None
    """What that computes in; the fastest that can be trusted without it."""
    threads: int = 0
    """CPU threads; 0 for as many as this process may use."""
    out: Path | None = None
    """File for the whole document with every sample."""

    def __post_init__(self) -> None:
        require("clips", 1 <= self.clips <= 1000, "1 to 1000", self.clips)
        require("seconds", 0 < self.seconds <= 600, "more than 0 and at most 600", self.seconds)
        require("fps", 0 < self.fps <= 120, "more than 0 and at most 120", self.fps)
        require("threads", 0 <= self.threads <= 1024, "0 to 1024", self.threads)
        require("seed", self.seed >= 0, "0 or more", self.seed)
        parse_size(self.size)


def track(arguments: TrackArguments) -> int:
    """Measure, print a table, and end in one line of JSON; the exit status."""
    prepare_out(arguments.out)
    Tracker()  # says that it is not installed before anything is measured
    model = load(arguments.folder, None, arguments.threads or usable_cpus(), arguments.precision, arguments.engine)
    watch, stopped = Watch(), False
    seen: dict[str, Clip] = {}
    try:
        for seed in range(arguments.seed, arguments.seed + arguments.clips):
            seen[str(seed)] = list(watched(model, seed, arguments))
            print(f"clip {seed}: {len(seen[str(seed)])} frames", flush=True)
    except KeyboardInterrupt:
        if not seen:
            raise
        stopped = True
    settings = {key: str(value) if isinstance(value, Path) else value for key, value in asdict(arguments).items()}
    settings |= {"runs_on": model.runs_on}
    found = document("track", watch, settings, stopped, errors=[], **scores(seen))
    print(*lines(found), sep="\n")
    emit(found, arguments.out)
    return INTERRUPTED if stopped else 0


def watched(model: Model, seed: int, arguments: TrackArguments) -> Iterator[Seen]:
    """A clip's frames with the model's answers."""
    settings = SceneSettings(*parse_size(arguments.size))
    for number, scene in enumerate(clip(seed, arguments.seconds, arguments.fps, settings)):
        yield Seen.of(number / arguments.fps, scene.instances, model.segment(scene.image))


def scores(clips: dict[str, Clip]) -> dict[str, Any]:
    """Identity by which frames are dropped and by clip, with the tracker's ids and with perfect ones; flicker of the
    answers and of what of them has an id; and the tracker's own time for a frame.
    """
    spent_ms: list[float] = []
    drops: dict[str, Any] = {}
    for name, shown in DROPS.items():
        arrived = {seed: _arrived(frames, shown) for seed, frames in clips.items()}
        tracked = {seed: followed(frames, spent_ms) for seed, frames in arrived.items()}
        best = identity({seed: perfect(frames) for seed, frames in arrived.items()})
        drops[name] = {
            seed: row | {"idf1_of_perfect_ids": best[seed]["idf1"]} for seed, row in identity(tracked).items()
        }
    every = {seed: followed(frames, []) for seed, frames in clips.items()}
    return {
        "identity": drops,
        "flicker": {seed: _flicker([frames]) for seed, frames in every.items()} | {"all": _flicker([*every.values()])},
        "tracker_ms": summary(spent_ms),
        "samples_tracker_ms": spent_ms,
    }


def followed(frames: Clip, spent_ms: list[float]) -> list[Seen]:
    """The frames with a tracker's ids; its milliseconds for each are added to ``spent_ms``."""
    tracker, named = Tracker(), []
    for frame in frames:
        started_s = time.perf_counter()
        answer = tracker.update(frame.answer, frame.time_s)
        spent_ms.append((time.perf_counter() - started_s) * 1000)
        named.append(replace(frame, answer=answer))
    return named


def lines(found: Document) -> list[str]:
    """Tables for people: identity by dropped frames, and flicker by size."""
    rows = [["dropped frames", "IDF1", "of perfect ids", "MOTA", "switches", "a minute and object", "fragmentations"]]
    for name, clips in found["identity"].items():
        row = clips["all"]
        percents = [_percent(row[key]) for key in ("idf1", "idf1_of_perfect_ids", "mota")]
        often = "-" if row["switches_a_minute"] is None else f"{row['switches_a_minute']:.1f}"
        rows.append([name, *percents, str(row["switches"]), often, str(row["fragmentations"])])
    sizes = [["objects", "missing between two", "gone", "the same with an id", "change of mask", "of the true mask"]]
    flicker = found["flicker"]["all"]
    for size, mask in flicker["masks"].items():
        answered, tracked = flicker["answered"][size], flicker["tracked"][size]
        shares = [_share(answered, "missing"), _share(answered, "gone"), _share(tracked, "missing")]
        sizes.append([size, *shares, _percent(mask["change"]), _percent(mask["true_change"])])
    spent = found["tracker_ms"]
    took = (
        f"tracker: {spent['median']:.2f} ms a frame, {spent['p99']:.2f} at most in 99 of 100" if "p99" in spent else ""
    )
    return [*aligned(rows), "", *aligned(sizes), *filter(None, [took])]


def _arrived(frames: Clip, shown: tuple[bool, ...]) -> list[Seen]:
    return [frame for number, frame in enumerate(frames) if shown[number % len(shown)]]


def _flicker(clips: list[Clip]) -> dict[str, Any]:
    return {
        "answered": detection_flicker(clips),
        "tracked": detection_flicker([[frame.tracked() for frame in frames] for frames in clips]),
        "masks": mask_flicker(clips),
    }


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def _share(counts: dict[str, int], key: str) -> str:
    return f"{100 * counts[key] / counts['between']:.1f} of {counts['between']}" if counts["between"] else "-"
