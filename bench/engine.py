"""``bench engine``: networks and engines against each other, interleaved, with every sample kept."""

import random
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, median
from typing import Annotated, Any, Protocol

import numpy as np
import tyro
from numpy.typing import NDArray

from bench.frames import load_frames
from bench.machine import Watch
from bench.report import Document, document, emit
from bench.runners import stacked
from bench.samples import paired_ratio, summary, totals
from bench.subjects import EngineName, Subject, graph_file, input_size_hw, parse_subjects, write_graphs
from bench.worker import Ended, Loaded, Sample, Worker
from scene.errors import ConfigurationError
from serve.settings import usable_cpus

_STEADY_CALLS = 5
_STEADY = 0.05
_MOST_WARMUP_CALLS = 40


@dataclass(frozen=True)
class EngineArguments:
    """Time networks on engines against each other: one call of each a round, in random order, on the same frames."""

    targets: Annotated[tuple[str, ...], tyro.conf.Positional]
    """Model folders, checkpoint files, or presets' names, whose weights are then seeded by name."""
    engines: tuple[EngineName, ...] = ("onnxruntime", "torch")
    """Engines to run each on."""
    batch: tuple[int, ...] = (1,)
    """Batch sizes."""
    base: str = ""
    """Subject that the others are compared to, by its name in the report; the first one without it."""
    rounds: int = 100
    """Calls of each subject that are kept."""
    instances: int | None = None
    """Instances that enter masks and pasting, forced; those above the drawing thresholds without it. A model folder's
    graph always assembles all its rows, and only pasting is forced."""
    frames: str | None = None
    """Video or folder of pictures to show; generated streets without it."""
    frame_count: int = 24
    """Different frames that are shown in turn."""
    size: str | None = None
    """Frames' WIDTHxHEIGHT; their own, or 1280x720 of generated ones, without it."""
    device: str = "cpu"
    """cpu, or cuda for the torch engines."""
    threads: int = 0
    """CPU threads of each engine; 0 for as many as this process may use."""
    seed: int = 1
    """Seed of the order."""
    out: Path | None = None
    """File for the whole document with every sample."""

    def __post_init__(self) -> None:
        _require("targets", bool(self.targets), "one or more", self.targets)
        _require("engines", bool(self.engines), "one or more", self.engines)
        _require("batch", bool(self.batch) and min(self.batch) >= 1, "1 or more", self.batch)
        _require("rounds", self.rounds >= 2, "2 or more", self.rounds)
        _require("frame_count", self.frame_count >= 1, "1 or more", self.frame_count)
        _require("instances", self.instances is None or 0 <= self.instances <= 1000, "0 to 1000", self.instances)
        _require("threads", 0 <= self.threads <= 1024, "0 to 1024", self.threads)


def device_of(name: str) -> str:
    """The device of that name; a GPU that is asked for must be there before anything is loaded (``DataError``)."""
    if name == "cpu":
        return name
    from training.loop import pick_device  # noqa: PLC0415 - needs torch

    return str(pick_device(name))


class Player(Protocol):
    """What a round asks: an answer to the frames of these numbers, timed."""

    def play(self, frames: tuple[int, ...]) -> Sample:
        """Answer once."""
        ...


@dataclass
class Course:
    """One subject's samples, as they come."""

    batch: int
    warmup_calls: int = 0
    samples: list[Sample] = field(default_factory=list)

    def milliseconds(self) -> dict[str, list[float]]:
        """Every sample: ``total`` and each stage."""
        stages = dict.fromkeys(stage for sample in self.samples for stage in sample.stages_ms)
        rows = {stage: [round(sample.stages_ms.get(stage, 0.0), 4) for sample in self.samples] for stage in stages}
        return {"total": [round(sample.total_ms, 4) for sample in self.samples], **rows}


def engine(arguments: EngineArguments) -> None:
    """Run the measurement, print its tables, and end in one line of JSON."""
    common = Subject(
        "", "onnxruntime", 1, device_of(arguments.device), arguments.threads or usable_cpus(), arguments.instances
    )
    subjects = parse_subjects(arguments.targets, arguments.engines, arguments.batch, common)
    base = _base(subjects, arguments.base)
    frames = load_frames(arguments.frames, arguments.frame_count, arguments.size)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        path = Path(folder) / "frames.npy"
        np.save(path, frames)
        subjects = write_graphs(subjects, Path(folder) / "graphs")
        watch = Watch()
        found = _measure(subjects, path, len(frames), arguments, watch)
        splits = {} if found.partial else _splits(subjects, frames)
    rows = {subject.name: _subject_report(subject, found, base, splits) for subject in subjects}
    settings = {
        "rounds": arguments.rounds,
        "frames": arguments.frames or "generated",
        "frame_size": [frames.shape[2], frames.shape[1]],
        "frame_count": len(frames),
        "instances": arguments.instances,
        "threads": common.threads,
        "device": common.device,
        "seed": arguments.seed,
    }
    report = document("engine", watch, settings, found.partial, base=base, subjects=rows)
    print(*lines(report), sep="\n")
    emit(report, arguments.out)


@dataclass
class _Found:
    courses: dict[str, Course]
    loaded: dict[str, Loaded] = field(default_factory=dict)
    ended: dict[str, Ended] = field(default_factory=dict)
    device_peak_bytes: dict[str, int | None] = field(default_factory=dict)
    partial: bool = False


def interleave(
    players: Mapping[str, Player], courses: Mapping[str, Course], rounds: int, frame_count: int, rng: random.Random
) -> None:
    """Add one sample of every player a round, in random order, all on the same frame: what drifts hits all alike."""
    for number in range(rounds):
        samples = {}
        for name in rng.sample(sorted(players), len(players)):
            samples[name] = players[name].play(_numbers(number, courses[name].batch, frame_count))
        for name, sample in samples.items():  # a round that Ctrl-C cuts off is left out whole: samples stay paired
            courses[name].samples.append(sample)


def warm_up(play: Callable[[int], float]) -> int:
    """Call until the median of five calls is within a twentieth of that of the five before; the number of calls.

    ``play`` takes the call's number and returns its milliseconds. Ends after 40 calls in any case.
    """
    spent: list[float] = []
    while len(spent) < _MOST_WARMUP_CALLS:
        spent.append(play(len(spent)))
        last, before = spent[-_STEADY_CALLS:], spent[-2 * _STEADY_CALLS : -_STEADY_CALLS]
        if len(before) == _STEADY_CALLS and abs(median(last) / median(before) - 1) < _STEADY:
            break
    return len(spent)


def lines(report: Document) -> list[str]:
    """The report as a table for people: milliseconds a frame, and the ratio to the base."""
    heads = ["subject", "total", "p95", "max", "prepare", "graph", "network", "nms", "masks", "paste", "to base"]
    rows = [heads]
    for name, subject in report["subjects"].items():
        if not subject["samples_ms"]["total"]:
            continue
        a_frame = subject["summary_ms_a_frame"]
        stages = {**{stage: row["median"] for stage, row in a_frame.items()}, **subject.get("graph_split_ms", {})}
        rows.append(
            [name, *(f"{a_frame['total'][key]:.1f}" for key in ("median", "p95", "max"))]
            + [f"{stages[stage]:.1f}" if stage in stages else "" for stage in heads[4:10]]
            + [_ratio_text(subject["ratio_to_base"])]
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(heads))]
    text = ["  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return ["milliseconds a frame (median; total also p95 and maximum)", *text]


def _measure(subjects: list[Subject], path: Path, frame_count: int, arguments: EngineArguments, watch: Watch) -> _Found:
    found = _Found({subject.name: Course(subject.batch) for subject in subjects})
    with _workers(subjects, path, found) as workers:
        try:
            for name, worker in workers.items():
                course = found.courses[name]
                course.warmup_calls = warm_up(
                    lambda number, worker=worker, course=course: (  # type: ignore[misc]  # bound where it is made
                        worker.play(_numbers(number, course.batch, frame_count)).total_ms
                    )
                )
            interleave(workers, found.courses, arguments.rounds, frame_count, random.Random(arguments.seed))
        except KeyboardInterrupt:
            found.partial = True
        for name, worker in workers.items():
            found.device_peak_bytes[name] = worker.device_peak_bytes
            if not found.partial:
                found.ended[name] = worker.end()
                watch.add_process(found.ended[name].cpu_s)
    return found


@contextmanager
def _workers(subjects: Sequence[Subject], path: Path, found: _Found) -> Iterator[dict[str, Worker]]:
    """One loaded after the other, so that none's loading time is another's."""
    workers: dict[str, Worker] = {}
    try:
        for subject in subjects:
            print(f"loading {subject.name}", flush=True)
            workers[subject.name] = Worker(subject, path)
            found.loaded[subject.name] = workers[subject.name].loaded()
        yield workers
    finally:
        for worker in workers.values():
            worker.kill()


def _subject_report(subject: Subject, found: _Found, base: str, splits: dict[str, dict[str, float]]) -> dict[str, Any]:
    course, loaded, ended = found.courses[subject.name], found.loaded[subject.name], found.ended.get(subject.name)
    samples_ms = course.milliseconds()
    a_frame = {stage: [value / subject.batch for value in values] for stage, values in samples_ms.items()}
    report: dict[str, Any] = {
        "target": subject.target,
        "engine": subject.engine,
        "batch": subject.batch,
        "load_ms": round(loaded.load_ms, 1),
        "first_call_ms": round(loaded.first_call_ms, 1),
        "warmup_calls": course.warmup_calls,
        "rows_a_frame": _mean([sample.rows / subject.batch for sample in course.samples]),
        "pasted_a_frame": _mean([sample.pasted / subject.batch for sample in course.samples]),
        "host_peak_bytes": ended.host_peak_bytes if ended else None,
        "device_peak_bytes": found.device_peak_bytes[subject.name],
        "summary_ms_a_frame": totals(a_frame),
        "samples_ms": samples_ms,
    }
    if subject.name in splits:
        graph_ms = summary(a_frame["graph"])["median"]
        report["graph_split_ms"] = {stage: share * graph_ms for stage, share in splits[subject.name].items()}
    if course.samples:
        base_course = found.courses[base]
        base_ms = [value / base_course.batch for value in base_course.milliseconds()["total"]]
        report["ratio_to_base"] = paired_ratio(a_frame["total"], base_ms).__dict__
    return report


def _splits(subjects: list[Subject], frames: NDArray[np.uint8]) -> dict[str, dict[str, float]]:
    """Of every fused graph, where the package that reads graphs is installed."""
    try:
        from bench.graph_split import graph_split  # noqa: PLC0415 - needs onnx
    except ModuleNotFoundError:
        return {}
    splits = {}
    for subject in subjects:
        path = graph_file(subject)
        if path is not None:
            batch = stacked(list(frames[: subject.batch]), input_size_hw(subject))
            splits[subject.name] = graph_split(path, batch, subject.threads)
    return splits


def _base(subjects: list[Subject], asked: str) -> str:
    names = [subject.name for subject in subjects]
    if asked and asked not in names:
        raise ConfigurationError("base", f"expected one of {', '.join(names)}, but {asked} came")
    return asked or names[0]


def _numbers(number: int, batch: int, frame_count: int) -> tuple[int, ...]:
    """The frames of a round: the next ones, round and round."""
    return tuple((number * batch + place) % frame_count for place in range(batch))


def _mean(values: list[float]) -> float | None:
    return round(fmean(values), 2) if values else None


def _ratio_text(ratio: dict[str, float]) -> str:
    return f"{ratio['ratio']:.3f} ({ratio['low']:.3f} to {ratio['high']:.3f})"


def _require(name: str, allowed: bool, expected: str, came: object) -> None:
    if not allowed:
        raise ConfigurationError(name, f"expected {expected}, but {came!r} came")
