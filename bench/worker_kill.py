"""What streams lose when a server's worker is killed under load, and how soon they are answered again."""

import itertools
import threading
import time
from bisect import bisect
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from bench.samples import summary
from scene.errors import ServerError, require
from serve.client import Client
from serve.exchange import Drop
from serve.frame import EncodedFrame
from serve.outbox import Received
from streetmask.server_process import server_process

_KINDS = ("due", "answered", "dropped", "failed", "lost")
_ASK_EVERY_S = 0.02
_REPLACED_S = 60.0
_READY_S = 30.0


@dataclass(frozen=True)
class KillPlan:
    """So many streams of so many frames a second, of whose server's workers one is killed every few seconds."""

    workers: int = 2
    streams: int = 8
    rate: float = 10.0
    seconds: float = 60.0
    kill_every_s: float = 5.0

    def __post_init__(self) -> None:
        require("workers", 2 <= self.workers <= 64, "2 to 64", self.workers)
        require("streams", 1 <= self.streams <= 256, "1 to 256", self.streams)
        require("rate", 0 < self.rate <= 1000, "more than 0 and at most 1000", self.rate)
        require("kill_every_s", 0 < self.kill_every_s < self.seconds, "more than 0, less than seconds", self.seconds)


def kill_worker_under_load(
    model: Path, frames: Sequence[EncodedFrame], plan: KillPlan, options: Sequence[str] = ()
) -> dict[str, Any]:
    """Start a server of the model's folder with ``options``, load it, kill its workers in turn, say what came of it.

    ``frames`` counts frames by what became of them: "answered", "dropped" for a newer one, "failed" for an error of
    their own, "lost" where the connection broke before the reply; and all that were "due", more than these where a
    stream gave up, which ``errors`` tells. ``next_answer_s`` is the time from a kill to the next answer on each stream,
    cut or not, ``replaced_s`` that until as many workers listen as before. Raises ``ServerError`` if that never comes.
    """
    with server_process(model, ["--workers", str(plan.workers), *options]) as server:
        start_s = time.perf_counter()
        killer = _Killer(server.pid, int(server.address.rpartition(":")[2]), plan, start_s)
        streams = [_Stream(server.address, frames, plan, start_s) for _ in range(plan.streams)]
        threads = [threading.Thread(target=stream.run, daemon=True) for stream in streams]
        for thread in threads:
            thread.start()
        try:
            killer.run()
        finally:
            for thread in threads:
                thread.join()
    counts = {kind: sum(stream.counts[kind] for stream in streams) for kind in _KINDS}
    return {
        "workers": plan.workers,
        "streams": plan.streams,
        "rate": plan.rate,
        "seconds": plan.seconds,
        "killed": len(killer.kills_s),
        "replaced": len(killer.replaced_s),
        "replaced_s": summary(killer.replaced_s),
        "frames": counts,
        "errors": [stream.error for stream in streams if stream.error],
        "next_answer_s": summary([pause_s for stream in streams for pause_s in stream.pauses_s(killer.kills_s)]),
    }


@dataclass
class _Killer:
    """Kills the workers in turn, each when all are there."""

    supervisor: int
    port: int
    plan: KillPlan
    start_s: float
    kills_s: list[float] = field(default_factory=list)
    replaced_s: list[float] = field(default_factory=list)

    def run(self) -> None:
        ends_s = self.start_s + self.plan.seconds
        for turn in itertools.count():
            due_s = self.start_s + (turn + 1) * self.plan.kill_every_s
            if due_s >= ends_s:
                return
            time.sleep(max(0.0, due_s - time.perf_counter()))
            workers = self._listening()
            self._kill(workers[turn % len(workers)])

    def _kill(self, worker: psutil.Process) -> None:
        killed_s = time.perf_counter()
        self.kills_s.append(killed_s)
        worker.kill()
        while worker in (there := self._listening()) or len(there) < self.plan.workers:
            if time.perf_counter() > killed_s + _REPLACED_S:
                raise ServerError(f"a killed worker was not replaced within {_REPLACED_S:g} s; the lines above say why")
            time.sleep(_ASK_EVERY_S)
        self.replaced_s.append(time.perf_counter() - killed_s)

    def _listening(self) -> list[psutil.Process]:
        children = psutil.Process(self.supervisor).children()
        return sorted((child for child in children if _listens(child, self.port)), key=lambda child: child.pid)


def _listens(process: psutil.Process, port: int) -> bool:
    try:
        sockets = process.net_connections("tcp")
    except psutil.Error:  # it has just ended
        return False
    return any(each.status == psutil.CONN_LISTEN and each.laddr.port == port for each in sockets)


class _Stream:
    """One camera, whose frames are due by the clock, through a client that takes its stream up again by itself."""

    def __init__(self, address: str, frames: Sequence[EncodedFrame], plan: KillPlan, start_s: float) -> None:
        self._address = address
        self._frames = frames
        self._plan = plan
        self._start_s = start_s
        self.counts: Counter[str] = Counter()
        self.answers_s: list[float] = []
        self.error = ""

    def run(self) -> None:
        """All of it, or until ``error``: nobody hears what a thread raises."""
        try:
            self._run()
        except Exception as error:
            self.error = str(error) or type(error).__name__

    def _run(self) -> None:
        with Client(self._address, _READY_S) as client:
            for received in client.stream(self._paced()):
                self.counts[_kind(received)] += 1
                if received.answer is not None:
                    self.answers_s.append(time.perf_counter())

    def pauses_s(self, kills_s: Sequence[float]) -> list[float]:
        """From each kill until the next answer."""
        places = [(bisect(self.answers_s, killed_s), killed_s) for killed_s in kills_s]
        return [self.answers_s[place] - killed_s for place, killed_s in places if place < len(self.answers_s)]

    def _paced(self) -> Iterator[EncodedFrame]:
        for number in range(round(self._plan.rate * self._plan.seconds)):
            time.sleep(max(0.0, self._start_s + number / self._plan.rate - time.perf_counter()))
            self.counts["due"] += 1
            yield self._frames[number % len(self._frames)]


def _kind(received: Received) -> str:
    if received.answer is not None:
        return "answered"
    if received.dropped is None:
        return "failed"
    return "lost" if received.dropped is Drop.CONNECTION_LOST else "dropped"
