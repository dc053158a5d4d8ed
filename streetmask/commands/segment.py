"""``streetmask segment``: pictures, videos or a camera through a model in this process, without a server."""

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import tyro

from scene.artifact import Precision
from scene.errors import ConfigurationError
from scene.image import RgbImage
from serve.answer import Answer, Options
from serve.engines import EngineName
from serve.settings import usable_cpus
from streetmask.drawing import painter_for
from streetmask.loading import load
from streetmask.picture import write_picture
from streetmask.recording import FrameRecord, RecordWriter
from streetmask.sources import Pictures, Source, open_source
from streetmask.video import VideoWriter


@dataclass(frozen=True)
class SegmentArguments:
    """Find the objects of pictures or videos; prints a line for each frame."""

    input: tyro.conf.Positional[tuple[str, ...]]
    """Pictures, folders, videos, a camera's index, or rtsp:// addresses."""
    model: Path = Path("models/street-nano/1")
    """Model folder, checkpoint, or published weights (.pth, .safetensors)."""
    preset: str | None = None
    """Network of weights that leave a choice, such as yolact-im700."""
    out: Path | None = None
    """Folder for annotated pictures or videos, and for results.jsonl."""
    score_threshold: float | None = None
    """Leave out instances below this score; the model's own thresholds without it."""
    max_instances: int | None = None
    """At most so many instances a frame."""
    engine: EngineName | None = None
    """What runs a model folder; without it whatever answers fastest here."""
    precision: Precision | None = None
    """What a model folder computes in; without it the fastest that verification found to keep its limits."""
    threads: int = field(default_factory=usable_cpus)
    """CPU threads."""

    def __post_init__(self) -> None:
        if not self.input:
            raise ConfigurationError("input", "expected a picture, folder, video or camera, but nothing came")


def segment(arguments: SegmentArguments) -> None:
    """Answer every frame of every input, in order."""
    options = Options(arguments.score_threshold, arguments.max_instances)
    sources = {text: open_source(text) for text in arguments.input}
    model = load(arguments.model, arguments.preset, arguments.threads, arguments.precision, arguments.engine)
    print(f"runs on {model.runs_on}", file=sys.stderr, flush=True)  # a frame a line is what others read
    with ExitStack() as stack:
        writer = stack.enter_context(RecordWriter(arguments.out / "results.jsonl")) if arguments.out else None
        for number, (label, image, sink) in enumerate(_frames(sources, arguments.out, stack)):
            answer = model.segment(image, options)
            print(f"{label}: {in_words(answer)} ({answer.times.total_ms:.0f} ms)", flush=True)
            if writer is not None and sink is not None:
                writer.write(FrameRecord(number, "answered", answer.times.total_ms, answer=answer))
                sink.write(painter_for(answer.image_size_hw).paint(image, answer))


def in_words(answer: Answer) -> str:
    """How many of each class, such as ``3 car, 1 person``."""
    counts = Counter(instance.class_name for instance in answer.instances)
    return ", ".join(f"{count} {name}" for name, count in counts.most_common()) or "nothing"


class PictureFile:
    """A PNG file for one annotated picture."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, image: RgbImage) -> None:
        """Write the picture."""
        write_picture(self._path, image)


class _Names:
    """File names, each given once, though pictures of two folders may share one."""

    def __init__(self) -> None:
        self._given: Counter[str] = Counter()

    def new(self, stem: str, suffix: str) -> str:
        self._given[stem] += 1
        return f"{stem}{suffix}" if self._given[stem] == 1 else f"{stem}-{self._given[stem]}{suffix}"


Sink = VideoWriter | PictureFile


def _frames(
    sources: dict[str, Source], out: Path | None, stack: ExitStack
) -> Iterator[tuple[str, RgbImage, Sink | None]]:
    """Every frame with its name and where its drawing goes."""
    names = _Names()
    for text, source in sources.items():
        if isinstance(source, Pictures):
            for path, image in zip(source.paths, source, strict=True):
                yield str(path), image, PictureFile(out / names.new(path.stem, ".png")) if out else None
        else:
            name = names.new(Path(text).stem.replace(":", "_"), ".mp4")
            video = stack.enter_context(VideoWriter(out / name, source.rate)) if out else None
            for number, image in enumerate(source):
                yield f"{text} frame {number}", image, video
