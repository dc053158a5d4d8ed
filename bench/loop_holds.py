"""How long a server's callbacks hold its event loop, by load: while one runs, no other stream is served.

The server runs in a process of its own, whose loop is told to time every callback; the load comes from this one. Our
own share of a callback is told apart from gRPC's: a task that waited for a message goes on in gRPC's code, which copies
the message out of the connection, its slices and then their sum, and hands it to the function that the handler was
registered with; from there on all is counted as ours, though gRPC's sending is in it, and so is a callback that is
handed no message.
"""

import asyncio
import functools
import json
import logging
import multiprocessing
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from scene.errors import ServerError
from scene.image import RgbImage
from serve import wire
from serve.answer import Options
from serve.client import Client
from serve.exchange import DropPolicy, StreamOptions
from serve.frame import EncodedFrame
from serve.model import Model
from serve.server import Server
from serve.settings import ServerSettings

LIMIT_MS = 5.0
_READY_S = 120.0
_WARM_S = 1.0

Clock = Literal["cpu_ms", "wall_ms"]


@dataclass(frozen=True)
class Scenario:
    """A load: so many streams, or single calls, of one frame again and again for so many seconds."""

    name: str
    frame: EncodedFrame
    streams: int = 1
    options: Options = field(default_factory=Options)
    single: bool = False


@dataclass
class Holds:
    """What callbacks took, of which our own code, and which took the most of each."""

    cpu_ms: list[float] = field(default_factory=list)
    own_ms: list[float] = field(default_factory=list)
    wall_ms: list[float] = field(default_factory=list)
    worst: tuple[float, str] = (0.0, "")
    own_worst: tuple[float, str] = (0.0, "")
    messages: int = 0

    def add(self, cpu_ms: float, wall_ms: float, name: Callable[[], str], grpc_ms: float | None = None) -> None:
        """Count one callback; if it was handed a message, ``grpc_ms`` of its CPU time had gone by before."""
        own_ms = cpu_ms - (grpc_ms or 0.0)
        if cpu_ms > self.worst[0]:
            self.worst = cpu_ms, name()
        if own_ms > self.own_worst[0]:
            self.own_worst = own_ms, name()
        self.messages += grpc_ms is not None
        self.cpu_ms.append(cpu_ms)
        self.own_ms.append(own_ms)
        self.wall_ms.append(wall_ms)

    def report(self) -> dict[str, Any]:
        """Counts, percentiles and maxima in milliseconds of CPU time, of that our own, and of wall time, and the worst
        callbacks."""
        found: dict[str, Any] = {"callbacks": len(self.cpu_ms), "messages": self.messages}
        found |= {"worst": self.worst[1], "own_worst": self.own_worst[1]}
        for clock in ("cpu_ms", "own_ms", "wall_ms"):
            values = np.array(getattr(self, clock) or [0.0])
            p99, p999 = np.percentile(values, (99, 99.9))
            found[clock] = {"p99": round(float(p99), 3), "p99.9": round(float(p999), 3), "max": round(values.max(), 3)}
        over, own = (sum(value > LIMIT_MS for value in values) for values in (self.cpu_ms, self.own_ms))
        return found | {"over_limit": over, "own_over_limit": own}


def scenarios(street: RgbImage) -> list[Scenario]:
    """The loads, made of one picture, uint8 [H, W, 3], in several sizes."""
    picture = {name: np.asarray(cv2.resize(street, size), np.uint8) for name, size in _SIZES.items()}
    jpeg, everything = EncodedFrame.jpeg(picture["720p"]), Options(score_threshold=0.0, max_instances=100)
    return [
        Scenario("1 stream, 720p JPEG", jpeg),
        Scenario("4 streams, 720p JPEG", jpeg, 4),
        Scenario("1 stream, 720p JPEG, 100 instances", jpeg, 1, everything),
        Scenario("4 streams, 720p JPEG, 100 instances", jpeg, 4, everything),
        Scenario("1 stream, 1080p raw", EncodedFrame.raw(picture["1080p"])),
        Scenario("1 stream, 4K raw", EncodedFrame.raw(picture["4K"])),
        Scenario("single calls, 4K raw", EncodedFrame.raw(picture["4K"]), single=True),
    ]


_SIZES = {"720p": (1280, 720), "1080p": (1920, 1080), "4K": (3840, 2160)}


def measure_holds(folder: Path, loads: list[Scenario], seconds: float = 5.0) -> dict[str, Any]:
    """For each load, by name: ``Holds.report`` of the server's loop, and how many frames were answered."""
    found = {}
    with _timed_server(folder) as (address, ask):
        for load in loads:
            _send(address, load, _WARM_S)
            ask("begin")
            answered = _send(address, load, seconds)
            found[load.name] = json.loads(ask("report")) | {"answered": answered}
    return found


def _send(address: str, load: Scenario, seconds: float) -> int:
    answered: list[int] = []
    until_s = time.perf_counter() + seconds
    send = _call if load.single else _stream
    threads = [
        threading.Thread(target=lambda: answered.append(send(address, load, until_s))) for _ in range(load.streams)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(answered)


def _stream(address: str, load: Scenario, until_s: float) -> int:
    def frames() -> Iterator[EncodedFrame]:
        while time.perf_counter() < until_s:
            yield replace(load.frame)

    with Client(address) as client:
        options = StreamOptions(DropPolicy.EVERY)
        return sum(1 for _ in client.stream(frames(), load.options, in_flight=2, stream=options))


def _call(address: str, load: Scenario, until_s: float) -> int:
    count = 0
    with Client(address) as client:
        while time.perf_counter() < until_s:
            client.segment(load.frame, load.options)
            count += 1
    return count


@contextmanager
def _timed_server(folder: Path) -> Iterator[tuple[str, Callable[[str], str]]]:
    """Its address, and a way to ask it to "begin" counting or to "report"."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_serve, args=(str(folder), there), daemon=True)
    process.start()

    def ask(word: str) -> str:
        here.send(word)
        return _answer(here)

    try:
        yield _answer(here), ask
    finally:
        here.send("stop")
        process.join(_READY_S)


def _answer(connection: Connection) -> str:
    if not connection.poll(_READY_S):
        raise ServerError("the server whose loop is timed does not answer")
    return str(connection.recv())


def _serve(folder: str, questions: Connection) -> None:
    logging.basicConfig(level=logging.WARNING)
    timer = _Timer()
    timer.install()
    asyncio.run(_answer_questions(Path(folder), questions, timer))


async def _answer_questions(folder: Path, questions: Connection, timer: "_Timer") -> None:
    settings = ServerSettings(port=0, drain_s=1.0)
    server = Server(settings)
    port = await server.listen()
    await server.load(functools.partial(Model.load, folder, settings.engine_threads))
    questions.send(f"{settings.host}:{port}")
    while (word := await asyncio.to_thread(questions.recv)) != "stop":
        if word == "begin":
            timer.holds = Holds()
        questions.send(json.dumps(timer.holds.report()))
    await server.stop()


class _Timer:
    """Times what asyncio calls, in this process alone: every callback passes ``asyncio.Handle._run``, and every message
    of the public service what ``wire.received`` makes."""

    def __init__(self) -> None:
        self.holds = Holds()
        self._handed_s: float | None = None

    def install(self) -> None:
        run, received = asyncio.Handle._run, wire.received

        def timed(handle: asyncio.Handle) -> None:
            self._handed_s = None
            cpu_s, wall_s = time.thread_time(), time.perf_counter()
            run(handle)
            cpu_ms, wall_ms = (time.thread_time() - cpu_s) * 1000, (time.perf_counter() - wall_s) * 1000
            grpc_ms = None if self._handed_s is None else (self._handed_s - cpu_s) * 1000
            self.holds.add(cpu_ms, wall_ms, lambda: _name(handle), grpc_ms)

        def noted(kind: Any) -> Any:
            parse = received(kind)

            def handed(data: bytes) -> Any:
                self._handed_s = time.thread_time()
                return parse(data)

            return handed

        asyncio.Handle._run = timed  # type: ignore[assignment,method-assign]
        wire.received = noted


def _name(handle: asyncio.Handle) -> str:
    """The callback, without its arguments: those may hold frames."""
    callback: Any = getattr(handle, "_callback", None)
    owner = getattr(callback, "__self__", None)
    if isinstance(owner, asyncio.Task):
        return f"a step of {getattr(owner.get_coro(), '__qualname__', 'a task')}"
    return str(getattr(callback, "__qualname__", type(callback).__name__))
