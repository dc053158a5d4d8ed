"""``bench train``: steps of training against each other, interleaved, and the loader that must feed them."""

import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import fmean, median
from typing import Annotated, Any, Literal, get_args, get_type_hints

import tyro

from bench.engine import device_of
from bench.frames import SEED
from bench.loader import FedRun, LoaderRun, feed_training, load_alone
from bench.machine import Watch
from bench.report import Document, document, emit, prepare_out
from bench.rounds import Course, Entrant, Found, Plan, measure
from bench.samples import LEAST, paired_ratio, summary, totals
from bench.steps import Source, TrainSubject, open_training, take_steps
from bench.subjects import require_networks
from bench.train_lines import lines
from bench.worker import Worker
from scene.errors import StreetMaskError, require
from scene.image import parse_size
from serve.settings import usable_cpus
from streetmask.command_line import INTERRUPTED
from training.data.location import locate
from training.data.synthetic import SceneSettings, write_dataset
from training.recipes import Recipe

Form = Literal[
    "float32/contiguous",
    "float32/channels_last",
    "bfloat16/contiguous",
    "bfloat16/channels_last",
    "float16/contiguous",
    "float16/channels_last",
]
"""Precision of the forward pass, and memory format of weights and maps."""


@dataclass(frozen=True)
class TrainArguments:
    """Time training: one step of each a round, in random order; then the loader alone; then both together."""

    targets: Annotated[tuple[str, ...], tyro.conf.Positional]
    """Presets' names, whose weights are then seeded by name, checkpoints, or model folders."""
    forms: tuple[Form, ...] = ("float32/contiguous", "bfloat16/channels_last")
    """Precisions of the forward pass with memory formats of weights and maps; float16 needs a GPU."""
    batch: tuple[int, ...] = (2,)
    """Pictures a step."""
    base: str = ""
    """Subject that the others are compared to, by its name in the report; the first one without it."""
    rounds: int = 10
    """Steps of each subject that are kept; 0 for the loader alone."""
    warmup: int = 2
    """Steps of each before, beside the very first."""
    data: Path | None = None
    """Data set: COCO JSON, folder with instances.json, DIR:SPLIT or DIR:NAME; generated streets without it."""
    size: str = "1024x512"
    """Generated pictures' WIDTHxHEIGHT."""
    pictures: int = 16
    """Different pictures: so many are generated, and so many augmented ones are learned from in turn."""
    workers: tuple[int, ...] = (0, 2)
    """Numbers of processes in which the loader alone is timed; 0 is the one that trains."""
    windows: int = 8
    """Turns of each loader that are kept; 0 for none."""
    window: int = 100
    """Pictures a turn."""
    fed_steps: int = 10
    """Steps of the fastest subject, fed by the last of the loaders; 0 for none."""
    device: str = "cpu"
    """cpu, cuda or cuda:N."""
    threads: int = 0
    """CPU threads of torch; 0 for as many as this process may use."""
    seed: int = 1
    """Seed of weights, pictures and order."""
    out: Path | None = None
    """File for the whole document with every sample."""

    def __post_init__(self) -> None:
        for name in ("targets", "forms"):
            require(name, bool(getattr(self, name)), "one or more", getattr(self, name))
        require("batch", bool(self.batch) and min(self.batch) >= 1, "1 or more", self.batch)
        require("workers", bool(self.workers) and min(self.workers) >= 0, "0 or more", self.workers)
        for name in ("rounds", "windows"):
            allowed = getattr(self, name) == 0 or getattr(self, name) >= LEAST
            require(name, allowed, f"{LEAST} or more, or 0", getattr(self, name))
        for name, least in (("warmup", 0), ("pictures", 1), ("window", 1), ("fed_steps", 0), ("threads", 0)):
            require(name, getattr(self, name) >= least, f"{least} or more", getattr(self, name))


def train(arguments: TrainArguments) -> int:
    """Run the measurement, print its tables, and end in one line of JSON; the exit status."""
    subjects = _subjects(arguments)
    if arguments.data is not None:
        locate(arguments.data)  # says what is wrong with it before anything is timed
    prepare_out(arguments.out)
    watch, found, loaders, fed = Watch(subjects[0].device), Found(), list[LoaderRun](), list[FedRun]()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        try:
            source = _source(arguments, Path(folder))
            if arguments.rounds:
                plan = Plan(arguments.rounds, arguments.pictures, arguments.seed, partial(_warm_up, arguments.warmup))
                measure([_entrant(each, source, arguments.pictures) for each in subjects], plan, watch, found)
            if not found.stopped:
                _load_and_feed(_fastest(subjects, found), source, arguments, loaders, fed)
        except KeyboardInterrupt:
            found.stopped = True
        except StreetMaskError as error:  # what was timed before it is kept
            found.errors["loader"] = str(error)
    report = _report(subjects, arguments, watch, found, loaders, fed)
    print(*lines(report), sep="\n")
    emit(report, arguments.out)
    return INTERRUPTED if found.stopped else int(bool(found.errors))


def _subjects(arguments: TrainArguments) -> list[TrainSubject]:
    require_networks(arguments.targets)
    known, device = get_args(get_type_hints(Recipe)["precision"]), device_of(arguments.device)
    for form in arguments.forms:
        precision = form.partition("/")[0]
        require("forms", precision in known, f"one of {', '.join(known)}", precision)
        require("forms", precision != "float16" or device != "cpu", "float32 or bfloat16 on a CPU", precision)
    subjects = [
        TrainSubject(target, precision, memory_format, batch, device, arguments.threads or usable_cpus())
        for target in arguments.targets
        for precision, memory_format in (form.split("/") for form in arguments.forms)
        for batch in arguments.batch
    ]
    names = [subject.name for subject in subjects]
    require("base", arguments.base in ("", *names), f"one of {', '.join(names)}", arguments.base)
    return subjects


def _source(arguments: TrainArguments, folder: Path) -> Source:
    """The user's pictures, or generated ones written as JPEG files."""
    if arguments.data is not None:
        return Source(arguments.data, arguments.seed)
    print(f"generating {arguments.pictures} pictures", flush=True)
    settings = SceneSettings(*parse_size(arguments.size))
    return Source(write_dataset(folder / "data", arguments.pictures, SEED, settings), arguments.seed)


def _entrant(subject: TrainSubject, source: Source, pictures: int) -> Entrant:
    return Entrant(subject.name, subject.batch, lambda: Worker(subject.name, take_steps, subject, source, pictures))


def _warm_up(calls: int, play: Callable[[int], float]) -> int:
    """So many calls: a step of a large network on a CPU takes seconds, too long to wait until all are alike."""
    for number in range(calls):
        play(number)
    return calls


def _fastest(subjects: list[TrainSubject], found: Found) -> TrainSubject:
    """That of the fewest milliseconds a picture; the first where none was timed."""
    timed = [subject for subject in subjects if subject.name in found.courses and found.courses[subject.name].samples]
    return min(timed, key=lambda subject: median(_picture_ms(found.courses[subject.name]))) if timed else subjects[0]


def _load_and_feed(
    subject: TrainSubject, source: Source, arguments: TrainArguments, loaders: list[LoaderRun], fed: list[FedRun]
) -> None:
    """Time each loader alone, then the subject on the last of them; both add to what is found."""
    if arguments.windows:
        _, pictures = open_training(subject, source)
        for workers in arguments.workers:
            print(f"loading with {workers} processes", flush=True)
            loaders.append(load_alone(pictures, workers, arguments.windows, arguments.window))
    if arguments.fed_steps:
        print(f"training {subject.name} from {arguments.workers[-1]} processes", flush=True)
        fed.append(feed_training(subject, source, arguments.workers[-1], arguments.fed_steps))


def _report(
    subjects: list[TrainSubject],
    arguments: TrainArguments,
    watch: Watch,
    found: Found,
    loaders: list[LoaderRun],
    fed: list[FedRun],
) -> Document:
    timed = [subject for subject in subjects if subject.name in found.courses]
    base = arguments.base if arguments.base in found.courses else next(iter(found.courses), "")
    settings = {
        "rounds": arguments.rounds,
        "data": str(arguments.data or f"generated, {arguments.size}"),
        "pictures": arguments.pictures,
        "window": arguments.window,
        "threads": arguments.threads or usable_cpus(),
        "device": arguments.device,
        "seed": arguments.seed,
    }
    return document(
        "train",
        watch,
        settings,
        found.stopped or bool(found.errors),
        base=base,
        subjects={subject.name: _subject_report(subject, found, base) for subject in timed},
        loader={str(run.workers): _loader_report(run) for run in loaders},
        fed=_fed_report(fed[0]) if fed else None,
        errors=found.errors,
    )


def _subject_report(subject: TrainSubject, found: Found, base: str) -> dict[str, Any]:
    course, loaded, ended = found.courses[subject.name], found.loaded[subject.name], found.ended.get(subject.name)
    samples_ms = course.milliseconds()
    report: dict[str, Any] = {
        **asdict(subject),
        "load_ms": round(loaded.load_ms, 1),
        "first_call_ms": round(loaded.first_call_ms, 1),
        "warmup_calls": course.warmup_calls,
        "host_peak_bytes": ended.host_peak_bytes if ended else None,
        "device_peak_bytes": ended.device_peak_bytes if ended else None,
        "summary_ms": totals(samples_ms),
        "samples_ms": samples_ms,
    }
    if len(course.samples) >= LEAST:
        report["images_a_second"] = round(1000 / median(_picture_ms(course)), 3)
        report["times_base"] = asdict(paired_ratio(_picture_ms(found.courses[base]), _picture_ms(course)))
    return report


def _loader_report(run: LoaderRun) -> dict[str, Any]:
    rate = 1000 / median(run.wall_ms)
    return {
        "images_a_second": round(rate, 2),
        "images_a_second_a_process": round(rate / max(run.workers, 1), 2),
        "images_a_cpu_second": round(1000 / fmean(run.cpu_ms), 2),  # a short window alone may show no time at all
        "window": run.window,
        "summary_ms_a_picture": summary(run.wall_ms),
        "summary_cpu_ms_a_picture": summary(run.cpu_ms),
        "samples_ms_a_picture": run.wall_ms,
        "samples_cpu_ms_a_picture": run.cpu_ms,
    }


def _fed_report(run: FedRun) -> dict[str, Any]:
    return {
        "subject": run.subject,
        "workers": run.workers,
        "pictures": run.pictures,
        "images_a_second": round(run.pictures / run.seconds, 3),
        "waiting_share": round(run.waited_s / run.seconds, 4),
        "gpu_busy_share": run.gpu_busy_share,
    }


def _picture_ms(course: Course) -> list[float]:
    return [sample.total_ms / course.batch for sample in course.samples]
