"""Hands the work of many streams to the one engine. Knows no images and no gRPC: anything in, anything out.

One piece of work at a time, in order of arrival, on a thread of its own. A stream has one frame in work at most, so
that order is also fair: each stream's next frame queues behind the others' current ones. Putting several streams'
frames into one run belongs here, too.
"""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

Work = TypeVar("Work")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Timed(Generic[Result]):
    """A result and the milliseconds that the engine itself took for it."""

    result: Result
    spent_ms: float


class Batcher(Generic[Work, Result]):
    """Runs a blocking function on its own thread, one call at a time, first come, first served."""

    def __init__(self, run: Callable[[Work], Result]) -> None:
        self._run = run
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="engine")

    async def submit(self, work: Work) -> Timed[Result]:
        """Wait for the work's turn and its result; cancelled while it waits, the work is never run."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._timed, work)

    def close(self) -> None:
        """Refuse further work, forget what waits, and wait for what runs."""
        self._thread.shutdown(cancel_futures=True)

    def _timed(self, work: Work) -> Timed[Result]:
        started_s = time.perf_counter()
        result = self._run(work)
        return Timed(result, (time.perf_counter() - started_s) * 1000)
