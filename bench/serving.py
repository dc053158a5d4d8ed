"""``bench serve``: what streams get from a server, under load, at its limit and beyond it."""

import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from bench.bare import BareLoop
from bench.frames import load_frames
from bench.load import ANY_IN_FLIGHT, Arrivals, Exchange, LoadPlan, load_report, run_load
from bench.machine import Watch
from bench.report import document, emit
from bench.samples import paired_ratio
from scene.errors import ConfigurationError
from serve.answer import Options
from serve.client import NONE_DROPPED, Client
from serve.frame import EncodedFrame
from serve.settings import usable_cpus
from streetmask.server_process import server_process

_DROPPED_SHARE = 0.01
_SWEEP_STEPS = 6
_CLOSED_STREAMS = 2
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
    rate: float = 25.0
    """Frames per second of each."""
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
    bare: bool = False
    """Compare that throughput with the engine called in a loop; needs --spawn."""
    windows: int = 8
    """Turns of two seconds that served and bare take in that comparison."""
    frames: str | None = None
    """Video or folder of pictures to send; generated streets without it."""
    frame_count: int = 48
    """Different frames that are sent in turn."""
    size: str | None = None
    """Frames' WIDTHxHEIGHT; their own, or 1280x720 of generated ones, without it."""
    jpeg_quality: int = 90
    """1 to 100; 0 sends raw pixels."""
    metrics: str = ""
    """HOST:PORT of the server's metrics, for its memory; a spawned server is looked at without it."""
    seed: int = 1
    """Seed of random arrivals."""
    out: Path | None = None
    """File for the whole document with every sample."""

    def __post_init__(self) -> None:
        _require("server", bool(self.server) != (self.spawn is not None), "either --server or --spawn", self.server)
        _require("bare", not self.bare or self.spawn is not None, "--spawn beside it", self.bare)
        _require("streams", 1 <= self.streams <= 256, "1 to 256", self.streams)
        _require("rate", 0 < self.rate <= 1000, "more than 0 and at most 1000", self.rate)
        _require("seconds", 0 < self.seconds <= 3600, "more than 0 and at most 3600", self.seconds)
        _require("bound_ms", self.bound_ms > 0, "more than 0", self.bound_ms)
        _require("overload", all(0 < times <= 20 for times in self.overload), "more than 0, at most 20", self.overload)
        _require("windows", 2 <= self.windows <= 1000, "2 to 1000", self.windows)
        _require("jpeg_quality", 0 <= self.jpeg_quality <= 100, "0 to 100", self.jpeg_quality)


class Bench:
    """One run against one server."""

    def __init__(self, arguments: ServeArguments, address: str, frames: list[EncodedFrame], stack: ExitStack) -> None:
        self._arguments = arguments
        self._frames = frames
        count = max(arguments.streams, _CLOSED_STREAMS)
        self._clients = [stack.enter_context(Client(address, _READY_S)) for _ in range(count)]
        self.found: dict[str, Any] = {}
        self.partial = False

    def run(self) -> None:
        """Everything that is asked for; Ctrl-C keeps what is done."""
        arguments = self._arguments
        self._clients[0].segment(self._frames[0])  # says what is wrong with the server before anything is measured
        steps: list[Callable[[], object]] = [partial(self._load, "load", arguments.rate)]
        if arguments.bare or arguments.sweep or arguments.overload:
            steps.append(self._throughput)
        steps += [partial(self._overload, times) for times in arguments.overload]
        steps += [self._sweep] if arguments.sweep else []
        try:
            for step in steps:
                if self.partial:
                    break
                step()
        except KeyboardInterrupt:
            self.partial = True

    def _load(self, name: str, rate: float) -> dict[str, Any]:
        arguments = self._arguments
        plan = LoadPlan((rate,) * arguments.streams, arguments.seconds, arguments.arrivals, arguments.seed)
        logs, whole = run_load(self._exchanges(), self._frames, plan)
        self.partial |= not whole
        report = load_report(logs, arguments.seconds)
        self.found.setdefault("loads", {})[name] = report
        print(load_line(name, report), flush=True)
        return report

    def _overload(self, times: float) -> None:
        self._load(f"{times:g} x throughput", times * self.found["throughput"]["served_fps"] / self._arguments.streams)

    def _throughput(self) -> None:
        """Closed loops that keep the server busy and drop nothing; in turns with the bare loop, where that is asked."""
        arguments = self._arguments
        served, engine, path = [], [], []
        with ExitStack() as stack:
            bare = None
            if arguments.bare and arguments.spawn is not None:
                bare = stack.enter_context(closing(BareLoop(arguments.spawn, usable_cpus(), self._frames)))
            for _ in range(arguments.windows):
                served.append(self._served_fps(_WINDOW_S))
                if bare is not None:
                    engine.append(bare.run("engine", _WINDOW_S).fps)
                    path.append(bare.run("path", _WINDOW_S).fps)
        found: dict[str, Any] = {"served_fps": round(median(served), 3), "samples_served_fps": served}
        for name, fps in (("engine", engine), ("path", path)):
            if fps:
                found[f"bare_{name}_fps"] = round(median(fps), 3)
                found[f"served_over_bare_{name}"] = asdict(paired_ratio(served, fps))
                found[f"samples_bare_{name}_fps"] = fps
        self.found["throughput"] = found
        print(throughput_line(found), flush=True)

    def _served_fps(self, seconds: float) -> float:
        """Answers per second of ``_CLOSED_STREAMS`` clients that each keep one frame in work and one waiting."""
        ends_s = time.perf_counter() + seconds
        counts = [0] * _CLOSED_STREAMS
        started_s = time.perf_counter()
        threads = [
            threading.Thread(target=self._send_until, args=(number, ends_s, counts)) for number in range(len(counts))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return sum(counts) / (time.perf_counter() - started_s)

    def _send_until(self, number: int, ends_s: float, counts: list[int]) -> None:
        def due() -> Iterator[EncodedFrame]:
            place = number
            while time.perf_counter() < ends_s:
                yield self._frames[place % len(self._frames)]
                place += 1

        for _ in self._clients[number].stream(due(), in_flight=NONE_DROPPED):
            counts[number] += 1

    def _sweep(self) -> None:
        """Halve the gap between a load that is within the bound and one that is not."""
        arguments = self._arguments
        low, high = 0.0, 1.5 * self.found["throughput"]["served_fps"] / arguments.streams
        trials = []
        for number in range(_SWEEP_STEPS):
            rate = (low + high) / 2
            report = self._load(f"sweep {number + 1}", rate)
            good = within(report, arguments.bound_ms)
            trials.append({"offered_fps": report["offered_fps"], "within": good})
            low, high = (rate, high) if good else (low, rate)
            if self.partial:
                return
        self.found["sweep"] = {"bound_ms": arguments.bound_ms, "highest_fps": low * arguments.streams, "trials": trials}
        print(
            f"highest load with 95 in 100 answers within {arguments.bound_ms:g} ms: {low * arguments.streams:.1f} fps"
        )

    def _exchanges(self) -> list[Exchange]:
        options = Options()
        return [
            partial(client.stream, options=options, in_flight=ANY_IN_FLIGHT)
            for client in self._clients[: self._arguments.streams]
        ]


def serve(arguments: ServeArguments) -> None:
    """Run the measurement, print it, and end in one line of JSON."""
    pictures = load_frames(arguments.frames, arguments.frame_count, arguments.size)
    frames = [
        EncodedFrame.jpeg(picture, arguments.jpeg_quality) if arguments.jpeg_quality else EncodedFrame.raw(picture)
        for picture in pictures
    ]
    settings = {key: str(value) if isinstance(value, Path) else value for key, value in asdict(arguments).items()}
    settings |= {"frame_size": [pictures.shape[2], pictures.shape[1]]}
    with _server(arguments) as (address, pid), ExitStack() as stack:
        watch = Watch()
        bench = Bench(arguments, address, frames, stack)
        bench.run()
        memory = _memory(pid, arguments.metrics)
        if pid is not None:
            watch.add_process(_cpu_s(pid))
    emit(document("serve", watch, settings, bench.partial, server_memory=memory, **bench.found), arguments.out)


def within(report: dict[str, Any], bound_ms: float) -> bool:
    """Whether a load was answered in time: 95 in 100 answers within the bound, one frame in 100 dropped at most."""
    frames = report["frames"]
    lost = frames["sent"] - frames.get("answered", 0)
    in_time = report["age_ms"].get("p95", float("inf")) <= bound_ms
    return bool(in_time and lost <= _DROPPED_SHARE * frames["sent"] and not report["errors"])


def load_line(name: str, report: dict[str, Any]) -> str:
    """A load in one line for people."""
    age, frames = report["age_ms"], report["frames"]
    figures = ", ".join(f"{key} {age[key]:.0f}" for key in ("median", "p95", "p99", "max") if key in age)
    counts = ", ".join(f"{count} {kind}" for kind, count in frames.items())
    rates = f"{report['offered_fps']:.1f} fps offered, {report['answered_fps']:.1f} answered"
    return f"{name}: {rates} ({counts}); age ms {figures}"


def throughput_line(found: dict[str, Any]) -> str:
    """Throughput, and its ratios to the bare loops, in one line for people."""
    line = f"throughput: {found['served_fps']:.1f} fps"
    for name, words in (("engine", "the engine alone"), ("path", "the whole path in one thread")):
        if f"bare_{name}_fps" in found:
            ratio = found[f"served_over_bare_{name}"]
            line += (
                f"; {ratio['ratio']:.3f} ({ratio['low']:.3f} to {ratio['high']:.3f}) of {words}, "
                f"{found[f'bare_{name}_fps']:.1f} fps"
            )
    return line


@contextmanager
def _server(arguments: ServeArguments) -> Iterator[tuple[str, int | None]]:
    if arguments.spawn is None:
        yield arguments.server, None
        return
    with server_process(arguments.spawn) as server:
        yield server.address, server.pid


def _memory(pid: int | None, metrics: str) -> dict[str, int] | None:
    """Bytes that the server's process holds, where it can be asked."""
    with suppress(OSError, psutil.Error, ValueError):
        if metrics:
            return _scraped(metrics)
        if pid is not None:
            info = psutil.Process(pid).memory_info()
            return {"resident_bytes": int(info.rss)}
    return None


def _scraped(metrics: str) -> dict[str, int] | None:
    with urllib.request.urlopen(f"http://{metrics}/metrics", timeout=5) as page:  # the user's own server
        for line in page.read().decode().splitlines():
            if line.startswith("process_resident_memory_bytes "):
                return {"resident_bytes": int(float(line.split()[1]))}
    return None


def _cpu_s(pid: int) -> float:
    with suppress(psutil.Error):
        times = psutil.Process(pid).cpu_times()
        return float(times.user + times.system)
    return 0.0


def _require(name: str, allowed: bool, expected: str, came: object) -> None:
    if not allowed:
        raise ConfigurationError(name, f"expected {expected}, but {came!r} came")
