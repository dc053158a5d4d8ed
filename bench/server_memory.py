"""What a server's process holds, and whether that grows while it is loaded."""

import threading
import time
import urllib.request
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from http.client import HTTPException
from itertools import pairwise
from statistics import median
from typing import Any, Self

import numpy as np
import psutil

_ASK_EVERY_S = 0.5
_METRIC = "process_resident_memory_bytes "


class MemoryWatch:
    """While a block runs, asks twice a second how many bytes the server holds.

    ``pid`` is its process on this machine; ``metrics`` HOST:PORT of its metrics, asked instead where
    there are any. Without both, and where neither tells, nothing is found.
    """

    def __init__(self, pid: int | None, metrics: str) -> None:
        self._read = partial(_scraped, metrics) if metrics else partial(resident_of, pid) if pid is not None else None
        self._samples: list[tuple[float, int]] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._ask, daemon=True)

    def report(self) -> dict[str, Any] | None:
        """``memory_report`` of what was read until now; None without any."""
        return memory_report(self._samples) if self._samples else None

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._sample()

    def _ask(self) -> None:
        self._sample()
        while not self._ended.wait(_ASK_EVERY_S):
            self._sample()

    def _sample(self) -> None:
        with suppress(OSError, psutil.Error, ValueError, HTTPException):
            if self._read is not None and (held := self._read()) is not None:
                self._samples.append((time.perf_counter(), held))


class Growth:
    """By how much a process grows over so many pieces of work, in each half of them: what a run fills once it fills in
    the first, and what leaks grows on in the second."""

    def __init__(self, read: Callable[[], int], count: int) -> None:
        self._read = read
        self._count = count
        self._done = 0
        self._held = [read()]

    def done(self) -> None:
        """One more is done."""
        self._done += 1
        if self._done in (max(1, self._count // 2), self._count):
            self._held.append(self._read())

    def halves(self) -> list[int]:
        """Bytes that each half grew by; the second one is missing where there was but one piece."""
        return [after - before for before, after in pairwise(self._held)]

    def words(self) -> str:
        """For the page."""
        return "memory " + ", then ".join(f"{grown / (1 << 20):+.1f}" for grown in self.halves()) + " MiB by halves"


def memory_report(samples: Sequence[tuple[float, int]]) -> dict[str, Any]:
    """Of (seconds, bytes), one at least: medians of the first, second ("warm"), middle and last tenth, the most, and
    the slope of a straight line through the second half, in bytes a second, as what is filled once is full by then."""
    held = [held_bytes for _, held_bytes in samples]
    tenth = max(1, len(held) // 10)
    middle = (len(held) - tenth) // 2
    warm = held[tenth : 2 * tenth] or held
    parts = {"start": held[:tenth], "warm": warm, "middle": held[middle : middle + tenth], "end": held[-tenth:]}
    found: dict[str, Any] = {f"{name}_bytes": int(median(part)) for name, part in parts.items()}
    return found | {"most_bytes": max(held), "slope_bytes_a_second": _slope(samples[len(samples) // 2 :])}


def resident_bytes(pid: int | None, metrics: str) -> dict[str, int] | None:
    """What the server holds now, where it can be asked."""
    watch = MemoryWatch(pid, metrics)
    with watch:
        pass
    report = watch.report()
    return {"resident_bytes": report["end_bytes"]} if report else None


def _slope(samples: Sequence[tuple[float, int]]) -> float | None:
    if len(samples) < 2:
        return None
    times_s, held = np.array(samples, np.float64).T
    return round(float(np.polyfit(times_s - times_s[0], held, 1)[0]), 1)


def resident_of(pid: int) -> int:
    """Bytes of the process and, where it is a supervisor, its workers; what they share counts for each."""
    process = psutil.Process(pid)
    return sum(int(each.memory_info().rss) for each in (process, *process.children()))


def _scraped(metrics: str) -> int | None:
    with urllib.request.urlopen(f"http://{metrics}/metrics", timeout=5) as page:  # the user's own server
        lines = page.read().decode().splitlines()
    return next((int(float(line.removeprefix(_METRIC))) for line in lines if line.startswith(_METRIC)), None)
