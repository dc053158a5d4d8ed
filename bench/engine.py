"""``bench engine``: networks and engines against each other, interleaved, with every sample kept."""

import tempfile
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any

import numpy as np
import tyro
from numpy.typing import NDArray

from bench.frames import load_frames
from bench.machine import Watch
from bench.report import Document, aligned, document, emit, prepare_out, ratio_text
from bench.rounds import Entrant, Found, Plan, frame_numbers, measure, warm_up
from bench.runners import stacked
from bench.samples import LEAST, paired_ratio, summary, totals
from bench.subjects import (
    EngineName,
    RowsName,
    Subject,
    graph_file,
    input_size_hw,
    parse_subjects,
    score_threshold,
    source_sha256,
    write_graphs,
)
from bench.worker import Worker, answer_frames
from scene.errors import ConfigurationError, require
from serve.settings import usable_cpus
from streetmask.command_line import INTERRUPTED


@dataclass(frozen=True)
class EngineArguments:
    """Time networks on engines against each other: one call of each a round, in random order, on the same frames."""

    targets: Annotated[tuple[str, ...], tyro.conf.Positional]
    """Model folders, checkpoint files, or presets' names, whose weights are then seeded by name."""
    engines: tuple[EngineName, ...] = ("onnxruntime", "torch")
    """Engines to run each on."""
    batch: tuple[int, ...] = (1,)
    """Batch sizes."""
    rows: tuple[RowsName, ...] = ("drawn",)
    """Of which rows a graph makes masks: drawn, those above the drawing thresholds, as the server asks; or every, as AP
    needs them. Torch makes every row's."""
    base: str = ""
    """Subject that the others are compared to, by its name in the report; the first one without it."""
    rounds: int = 100
    """Calls of each subject that are kept."""
    instances: int | None = None
    """Instances that enter masks and pasting, forced; all rows and those above the drawing thresholds without it. A
    graph is then written anew from a model folder's checkpoint, as the folder's own has a fixed number of rows."""
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
        require("targets", bool(self.targets), "one or more", self.targets)
        require("engines", bool(self.engines), "one or more", self.engines)
        require("batch", bool(self.batch) and min(self.batch) >= 1, "1 or more", self.batch)
        require("rows", bool(self.rows), "one or more", self.rows)
        require("rounds", self.rounds >= LEAST, f"{LEAST} or more", self.rounds)
        require("frame_count", self.frame_count >= 1, "1 or more", self.frame_count)
        require("instances", self.instances is None or 1 <= self.instances <= 1000, "1 to 1000", self.instances)
        require("threads", 0 <= self.threads <= 1024, "0 to 1024", self.threads)


def device_of(name: str) -> str:
    """The device of that name; a GPU that is asked for must be there before anything is loaded (``DataError``)."""
    if name == "cpu":
        return name
    from training.loop import pick_device  # noqa: PLC0415 - needs torch

    return str(pick_device(name))


def engine(arguments: EngineArguments) -> int:
    """Run the measurement, print its tables, and end in one line of JSON; the exit status."""
    common = Subject("", "onnxruntime", 1, device_of(arguments.device), arguments.threads or usable_cpus())
    common = replace(common, instances=arguments.instances)
    subjects = parse_subjects(arguments.targets, arguments.engines, arguments.batch, common, arguments.rows)
    _check_base(subjects, arguments.base)
    prepare_out(arguments.out)
    frames = load_frames(arguments.frames, arguments.frame_count, arguments.size)
    watch, found, splits = Watch(common.device), Found(), dict[str, dict[str, float]]()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        try:
            path = Path(folder) / "frames.npy"
            np.save(path, frames)
            subjects = write_graphs(subjects, Path(folder) / "graphs")
            plan = Plan(arguments.rounds, len(frames), arguments.seed, warm_up)
            entrants = [Entrant(each.name, each.batch, partial(_start, each, path)) for each in subjects]
            measure(entrants, plan, watch, found)
            splits = _splits(subjects, frames, found)
        except KeyboardInterrupt:
            found.stopped = True
    report = _report(subjects, frames, arguments, watch, found, splits)
    print(*lines(report), sep="\n")
    emit(report, arguments.out)
    return INTERRUPTED if found.stopped else int(not found.courses)


def lines(report: Document) -> list[str]:
    """The report as a table for people: milliseconds a frame, and the ratio to the base."""
    heads = ["subject", "total", "p95", "max", "prepare", "graph", "network", "nms", "masks", "paste", "to base"]
    rows = [heads]
    for name, subject in report["subjects"].items():
        if "ratio_to_base" not in subject:
            continue
        a_frame = subject["summary_ms_a_frame"]
        stages = {**{stage: row["median"] for stage, row in a_frame.items()}, **subject.get("graph_split_ms", {})}
        rows.append(
            [name, *(f"{a_frame['total'][key]:.1f}" for key in ("median", "p95", "max"))]
            + [f"{stages[stage]:.1f}" if stage in stages else "" for stage in heads[4:10]]
            + [ratio_text(subject["ratio_to_base"])]
        )
    return ["milliseconds a frame (median; total also p95 and maximum)", *aligned(rows)]


def _start(subject: Subject, path: Path) -> Worker:
    return Worker(subject.name, answer_frames, subject, path)


def _splits(subjects: list[Subject], frames: NDArray[np.uint8], found: Found) -> dict[str, dict[str, float]]:
    """How every fused graph's time divides, where the package that reads graphs is installed."""
    splits: dict[str, dict[str, float]] = {}
    if found.stopped:
        return splits
    try:
        from bench.graph_split import graph_split  # noqa: PLC0415 - needs onnx
    except ModuleNotFoundError:
        return splits
    for subject in subjects:
        path = graph_file(subject) if subject.name in found.courses else None
        if path is not None:
            size_hw = input_size_hw(subject)
            batches = [
                stacked([frames[number] for number in frame_numbers(start, subject.batch, len(frames))], size_hw)
                for start in range(len(frames))
            ]
            splits[subject.name] = graph_split(path, batches, subject.threads, score_threshold(subject))
    return splits


def _report(
    subjects: list[Subject],
    frames: NDArray[np.uint8],
    arguments: EngineArguments,
    watch: Watch,
    found: Found,
    splits: dict[str, dict[str, float]],
) -> Document:
    measured = [subject for subject in subjects if subject.name in found.courses]
    base = arguments.base if arguments.base in found.courses else next(iter(found.courses), "")
    settings = {
        "rounds": arguments.rounds,
        "frames": arguments.frames or "generated",
        "frame_size": [frames.shape[2], frames.shape[1]],
        "frame_count": len(frames),
        "instances": arguments.instances,
        "threads": arguments.threads or usable_cpus(),
        "device": arguments.device,
        "seed": arguments.seed,
    }
    rows = {subject.name: _subject_report(subject, found, base, splits.get(subject.name, {})) for subject in measured}
    partial = found.stopped or bool(found.errors)
    return document("engine", watch, settings, partial, base=base, subjects=rows, errors=found.errors)


def _subject_report(subject: Subject, found: Found, base: str, split: dict[str, float]) -> dict[str, Any]:
    course, loaded, ended = found.courses[subject.name], found.loaded[subject.name], found.ended.get(subject.name)
    samples_ms = course.milliseconds()
    a_frame = {stage: [value / subject.batch for value in values] for stage, values in samples_ms.items()}
    report: dict[str, Any] = {
        "target": subject.target,
        "engine": subject.engine,
        "batch": subject.batch,
        "device": subject.device,
        "source_sha256": source_sha256(subject),
        "load_ms": round(loaded.load_ms, 1),
        "first_call_ms": round(loaded.first_call_ms, 1),
        "warmup_calls": course.warmup_calls,
        "rows_a_frame": _mean([sample.rows / subject.batch for sample in course.samples]),
        "pasted_a_frame": _mean([sample.pasted / subject.batch for sample in course.samples]),
        "host_peak_bytes": ended.host_peak_bytes if ended else None,
        "device_peak_bytes": ended.device_peak_bytes if ended else None,
        "summary_ms_a_frame": totals(a_frame),
        "samples_ms": samples_ms,
    }
    if split:
        graph_ms = summary(a_frame["graph"])["median"]
        report["graph_split_ms"] = {stage: share * graph_ms for stage, share in split.items()}
    if len(course.samples) >= LEAST:
        base_course = found.courses[base]
        base_ms = [value / base_course.batch for value in base_course.milliseconds()["total"]]
        report["ratio_to_base"] = asdict(paired_ratio(a_frame["total"], base_ms))
    return report


def _check_base(subjects: list[Subject], asked: str) -> None:
    names = [subject.name for subject in subjects]
    if asked and asked not in names:
        raise ConfigurationError("base", f"expected one of {', '.join(names)}, but {asked} came")


def _mean(values: list[float]) -> float | None:
    return round(fmean(values), 2) if values else None
