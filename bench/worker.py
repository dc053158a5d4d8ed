"""One subject in a process of its own: it loads, then answers frames whenever its turn has come."""

import resource
import sys
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import NamedTuple

import numpy as np

from bench.child import Child
from bench.machine import gpu_memory_bytes
from bench.subjects import Subject, open_runner

_START_S = 1200.0
"""Longest wait for a subject to load and answer for the first time: ``torch.compile`` takes minutes."""


class Sample(NamedTuple):
    """One timed call: milliseconds in all and by stage, rows found and instances pasted over its frames."""

    total_ms: float
    stages_ms: dict[str, float]
    rows: int
    pasted: int


@dataclass(frozen=True)
class Loaded:
    """What it took until the first answer, milliseconds: importing and loading, then the first call."""

    load_ms: float
    first_call_ms: float


@dataclass(frozen=True)
class Ended:
    """What a worker knows of itself at its end."""

    host_peak_bytes: int
    cpu_s: float


class Worker:
    """The parent's side of a subject. Raises ``DataError`` with the subject's own sentence where it fails."""

    def __init__(self, subject: Subject, frames: Path) -> None:
        self.subject = subject
        self._child = Child(subject.name, _serve, subject, frames)
        self.device_peak_bytes: int | None = None

    def loaded(self) -> Loaded:
        """Wait until it has loaded and answered once."""
        return self._child.receive(Loaded, _START_S)

    def play(self, frames: tuple[int, ...]) -> Sample:
        """Answer the frames of these numbers once, timed."""
        self._child.send(frames)
        sample = self._child.receive(Sample, _START_S)
        held = gpu_memory_bytes(self._child.pid) if self.subject.device != "cpu" else None
        self.device_peak_bytes = max(held or 0, self.device_peak_bytes or 0) or None
        return sample

    def end(self) -> Ended:
        """Let it go, and hear what it used."""
        self._child.send(None)
        ended = self._child.receive(Ended, _START_S)
        self._child.join()
        return ended

    def kill(self) -> None:
        """End it at once."""
        self._child.kill()


def _serve(connection: Connection, subject: Subject, path: Path) -> None:
    """The worker's side: load, then answer until told to end."""
    frames = np.load(path, mmap_mode="r")
    started_s = time.perf_counter()
    runner = open_runner(subject)
    loaded_s = time.perf_counter()
    runner.run([np.ascontiguousarray(frames[0])] * subject.batch)
    connection.send(Loaded((loaded_s - started_s) * 1000, (time.perf_counter() - loaded_s) * 1000))
    while (numbers := connection.recv()) is not None:
        batch = [np.ascontiguousarray(frames[number]) for number in numbers]
        started_s = time.perf_counter()
        run = runner.run(batch)
        total_ms = (time.perf_counter() - started_s) * 1000
        connection.send(Sample(total_ms, run.stages_ms, sum(len(rows) for rows in run.rows), run.pasted))
    used = resource.getrusage(resource.RUSAGE_SELF)
    peak_bytes = used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    connection.send(Ended(peak_bytes, used.ru_utime + used.ru_stime))
