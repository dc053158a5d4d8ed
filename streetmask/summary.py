"""What a stream came to: frames by outcome, rate, and percentiles of every stage."""

import time
from collections import Counter
from dataclasses import asdict

import numpy as np

from streetmask.recording import FrameRecord

PERCENTILES = (50, 95, 99)


class Summary:
    """Counts records as they come; keeps eight numbers for each answered frame.

    ``sent`` is the number of frames sent, which whoever sends them sets: a stream cut off by Ctrl-C leaves some of
    them without a reply.
    """

    def __init__(self) -> None:
        self.sent = 0
        self.outcomes: Counter[str] = Counter()
        self._stages_ms: dict[str, list[float]] = {}
        self._started_s = time.perf_counter()
        self._ended_s = self._started_s

    def add(self, record: FrameRecord) -> None:
        """Count one frame."""
        self.outcomes[record.outcome] += 1
        self._ended_s = time.perf_counter()
        if record.answer is not None:
            for name, spent_ms in asdict(record.answer.times).items():
                self._stages_ms.setdefault(name.removesuffix("_ms"), []).append(spent_ms)
            self._stages_ms.setdefault("latency", []).append(record.latency_ms)

    def percentiles_ms(self) -> dict[str, tuple[float, ...]]:
        """For each stage, milliseconds at ``PERCENTILES``; empty if nothing was answered."""
        return {
            name: tuple(float(value) for value in np.percentile(spent, PERCENTILES))
            for name, spent in self._stages_ms.items()
        }

    def lines(self) -> list[str]:
        """The summary as a small table for people."""
        answered, waiting = self.outcomes["answered"], self.sent - self.outcomes.total()
        passed_s = max(self._ended_s - self._started_s, 1e-9)
        counts = f"{self.sent} frames sent, {answered} answered, {self.outcomes['dropped']} dropped"
        if self.outcomes["failed"]:
            counts += f", {self.outcomes['failed']} failed"
        if waiting > 0:
            counts += f", {waiting} without a reply"
        lines = [f"{counts} in {passed_s:.1f} s: {answered / passed_s:.1f} answered frames per second"]
        return lines + (self._table() if self._stages_ms else [])

    def _table(self) -> list[str]:
        heads = [f"p{share}" for share in PERCENTILES]
        rows = [f"{'milliseconds':<14}" + "".join(f"{head:>9}" for head in heads)]
        for name, values in self.percentiles_ms().items():
            rows.append(f"{name:<14}" + "".join(f"{value:9.1f}" for value in values))
        return rows
