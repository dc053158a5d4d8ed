"""``bench triton``: StreetMask's server against Triton Inference Server, on one machine and with the same work.

Triton's Python backend runs the same file with the same code around it: on the engine that StreetMask runs it on, so
that nothing but the server differs, and on ONNX Runtime, which is what an ONNX file is run on where nobody chose.
Frames a second of clients that keep it busy are compared, window by window in turns, and what streams get of it under
more load than it can take. It is installed into an environment of its own; where that cannot be, nothing is compared.
"""

import shlex
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import tyro

from bench.frames import load_frames, store_frames, stored_frames
from bench.machine import Watch
from bench.report import document, emit, prepare_out, ratio_text
from bench.samples import LEAST, paired_ratio
from bench.serving import load_line
from bench.triton_caller import caller
from bench.triton_environment import UnavailableError, make_environment
from bench.triton_server import QueuePolicy, Setup, Work, config_text, triton_process, write_repository
from bench.triton_subjects import StreetMask, Subject, TritonModel, agreement, cpu_share, require_alike, require_whole
from bench.triton_table import ON_ONNX_RUNTIME, OURS, is_on_onnx_runtime, is_ours
from scene.artifact import Precision, read_artifact
from scene.errors import StreetMaskError, require
from serve.answer import Answer
from serve.engines import ON_CPU, EngineName, ways
from serve.frame import EncodedFrame
from serve.settings import usable_cpus
from streetmask.command_line import INTERRUPTED
from streetmask.server_process import server_process

_BUSY_CLIENTS = 2
"""By whose throughput a server's capacity is told, if so many are among the asked."""


@dataclass(frozen=True)
class TritonArguments:
    """Compare StreetMask's server with Triton Inference Server, which is installed on the first run."""

    model: tyro.conf.Positional[Path]
    """Model folder that both serve."""
    environment: Path = Path(".venv-triton")
    """Folder of Triton's virtual environment, made where it is missing."""
    engine: EngineName | None = None
    """What runs the network in both; the likely fastest that can be trusted without it."""
    precision: Precision | None = None
    """What that computes in; the likely fastest that can be trusted without it."""
    lanes: tuple[int, ...] = (1, 2)
    """Lanes of `streetmask serve`, which share the threads: a server of ours for each number."""
    serve_options: str = ""
    """Further options of `streetmask serve`, as one word."""
    clients: tuple[int, ...] = (1, 2, 4)
    """Clients that keep a server busy: a comparison for each number."""
    windows: int = 8
    """Turns of two seconds that each server takes in a comparison; a ratio's interval needs 8."""
    streams: int = 4
    """Streams of each overload."""
    overload: float = 1.5
    """Offered frames, as a multiple of what a server can take: of its own throughput, and of the highest of all."""
    seconds: float = 5.0
    """Length of each overload."""
    frames: str | None = None
    """Video or folder of pictures to send; generated streets without it."""
    frame_count: int = 24
    """Different frames that are sent in turn."""
    size: str | None = None
    """Frames' WIDTHxHEIGHT; their own, or 1280x720 of generated ones, without it."""
    jpeg_quality: int = 90
    """1 to 100."""
    out: Path | None = None
    """File for the whole document with every sample."""

    def __post_init__(self) -> None:
        require("clients", bool(self.clients) and all(1 <= n <= 64 for n in self.clients), "1 to 64", self.clients)
        require("lanes", bool(self.lanes) and all(1 <= n <= 64 for n in self.lanes), "1 to 64", self.lanes)
        require("windows", 1 <= self.windows <= 1000, "1 to 1000", self.windows)
        require("streams", 1 <= self.streams <= 64, "1 to 64", self.streams)
        require("overload", 0 < self.overload <= 20, "more than 0 and at most 20", self.overload)
        require("seconds", 0 < self.seconds <= 3600, "more than 0 and at most 3600", self.seconds)
        require("frame_count", self.frame_count >= 1, "1 or more", self.frame_count)
        require("jpeg_quality", 1 <= self.jpeg_quality <= 100, "1 to 100", self.jpeg_quality)


def on_onnx_runtime(work: Work) -> Work | None:
    """The same file on ONNX Runtime, where that is another engine of the same processor."""
    if work.engine == "onnxruntime" or work.engine not in ON_CPU:
        return None
    return Work(work.folder, "onnxruntime", "int8" if work.precision == "int8" else "float32")


def setups(cpus: int, work: Work, other: Work | None = None) -> dict[Setup, Work]:
    """Ways to run the model in Triton on a machine of so many CPUs: one instance of all threads, or two that share
    them; with each a queue that holds whatever comes, or one that rejects what would be answered late; and all of these
    with the ``other`` work too, on ONNX Runtime."""
    policies = {"queue": None, "bounded": QueuePolicy(0, 1), "expiring": QueuePolicy(40_000, 2)}
    works = {"": work} | ({ON_ONNX_RUNTIME: other} if other is not None else {})
    return {
        Setup(f"{prefix}{name}-{instances}x{threads}", instances, threads, policy): runs
        for prefix, runs in works.items()
        for instances, threads in ((1, cpus), (2, max(1, cpus // 2)))
        for name, policy in policies.items()
    }


class Comparison:
    """One run: ``found`` grows step by step, so that what is done is kept whatever comes."""

    def __init__(self, arguments: TritonArguments, queues: list[Subject], rejecting: dict[str, list[Subject]]) -> None:
        """``queues`` are measured busy, ours first; ``rejecting`` are, by a queue's name, others of its capacity."""
        self._arguments = arguments
        self._queues = queues
        self._rejecting = rejecting
        self.found: dict[str, Any] = {"saturation": {}, "loads": {}}
        self.stopped = False
        self.error = ""

    def run(self) -> None:
        """Everything that is asked for. Ctrl-C and a server that goes away end it; what is done is kept."""
        steps: list[Callable[[], object]] = [partial(self._saturate, count) for count in self._arguments.clients]
        try:
            for step in [*steps, self._overload]:
                step()
        except KeyboardInterrupt:
            self.stopped = True
        except StreetMaskError as error:
            if not self.found["saturation"]:
                raise
            self.error = str(error)

    def _saturate(self, clients: int) -> None:
        """Windows in turns, the order turned round each time, as the machine may slow down within a round."""
        samples: dict[str, list[float]] = {subject.name: [] for subject in self._queues}
        for number in range(self._arguments.windows):
            turn = {subject.name: subject.closed_fps(clients) for subject in self._queues[:: -1 if number % 2 else 1]}
            for name, fps in turn.items():
                samples[name].append(fps)
        report = saturation_report(samples)
        self.found["saturation"][str(clients)] = report
        print(saturation_line(clients, report), flush=True)

    def _overload(self) -> None:
        times, busy = self._arguments.overload, self.found["saturation"]
        clients = str(_BUSY_CLIENTS) if str(_BUSY_CLIENTS) in busy else next(iter(busy))
        capacity: dict[str, float] = busy[clients]["fps"]
        same = times * max(capacity.values())
        for subject in self._queues:
            for asked in (subject, *self._rejecting.get(subject.name, [])):
                self._load("own", f"{asked.name}, {times:g} x its own", asked, times * capacity[subject.name])
                self._load("same", f"{asked.name}, {same:.0f} fps", asked, same)

    def _load(self, kind: str, name: str, subject: Subject, fps: float) -> None:
        """``kind``: chosen by the subject's "own" throughput, or by the highest of all, the "same" for each."""
        streams = self._arguments.streams
        report = subject.load((fps / streams,) * streams, self._arguments.seconds)
        self.found["loads"][name] = report | {"subject": subject.name, "load": kind}
        print(load_line(name, report), flush=True)
        require_whole(name, report)


def triton(arguments: TritonArguments) -> int:
    """Compare, and end with the JSON document; where Triton cannot be installed, with one that says why."""
    prepare_out(arguments.out)
    settings = {key: str(value) if isinstance(value, Path) else value for key, value in asdict(arguments).items()}
    watch = Watch()
    try:
        environment = make_environment(arguments.environment)
    except UnavailableError as error:
        print(f"Triton is not compared: {error}", file=sys.stderr)
        skipped = {"skipped": str(error), "saturation": {}, "loads": {}, "errors": []}
        emit(document("triton", watch, settings, False, **skipped), arguments.out)
        return 0
    artifact = read_artifact(arguments.model)
    way = ways(artifact, arguments.engine, arguments.precision)[0]
    work = Work(arguments.model, way.engine, way.precision)
    with _compared(arguments, environment, work) as (comparison, facts):
        watch.lap()
        comparison.run()
        watch.lap()
    errors = [comparison.error] if comparison.error else []
    partial_run = comparison.stopped or bool(errors)
    settings |= facts.pop("settings")
    emit(document("triton", watch, settings, partial_run, errors=errors, **facts, **comparison.found), arguments.out)
    return INTERRUPTED if comparison.stopped else int(bool(errors))


def saturation_report(samples: dict[str, list[float]]) -> dict[str, Any]:
    """The medians of the windows, and how many times each of Triton's the frames a second of ours are."""
    ratios = {
        ours: {
            name: asdict(paired_ratio(samples[ours], values))
            for name, values in samples.items()
            if not is_ours(name) and len(values) >= LEAST
        }
        for ours in filter(is_ours, samples)
    }
    return {
        "samples_fps": samples,
        "fps": {name: round(median(values), 3) for name, values in samples.items()},
        "ours_over": ratios,
    }


def saturation_line(clients: int, report: dict[str, Any]) -> str:
    """A comparison in one line for people."""
    rates = ", ".join(f"{name} {fps:.1f}" for name, fps in report["fps"].items())
    ratios = "".join(
        f"; {ours} is {ratio_text(ratio)} of {name}"
        for ours, found in report["ours_over"].items()
        for name, ratio in found.items()
    )
    return f"{clients} busy client(s): {rates} fps{ratios}"


@contextmanager
def _compared(arguments: TritonArguments, environment: Path, work: Work) -> Iterator[tuple[Comparison, dict[str, Any]]]:
    """The servers and the client of Triton's, once they answer alike; and what is true of the whole run."""
    pictures = load_frames(arguments.frames, arguments.frame_count, arguments.size)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-triton-")))
        stored = store_frames(pictures, folder, arguments.jpeg_quality)
        frames = [frame for frame in stored_frames(stored) if isinstance(frame, EncodedFrame)]
        other = on_onnx_runtime(work)
        expected = None if other is None else _expected(other, frames)
        shapes = setups(usable_cpus(), work, None if expected is None else other)
        write_repository(folder / "models", shapes)
        running = stack.enter_context(triton_process(environment, folder / "models"))
        asked = stack.enter_context(caller(environment, running.address, stored))
        started = [_ours(stack, arguments, work, lanes, frames) for lanes in dict.fromkeys(arguments.lanes)]
        models = {setup: TritonModel(setup.name, asked) for setup in shapes}
        facts: dict[str, Any] = {
            "triton": asked.facts,
            "agreement": agreements(
                {server.name: server.answers() for server, _ in started}
                | {model.name: model.answers() for model in models.values()},
                expected,
            ),
            "idle_cpu_share": {"triton": cpu_share(running.pid)}
            | {server.name: cpu_share(pid) for server, pid in started},
            "configurations": {setup.name: config_text(setup, runs) for setup, runs in shapes.items()},
            "settings": {"frame_size": [pictures.shape[2], pictures.shape[1]], "runs_on": work.name}
            | ({} if other is None or expected is None else {"ort_runs_on": other.name}),
        }
        queues: list[Subject] = [model for setup, model in models.items() if setup.policy is None]
        yield Comparison(arguments, [*(server for server, _ in started), *queues], rejecting(models)), facts


def _ours(
    stack: ExitStack, arguments: TritonArguments, work: Work, lanes: int, frames: list[EncodedFrame]
) -> tuple[StreetMask, int]:
    """A server of so many lanes with its clients, which end with the stack; and its process id."""
    options = ["--engine", work.engine, "--precision", work.precision, "--lanes", str(lanes)]
    running = stack.enter_context(server_process(arguments.model, [*options, *shlex.split(arguments.serve_options)]))
    name = f"{OURS}{lanes}x{max(1, usable_cpus() // lanes)}"
    clients = max(*arguments.clients, arguments.streams)
    return stack.enter_context(closing(StreetMask(name, running.address, frames, clients))), running.pid


def _expected(work: Work, frames: list[EncodedFrame]) -> list[Answer] | None:
    """What our own server answers on that engine, lest a Triton that does no work be timed for it; None where the file
    does not run on it as it should."""
    try:
        with (
            server_process(work.folder, ["--engine", work.engine, "--precision", work.precision]) as running,
            closing(StreetMask("", running.address, frames, 1)) as server,
        ):
            return server.answers()
    except StreetMaskError as error:
        print(f"Triton is not compared on ONNX Runtime: {error}", file=sys.stderr)
        return None


def rejecting(models: Mapping[Setup, Subject]) -> dict[str, list[Subject]]:
    """By a queue's name, the models that reject and run the same in as many instances."""
    return {
        queue.name: [
            model
            for setup, model in models.items()
            if setup.policy is not None and _capacity(setup) == _capacity(queue)
        ]
        for queue in models
        if queue.policy is None
    }


def _capacity(setup: Setup) -> tuple[bool, int]:
    """What decides on it, in one run."""
    return is_on_onnx_runtime(setup.name), setup.instances


def agreements(answers: Mapping[str, list[Answer]], expected: list[Answer] | None) -> dict[str, dict[str, float]]:
    """Of every other subject with the first, one of ours. Those that run the same engine must answer alike; those on
    ONNX Runtime as ours is ``expected`` to on it. Raises ``DataError`` where they do not."""
    ours, *others = answers
    for name in others:
        reference = expected if is_on_onnx_runtime(name) else answers[ours]
        if reference is not None:
            require_alike(agreement(reference, answers[name]))
    return {name: asdict(agreement(answers[ours], answers[name])) for name in others}
