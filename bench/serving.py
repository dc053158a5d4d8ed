"""``bench serve``: what streams get from a server, under load, at its limit and beyond it."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from itertools import cycle, takewhile
from pathlib import Path
from statistics import median
from typing import Any

from bench.bare import BARE_LOOPS, BareLoop, Loop
from bench.fault_names import FaultName
from bench.frames import load_frames
from bench.load import (
    ANY_IN_FLIGHT,
    Arrivals,
    Exchange,
    LoadPlan,
    answers_per_second,
    close_all,
    load_report,
    run_load,
)
from bench.machine import Watch
from bench.report import document, emit, prepare_out, ratio_text
from bench.samples import LEAST, paired_ratio
from bench.server_memory import MemoryWatch, resident_bytes
from scene.artifact import Precision
from scene.errors import ServerError, StreetMaskError, require
from serve.answer import Answer
from serve.client import Client
from serve.engines import EngineName
from serve.exchange import DropPolicy, StreamOptions
from serve.frame import EncodedFrame
from serve.settings import usable_cpus
from streetmask.command_line import INTERRUPTED
from streetmask.server_process import server_process

_LOST_SHARE = 0.01
_SWEEP_STEPS = 6
_CLOSED_STREAMS = 2
_IN_FLIGHT = 3
"""Frames that a client keeps unanswered in a closed loop: one in work, one waiting, one on its way."""
_WINDOW_S = 2.0
_READY_S = 30.0


@dataclass(frozen=True)
class ServeArguments:
    """Load a server with streams whose frames are due by the clock, and say what they get."""

    server: str = ""
    """HOST:PORT of a running server."""
    spawn: Path | None = None
    """Model folder to start a server with on this machine, instead."""
    streams: int = 1
    """Streams at a time."""
    rate: tuple[float, ...] = (25.0,)
    """Frames per second of each stream: one for all, or as many as there are streams."""
    arrivals: Arrivals = "constant"
    """Frames due evenly, or at random moments of the same mean rate."""
    seconds: float = 10.0
    """Length of each load."""
    sweep: bool = False
    """Find the highest load within the latency bound."""
    bound_ms: float = 150.0
    """The sweep's bound on the 95th percentile of the age, with at most one frame in a hundred dropped."""
    overload: tuple[float, ...] = ()
    """Further loads, as multiples of the throughput that the server reaches."""
    engine: EngineName | None = None
    """What runs the network of that folder; the fastest that can be trusted without it."""
    precision: Precision | None = None
    """What that computes in; the fastest that can be trusted without it."""
    bare: bool = False
    """Compare that throughput with the engine called in a loop; needs --spawn."""
    windows: int = 12
    """Turns of two seconds that served and bare take in that comparison."""
    frames: str | None = None
    """Video or folder of pictures to send; generated streets without it."""
    frame_count: int = 48
    """Different frames that are sent in turn."""
    size: str | None = None
    """Frames' WIDTHxHEIGHT; their own, or 1280x720 of generated ones, without it."""
    jpeg_quality: int = 90
    """1 to 100; 0 sends raw pixels."""
    fault: tuple[FaultName, ...] = ()
    """Faults to play, each on a server of its own, instead of any load; needs --spawn."""
    fault_share: float = 1.0
    """How much of each fault: 1 for all of it, less for a trial."""
    metrics: str = ""
    """HOST:PORT of the server's metrics, for its memory; a spawned server is looked at without it."""
    seed: int = 1
    """Seed of random arrivals."""
    out: Path | None = None
    """File for the whole document with every sample."""

    def __post_init__(self) -> None:
        require("server", bool(self.server) != (self.spawn is not None), "either --server or --spawn", self.server)
        require("bare", not self.bare or self.spawn is not None, "--spawn beside it", self.bare)
        require("fault", not self.fault or self.spawn is not None, "--spawn beside it", self.fault)
        require("fault_share", 0 < self.fault_share <= 1, "more than 0 and at most 1", self.fault_share)
        require("streams", 1 <= self.streams <= 256, "1 to 256", self.streams)
        require("rate", len(self.rate) in (1, self.streams), "one, or one for each stream", self.rate)
        require("rate", all(0 < rate <= 1000 for rate in self.rate), "more than 0 and at most 1000", self.rate)
        require("frame_count", self.frame_count >= 1, "1 or more", self.frame_count)
        require("seconds", 0 < self.seconds <= 3600, "more than 0 and at most 3600", self.seconds)
        require("bound_ms", self.bound_ms > 0, "more than 0", self.bound_ms)
        require("overload", all(0 < times <= 20 for times in self.overload), "more than 0, at most 20", self.overload)
        require("windows", LEAST <= self.windows <= 1000, f"{LEAST} to 1000", self.windows)
        require("jpeg_quality", 0 <= self.jpeg_quality <= 100, "0 to 100", self.jpeg_quality)

    @property
    def rates(self) -> tuple[float, ...]:
        """The rate of each stream."""
        return self.rate if len(self.rate) == self.streams else self.rate * self.streams


class Bench:
    """One run against one server: ``found`` grows step by step, so that what is done is kept whatever comes."""

    def __init__(
        self, arguments: ServeArguments, address: str, frames: list[EncodedFrame], pid: int | None = None
    ) -> None:
        self._arguments = arguments
        self._pid = pid
        self._address = address
        self._frames = frames
        self.found: dict[str, Any] = {"loads": {}}
        self.stopped = False
        self.error = ""

    def run(self) -> None:
        """Everything that is asked for. Ctrl-C and a server that goes away end it; what is done is kept."""
        arguments = self._arguments
        steps: list[Callable[[], object]] = [partial(self._load, "load", arguments.rates)]
        if arguments.bare or arguments.sweep or arguments.overload:
            steps.append(self._throughput)
        steps += [partial(self._overload, times) for times in arguments.overload]
        steps += [self._sweep] if arguments.sweep else []
        try:
            for step in steps:
                step()
        except KeyboardInterrupt:
            self.stopped = True
        except StreetMaskError as error:
            if not self.found["loads"]:
                raise
            self.error = str(error)

    def _load(self, name: str, rates: tuple[float, ...]) -> dict[str, Any]:
        arguments = self._arguments
        plan = LoadPlan(rates, arguments.seconds, arguments.arrivals, arguments.seed)
        with self._clients(len(rates)) as clients:
            exchanges: list[Exchange] = [
                partial(client.stream, in_flight=ANY_IN_FLIGHT, reconnect=False) for client in clients
            ]
            with MemoryWatch(self._pid, arguments.metrics) as memory:
                logs, ending = run_load(exchanges, self._frames, plan, partial(close_all, clients))
        report = load_report(logs) | {"server_memory": memory.report()}
        self.found["loads"][name] = report
        print(load_line(name, report), flush=True)
        if ending == "stopped":
            raise KeyboardInterrupt
        if ending == "stalled":
            raise ServerError(f"the server left frames of the load {name} unanswered; it was given up")
        return report

    def _overload(self, times: float) -> None:
        """A load of so many times the throughput; of more than it, in turns with the throughput, too: whether less is
        answered then is a matter of a few in a hundred, by which the machine drifts in a minute."""
        rates = self._shared(times * self.found["throughput"]["served_fps"])
        report = self._load(f"{times:g} x throughput", rates)
        if times > 1:
            self._held_against_throughput(report, rates)

    def _held_against_throughput(self, report: dict[str, Any], rates: tuple[float, ...]) -> None:
        """Windows of the throughput and of this load in turns, the order turned round each time."""
        arguments = self._arguments
        plan = LoadPlan(rates, 2 * _WINDOW_S, arguments.arrivals, arguments.seed)
        samples: dict[str, list[float]] = {"served": [], "answered": []}
        report |= {f"samples_{name}_fps": values for name, values in samples.items()}
        with self._clients(max(_CLOSED_STREAMS, len(rates))) as clients:
            turns: dict[str, Callable[[], float]] = {
                "served": partial(served_fps, clients[:_CLOSED_STREAMS], self._frames),
                "answered": partial(self._answered_fps, clients, plan),
            }
            for number in range(arguments.windows):
                for name in list(turns)[:: -1 if number % 2 else 1]:
                    samples[name].append(turns[name]())
        report["of_throughput"] = asdict(paired_ratio(samples["answered"], samples["served"]))
        print(f"answered of the throughput in the same minute: {ratio_text(report['of_throughput'])}", flush=True)

    def _answered_fps(self, clients: list[Client], plan: LoadPlan) -> float:
        exchanges: list[Exchange] = [
            partial(client.stream, in_flight=ANY_IN_FLIGHT, reconnect=False) for client in clients[: len(plan.rates)]
        ]
        logs, ending = run_load(exchanges, self._frames, plan, partial(close_all, clients))
        if ending == "stopped":
            raise KeyboardInterrupt
        if ending == "stalled":
            raise ServerError("the server left frames of a load unanswered; it was given up")
        return answers_per_second(logs)

    def _shared(self, fps: float) -> tuple[float, ...]:
        """A load of so many frames a second in all, in the proportions of the asked rates."""
        rates = self._arguments.rates
        return tuple(fps * rate / sum(rates) for rate in rates)

    def _throughput(self) -> None:
        """Closed loops that keep the server busy and drop nothing; in turns with the bare loop, where that is asked."""
        arguments = self._arguments
        samples: dict[str, list[float]] = {"served": []}
        with ExitStack() as stack:
            clients = stack.enter_context(self._clients(_CLOSED_STREAMS))
            turns: dict[str, Callable[[], float]] = {"served": partial(served_fps, clients, self._frames)}
            if arguments.bare and arguments.spawn is not None:
                bare = stack.enter_context(
                    closing(
                        BareLoop(arguments.spawn, usable_cpus(), self._frames, arguments.precision, arguments.engine)
                    )
                )
                turns |= {f"bare_{loop}": partial(_bare_fps, bare, loop) for loop in BARE_LOOPS}
            try:
                for _ in range(arguments.windows):
                    found = {name: turn() for name, turn in turns.items()}
                    for name, fps in found.items():
                        samples.setdefault(name, []).append(fps)
            finally:
                self.found["throughput"] = throughput_report(samples)
        print(throughput_line(self.found["throughput"]), flush=True)

    def _sweep(self) -> None:
        """Halve the gap between a load that is within the bound and one that is not."""
        arguments = self._arguments
        low, high = 0.0, 1.5 * self.found["throughput"]["served_fps"]
        self.found["sweep"] = {"bound_ms": arguments.bound_ms, "highest_fps": 0.0, "trials": []}
        for number in range(_SWEEP_STEPS):
            fps = (low + high) / 2
            # A load that fails is tried again: a neighbour's few seconds would else halve the answer.
            good = self._trial(f"sweep {number + 1}", fps) or self._trial(f"sweep {number + 1} again", fps)
            low, high = (fps, high) if good else (low, fps)
            self.found["sweep"]["highest_fps"] = round(low, 3)
        print(f"highest load with 95 in 100 answers within {arguments.bound_ms:g} ms: {low:.1f} fps", flush=True)

    def _trial(self, name: str, fps: float) -> bool:
        """Whether the server stays within the bound under this load."""
        report = self._load(name, self._shared(fps))
        good = within(report, self._arguments.bound_ms)
        self.found["sweep"]["trials"].append({"offered_fps": report["offered_fps"], "within": good})
        return good

    @contextmanager
    def _clients(self, count: int) -> Iterator[list[Client]]:
        """Clients that are connected and have had one answer each."""
        with ExitStack() as stack:
            clients = [stack.enter_context(Client(self._address, _READY_S)) for _ in range(count)]
            for client in clients:
                client.segment(self._frames[0])
            yield clients


def serve(arguments: ServeArguments) -> int:
    """Run the measurement, print it, and end in one line of JSON; the exit status."""
    prepare_out(arguments.out)
    pictures = load_frames(arguments.frames, arguments.frame_count, arguments.size)
    frames = [
        EncodedFrame.jpeg(picture, arguments.jpeg_quality) if arguments.jpeg_quality else EncodedFrame.raw(picture)
        for picture in pictures
    ]
    settings = {key: str(value) if isinstance(value, Path) else value for key, value in asdict(arguments).items()}
    settings |= {"frame_size": [pictures.shape[2], pictures.shape[1]], "rates": list(arguments.rates)}
    if arguments.fault and arguments.spawn is not None:
        return _faults(arguments.spawn, frames, arguments, settings)
    watch = Watch()
    with _server(arguments) as (address, pid):
        watch.lap()
        bench = Bench(arguments, address, frames, pid)
        bench.run()
        watch.lap()
        memory = resident_bytes(pid, arguments.metrics)
    partial_run = bench.stopped or bool(bench.error)
    errors = [bench.error] if bench.error else []
    emit(
        document("serve", watch, settings, partial_run, server_memory=memory, errors=errors, **bench.found),
        arguments.out,
    )
    return INTERRUPTED if bench.stopped else int(bool(bench.error))


def _faults(model: Path, frames: list[EncodedFrame], arguments: ServeArguments, settings: dict[str, Any]) -> int:
    """Play the faults, each in a line for people, and end in one line of JSON; the exit status."""
    from bench.faults import FaultBench, play  # noqa: PLC0415 - Triton's environment, which loads too, has not all of it

    bench = FaultBench(model, frames, arguments.fault_share)
    watch, stopped = Watch(), False
    found: dict[str, Any] = {}
    try:
        for name, fault in play(bench, arguments.fault):
            found[name] = fault
            print(f"{name}: {fault['did']}: {fault['came']}", flush=True)
            watch.lap()
    except KeyboardInterrupt:
        stopped = True
    errors = {name: fault["error"] for name, fault in found.items() if "error" in fault}
    emit(document("faults", watch, settings, stopped, errors=errors, faults=found), arguments.out)
    return INTERRUPTED if stopped else int(bool(errors))


def served_fps(clients: list[Client], frames: list[EncodedFrame]) -> float:
    """Answers per second of clients that each keep one frame in work and one waiting, from the first to the last."""
    ends_s = time.perf_counter() + _WINDOW_S
    with ThreadPoolExecutor(len(clients)) as threads:
        work = [threads.submit(_answer_times, client, frames, ends_s) for client in clients]
        times_s = sorted(moment for future in work for moment in future.result())
    if len(times_s) < 2:
        raise ServerError(f"the server answered {len(times_s)} frames in {_WINDOW_S:g} s: too few to tell its rate")
    return (len(times_s) - 1) / (times_s[-1] - times_s[0])


def throughput_report(samples: dict[str, list[float]]) -> dict[str, Any]:
    """The medians of the windows, and what is served over what the bare loops did in the same turns."""
    found: dict[str, Any] = {f"samples_{name}_fps": values for name, values in samples.items()}
    found |= {f"{name}_fps": round(median(values), 3) for name, values in samples.items() if values}
    served = samples["served"]
    for loop in BARE_LOOPS:
        values = samples.get(f"bare_{loop}", [])
        if len(values) >= LEAST:
            found[f"served_over_bare_{loop}"] = asdict(paired_ratio(served, values))
    return found


def within(report: dict[str, Any], bound_ms: float) -> bool:
    """Whether a load was answered in time: 95 in 100 answers within the bound, one frame in 100 lost at most."""
    frames = report["frames"]
    lost = frames["due"] - frames.get("answered", 0)
    in_time = report["age_ms"].get("p95", float("inf")) <= bound_ms
    return bool(in_time and lost <= _LOST_SHARE * frames["due"] and not report["errors"])


def load_line(name: str, report: dict[str, Any]) -> str:
    """A load in one line for people."""
    age, frames = report["age_ms"], report["frames"]
    figures = ", ".join(f"{key} {age[key]:.0f}" for key in ("median", "p95", "p99", "max") if key in age)
    counts = ", ".join(f"{count} {kind}" for kind, count in frames.items())
    rates = f"{report['offered_fps']:.1f} fps offered, {report['answered_fps']:.1f} answered"
    late_ms = report["late_ms"].get("p95", 0.0)
    late = (
        f"; sent late by {late_ms:.0f} ms (p95): the generator or the connection is at its limit" if late_ms > 5 else ""
    )
    return f"{name}: {rates} ({counts}); age ms {figures}{late}{memory_words(report.get('server_memory'))}"


def memory_words(memory: dict[str, Any] | None) -> str:
    """What the server held at the start, in the middle and at the end of a load; nothing where that is not known."""
    if memory is None:
        return ""
    mebibytes = [f"{memory[f'{part}_bytes'] / 2**20:.0f}" for part in ("start", "middle", "end")]
    return f"; the server's memory {', '.join(mebibytes)} MiB"


def throughput_line(found: dict[str, Any]) -> str:
    """Throughput, and its ratios to the bare loops, in one line for people."""
    line = f"throughput: {found['served_fps']:.1f} fps"
    for name, words in (("engine", "the engine alone"), ("path", "the whole path in one thread")):
        if f"bare_{name}_fps" in found:
            ratio = ratio_text(found[f"served_over_bare_{name}"])
            line += f"; {ratio} of {words}, {found[f'bare_{name}_fps']:.1f} fps"
    return line


@contextmanager
def _server(arguments: ServeArguments) -> Iterator[tuple[str, int | None]]:
    if arguments.spawn is None:
        yield arguments.server, None
        return
    asked = {"--engine": arguments.engine, "--precision": arguments.precision}
    options = [word for option, value in asked.items() if value is not None for word in (option, value)]
    with server_process(arguments.spawn, options) as server:
        yield server.address, server.pid


def _bare_fps(bare: BareLoop, loop: Loop) -> float:
    return bare.run(loop, _WINDOW_S).fps


def _answer_times(client: Client, frames: list[EncodedFrame], ends_s: float) -> list[float]:
    """When answers came, in seconds; drops and failures are none."""
    due = takewhile(lambda _: time.perf_counter() < ends_s, cycle(frames))
    replies = client.stream(due, None, _IN_FLIGHT, StreamOptions(DropPolicy.EVERY), reconnect=False)
    return [time.perf_counter() for received in replies if isinstance(received.reply.outcome, Answer)]
