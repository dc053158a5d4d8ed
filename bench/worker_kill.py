"""What streams lose when a server's worker is killed under load, and how soon they are answered again."""

import itertools
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from bench.samples import summary
from scene.errors import ServerError, require
from serve.answer import Answer
from serve.client import Client, Received
from serve.exchange import Failure
from serve.frame import EncodedFrame
from streetmask.server_process import server_process

_KINDS = ("answered", "dropped", "failed", "lost", "unsent")
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
    their own, "lost" where the connection broke before the reply, "unsent" where there was none when they were due; and
    all that were "due". ``next_answer_s`` is the time from a kill to the next answer on each stream that it cut,
    ``replaced_s`` that until as many workers listen as before. Raises ``ServerError`` if that never comes.
    """
    with server_process(model, ["--workers", str(plan.workers), *options]) as server:
        start_s = time.perf_counter()
        killer = _Killer(server.pid, int(server.address.rpartition(":")[2]), plan, start_s)
        streams = [_Stream(server.address, frames, plan, start_s, killer) for _ in range(plan.streams)]
        threads = [threading.Thread(target=stream.run, daemon=True) for stream in streams]
        for thread in threads:
            thread.start()
        try:
            killer.run()
        finally:
            for thread in threads:
                thread.join()
    counts = {kind: sum(stream.counts[kind] for stream in streams) for kind in ("due", *_KINDS)}
    return {
        "workers": plan.workers,
        "streams": plan.streams,
        "rate": plan.rate,
        "seconds": plan.seconds,
        "killed": len(killer.kills_s),
        "replaced": len(killer.replaced_s),
        "replaced_s": summary(killer.replaced_s),
        "frames": counts,
        "cut_streams": sum(stream.cuts for stream in streams),
        "next_answer_s": summary([pause_s for stream in streams for pause_s in stream.pauses_s]),
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
    """One camera, whose frames are due by the clock, and which connects again whenever it is cut off."""

    def __init__(
        self, address: str, frames: Sequence[EncodedFrame], plan: KillPlan, start_s: float, killer: _Killer
    ) -> None:
        self._address = address
        self._frames = frames
        self._rate = plan.rate
        self._start_s = start_s
        self._due = round(plan.rate * plan.seconds)
        self._killer = killer
        self._cut_off_s: float | None = None
        self.counts: Counter[str] = Counter()
        self.cuts = 0
        self.pauses_s: list[float] = []

    def run(self) -> None:
        while self._next_due() < self._due:
            self._connected()
        self.counts["unsent"] = self._due - sum(self.counts[kind] for kind in _KINDS)
        self.counts["due"] = self._due

    def _connected(self) -> None:
        """One connection, until it breaks or all is sent."""
        sent: list[int] = []
        replies = 0
        try:
            with Client(self._address, _READY_S) as client:
                for received in client.stream(self._paced(sent)):
                    replies += 1
                    self._note(received)
        except ServerError:
            self.cuts += 1
            self._cut_off_s = max((moment for moment in self._killer.kills_s), default=None)
            self.counts["lost"] += len(sent) - replies

    def _paced(self, sent: list[int]) -> Iterator[EncodedFrame]:
        """Frames as they are due; what was due before the connection stood is gone."""
        for number in range(self._next_due(), self._due):
            time.sleep(max(0.0, self._start_s + number / self._rate - time.perf_counter()))
            sent.append(number)
            yield self._frames[number % len(self._frames)]

    def _next_due(self) -> int:
        return max(0, int((time.perf_counter() - self._start_s) * self._rate) + 1)

    def _note(self, received: Received) -> None:
        outcome = received.reply.outcome
        if isinstance(outcome, Answer):
            self.counts["answered"] += 1
            if self._cut_off_s is not None:
                self.pauses_s.append(time.perf_counter() - self._cut_off_s)
                self._cut_off_s = None
        else:
            self.counts["failed" if isinstance(outcome, Failure) else "dropped"] += 1
