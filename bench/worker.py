"""One subject in a process of its own: it loads, then answers frames whenever its turn has come."""

import resource
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil

from bench.child import Child
from bench.frames import stored_frames
from bench.runners import DecodingRunner, Run
from bench.subjects import Subject, open_runner
from scene.image import RgbImage
from serve.frame import EncodedFrame

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
    """What it took until the first answer, milliseconds: from the process's start, imports and all, until it had
    loaded; then the first call."""

    load_ms: float
    first_call_ms: float


@dataclass(frozen=True)
class Ended:
    """The most that a worker held: of the host's memory (with the shown frames, which it maps), and of the GPU's."""

    host_peak_bytes: int
    device_peak_bytes: int | None


class Worker:
    """The parent's side of a subject, whose process does ``work(connection, *arguments)``, such as ``answer_frames``.

    The work sends ``Loaded``, then a ``Sample`` for each tuple of frame numbers, and for None ``Ended``. Raises
    ``DataError`` with the subject's own sentence where it fails.
    """

    def __init__(self, name: str, work: Callable[..., None], *arguments: Any) -> None:
        self._child = Child(name, work, *arguments)

    def loaded(self) -> Loaded:
        """Wait until it has loaded and answered once."""
        return self._child.receive(Loaded, _START_S)

    def play(self, frames: tuple[int, ...]) -> Sample:
        """Answer the frames of these numbers once, timed."""
        self._child.send(frames)
        return self._child.receive(Sample, _START_S)

    def end(self) -> Ended:
        """Let it go, and hear what it used."""
        self._child.send(None)
        ended = self._child.receive(Ended, _START_S)
        self._child.join()
        return ended

    def kill(self) -> None:
        """End it at once."""
        self._child.kill()


def answer_frames(connection: Connection, subject: Subject, path: Path) -> None:
    """The worker's side: load, then answer frames that are stored there until told to end."""
    run, frames = _opened(subject, path)
    load_ms = since_start_ms()
    started_s = time.perf_counter()
    run([frames(0)] * subject.batch)
    connection.send(Loaded(load_ms, (time.perf_counter() - started_s) * 1000))
    while (numbers := connection.recv()) is not None:
        batch = [frames(number) for number in numbers]
        started_s = time.perf_counter()
        found = run(batch)
        total_ms = (time.perf_counter() - started_s) * 1000
        connection.send(Sample(total_ms, found.stages_ms, sum(len(rows) for rows in found.rows), found.pasted))
    connection.send(peaks())


def _opened(
    subject: Subject, path: Path
) -> tuple[Callable[[list[Any]], Run], Callable[[int], RgbImage | EncodedFrame]]:
    """What answers a batch of frames, and what gives the frame of a number."""
    runner, frames = open_runner(subject), stored_frames(path)
    if isinstance(frames, list):
        return DecodingRunner(runner).run, frames.__getitem__
    return runner.run, lambda number: np.ascontiguousarray(frames[number])


def since_start_ms() -> float:
    """Milliseconds since this process was started, imports and all."""
    return (time.time() - psutil.Process().create_time()) * 1000


def peaks() -> Ended:
    """What this process held at most until now."""
    return Ended(_host_peak_bytes(), _device_peak_bytes())


def _host_peak_bytes() -> int:
    """Linux's own high-water mark of this process: ``ru_maxrss`` would be its parent's, if that was larger."""
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _device_peak_bytes() -> int | None:
    """What torch's allocator took from the GPU at most; None where torch was not loaded or used none."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return None
    return int(torch.cuda.max_memory_reserved()) or None
