"""``bench engine``: networks and engines against each other, interleaved, with every sample kept."""

import tempfile
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any

import numpy as np
import tyro
from numpy.typing import NDArray

from bench.frames import load_frames, store_frames
from bench.graphs import GraphWriter, write_graphs
from bench.machine import Watch
from bench.report import Document, aligned, document, emit, prepare_out, ratio_text
from bench.rounds import Course, Entrant, Found, Plan, frame_numbers, measure, warm_up
from bench.runners import stacked
from bench.samples import LEAST, paired_ratio, totals
from bench.subjects import (
    RowsName,
    Subject,
    graph_file,
    input_size_hw,
    parse_subjects,
    score_threshold,
    source_sha256,
    those_that_run,
)
from bench.worker import Worker, answer_frames
from scene.errors import ConfigurationError, require
from serve.settings import usable_cpus
from streetmask.command_line import INTERRUPTED

STAGES = ("network", "nms", "masks")
"""What lies between a prepared image and its masks."""

JPEG_QUALITY = 90


@dataclass(frozen=True)
class EngineArguments:
    """Time networks on engines against each other: one call of each a round, in random order, on the same frames."""

    targets: Annotated[tuple[str, ...], tyro.conf.Positional]
    """Model folders, checkpoint files, or presets' names, whose weights are then seeded by name."""
    engines: tuple[str, ...] = ("onnxruntime", "torch")
    """Engines to run each on: onnxruntime, openvino, onnxruntime-cuda, onnxruntime-tensorrt, tensorrt, tensorrt-rtx,
    torch, torch-plain or torch-compile; in float32, or with -bfloat16, -float16 or -int8 behind."""
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
    decode: bool = False
    """Show each frame as a JPEG of quality 90 in memory, whose decoding is timed, too."""
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
    subjects, left_out = those_that_run(subjects)
    frames = load_frames(arguments.frames, arguments.frame_count, arguments.size)
    watch, found, splits = Watch(common.device), Found(left_out=left_out), dict[str, dict[str, float]]()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        try:
            path = store_frames(frames, Path(folder), JPEG_QUALITY if arguments.decode else None)
            subjects, errors = write_graphs(subjects, GraphWriter(Path(folder) / "graphs"))
            found.errors |= errors
            plan = Plan(arguments.rounds, len(frames), arguments.seed, warm_up)
            entrants = [Entrant(each.name, each.batch, partial(start, each, path)) for each in subjects]
            measure(entrants, plan, watch, found)
            splits = _splits(subjects, frames, found)
        except KeyboardInterrupt:
            found.stopped = True
    report = _report(subjects, frames, arguments, watch, found, splits)
    print(*lines(report), sep="\n")
    emit(report, arguments.out)
    return INTERRUPTED if found.stopped else int(not found.courses)


def lines(report: Document) -> list[str]:
    """The report as a table for people: milliseconds a frame, and the ratio to the base; then what was left out."""
    heads = ["subject", "total", "p95", "max", "decode", "prepare", "graph", "network", "nms", "masks", "paste"]
    heads = [head for head in heads if head != "decode" or report["settings"]["decode"]]
    rows = [[*heads, "to base", "graph to base"]]
    for name, subject in report["subjects"].items():
        if "ratio_to_base" not in subject:
            continue
        a_frame = subject["summary_ms_a_frame"]
        stages = {**{stage: row["median"] for stage, row in a_frame.items()}, **subject.get("graph_split_ms", {})}
        rows.append(
            [name, *(f"{a_frame['total'][key]:.1f}" for key in ("median", "p95", "max"))]
            + [f"{stages[stage]:.1f}" if stage in stages else "" for stage in heads[4:]]
            + [ratio_text(subject[key]) for key in ("ratio_to_base", "graph_ratio_to_base")]
        )
    left_out = [f"not measured: {name}: {reason}" for name, reason in report["left_out"].items()]
    return ["milliseconds a frame (median; total also p95 and maximum)", *aligned(rows), *left_out]


def start(subject: Subject, path: Path) -> Worker:
    """A process that answers the frames that are stored there."""
    return Worker(subject.name, answer_frames, subject, path)


def subject_report(subject: Subject, found: Found, base: str) -> dict[str, Any]:
    """What was measured of one subject, and its ratios to the base, of the whole and of image to masks alone."""
    course, loaded, ended = found.courses[subject.name], found.loaded[subject.name], found.ended.get(subject.name)
    samples_ms = course.milliseconds()
    a_frame = _a_frame(course)
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
    if len(course.samples) >= LEAST:
        base_frame = _a_frame(found.courses[base])
        report["ratio_to_base"] = asdict(paired_ratio(a_frame["total"], base_frame["total"]))
        report["graph_ratio_to_base"] = asdict(paired_ratio(a_frame["graph"], base_frame["graph"]))
    return report


def base_of(asked: str, found: Found) -> str:
    """The subject that others are compared to: the one that was asked for, or the first that was measured."""
    return asked if asked in found.courses else next(iter(found.courses), "")


def _a_frame(course: Course) -> dict[str, list[float]]:
    """Milliseconds a frame of every sample by stage; ``graph`` is network, NMS and masks together for torch, too."""
    rows = {stage: [value / course.batch for value in values] for stage, values in course.milliseconds().items()}
    if "network" in rows:
        rows["graph"] = [sum(parts) for parts in zip(*(rows[stage] for stage in STAGES), strict=True)]
    return rows


def _splits(subjects: list[Subject], frames: NDArray[np.uint8], found: Found) -> dict[str, dict[str, float]]:
    """How every fused graph's time on a CPU divides, where the package that reads graphs is installed."""
    splits: dict[str, dict[str, float]] = {}
    if found.stopped or find_spec("onnx") is None:
        return splits
    for subject in subjects:
        if subject.name not in found.courses or subject.named.runtime not in ("onnxruntime", "openvino"):
            continue
        size_hw = input_size_hw(subject)
        batches = [
            stacked([frames[number] for number in frame_numbers(first, subject.batch, len(frames))], size_hw)
            for first in range(len(frames))
        ]
        splits[subject.name] = _split(subject, batches)
    return splits


def _split(subject: Subject, batches: list[NDArray[np.uint8]]) -> dict[str, float]:
    path, threads, least_score = graph_file(subject), subject.threads, score_threshold(subject)
    assert path is not None
    if subject.named.runtime == "openvino":
        from bench.openvino_split import openvino_split  # noqa: PLC0415 - each engine has its own package

        return openvino_split(path, batches, threads, subject.named.precision, least_score)
    from bench.graph_split import graph_split  # noqa: PLC0415 - needs onnx

    return graph_split(path, batches, threads, least_score)


def _report(
    subjects: list[Subject],
    frames: NDArray[np.uint8],
    arguments: EngineArguments,
    watch: Watch,
    found: Found,
    splits: dict[str, dict[str, float]],
) -> Document:
    measured = [subject for subject in subjects if subject.name in found.courses]
    base = base_of(arguments.base, found)
    settings = {
        "rounds": arguments.rounds,
        "frames": arguments.frames or "generated",
        "frame_size": [frames.shape[2], frames.shape[1]],
        "frame_count": len(frames),
        "instances": arguments.instances,
        "decode": arguments.decode,
        "threads": arguments.threads or usable_cpus(),
        "device": arguments.device,
        "seed": arguments.seed,
    }
    rows = {subject.name: subject_report(subject, found, base) for subject in measured}
    for name, split in splits.items():
        graph_ms = rows[name]["summary_ms_a_frame"]["graph"].get("median", 0.0)
        rows[name]["graph_split_ms"] = {stage: share * graph_ms for stage, share in split.items()}
    partial, left_out = found.stopped or bool(found.errors), found.left_out
    return document(
        "engine", watch, settings, partial, base=base, subjects=rows, left_out=left_out, errors=found.errors
    )


def _check_base(subjects: list[Subject], asked: str) -> None:
    names = [subject.name for subject in subjects]
    if asked and asked not in names:
        raise ConfigurationError("base", f"expected one of {', '.join(names)}, but {asked} came")


def _mean(values: list[float]) -> float | None:
    return round(fmean(values), 2) if values else None
