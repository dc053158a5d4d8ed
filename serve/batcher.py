"""Hands the work of many streams and calls to the engines. Knows no images and no gRPC: anything in, anything out.

Each lane is an engine with a thread of its own, which takes from the common queue as soon as it is free, without the
event loop between two batches. What has waited meanwhile is run together, in order of arrival. Only while another lane
is busy does a lane wait for a fuller batch, for the delay at most: where nothing runs, nothing waits.
"""

import asyncio
import heapq
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic, TypeVar

from serve.usual import Usual

Work = TypeVar("Work")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Timed(Generic[Result]):
    """A result, the milliseconds that the lane took for its batch, and how many were in that."""

    result: Result
    spent_ms: float
    batch: int = 1


@dataclass(eq=False)
class _Piece(Generic[Work, Result]):
    work: Work
    begun: Callable[[], None]
    ended: Callable[[], None]
    future: "asyncio.Future[Timed[Result]]"
    submitted_s: float

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        return self.future.get_loop()

    def settle(self, outcome: "Timed[Result] | Exception") -> None:
        """On the event loop: a caller who is gone wants nothing any more, but others may wait for the engine."""
        if not self.future.done():
            if isinstance(outcome, Exception):
                self.future.set_exception(outcome)
            else:
                self.future.set_result(outcome)
        self.ended()


class Batcher(Generic[Work, Result]):
    """Runs blocking functions, one a lane, on batches of what is submitted.

    A lane's function gets up to ``max_batch`` pieces of work and returns as many results in their order, an exception
    for a piece that failed alone. If it raises, that batch's callers get its error, and the lane goes on. ``delay_s``
    is how long a lane may wait for a fuller batch while another one is busy.
    """

    def __init__(
        self,
        lanes: Sequence[Callable[[Sequence[Work]], Sequence[Result | Exception]]],
        max_batch: int = 1,
        delay_s: float = 0.0,
        now_s: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._max_batch = max_batch
        self._delay_s = delay_s
        self._now_s = now_s
        self._waiting: deque[_Piece[Work, Result]] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._began_s: list[float | None] = [None] * len(lanes)
        self._usual = Usual()
        self._threads = [
            threading.Thread(target=self._serve, args=(number, run), name=f"engine-{number}", daemon=True)
            for number, run in enumerate(lanes)
        ]
        for thread in self._threads:
            thread.start()

    async def submit(
        self, work: Work, begun: Callable[[], None] = lambda: None, ended: Callable[[], None] = lambda: None
    ) -> Timed[Result]:
        """Wait for the work's result; cancelled while it waits, the work is never run.

        ``begun`` is called on the event loop once an engine has taken it, ``ended`` once it is done with it, though
        whoever wanted the result may be gone by then. Raises what the engine raises.
        """
        loop = asyncio.get_running_loop()
        piece = _Piece[Work, Result](work, begun, ended, loop.create_future(), self._now_s())
        with self._changed:
            if self._closed:
                raise RuntimeError("the batcher is closed")
            self._waiting.append(piece)
            self._changed.notify()
        try:
            return await piece.future
        except asyncio.CancelledError:
            with self._changed, suppress(ValueError):
                self._waiting.remove(piece)
            raise
        finally:
            del piece  # an error would else hold, in a circle, the frames that it went through

    def starts_in_s(self, ahead: int) -> float:
        """In how many seconds a piece that so many others are ahead of may be begun, with a little luck.

        Infinity where every lane is busy and nobody knows for how long, as no batch has ended yet.
        """
        now_s, usual_s = self._now_s(), self._usual.at_least_s() or math.inf
        free_s = [0.0 if began_s is None else max(0.0, began_s + usual_s - now_s) for began_s in self._began_s]
        heapq.heapify(free_s)
        for _ in range(ahead // self._max_batch):
            heapq.heapreplace(free_s, free_s[0] + usual_s)
        return free_s[0]

    @property
    def waiting(self) -> int:
        """Pieces that no lane has taken yet."""
        return len(self._waiting)

    @property
    def idle(self) -> int:
        """Lanes that have nothing to do, with what waits already given to them."""
        return sum(began_s is None for began_s in self._began_s) - len(self._waiting)

    def close(self) -> None:
        """Refuse further work, cancel what waits, and wait for what runs."""
        with self._changed:
            self._closed = True
            waiting = list(self._waiting)
            self._waiting.clear()
            self._changed.notify_all()
        for piece in waiting:
            with suppress(RuntimeError):  # the loop is closed: nobody waits any more
                piece.loop.call_soon_threadsafe(piece.future.cancel)
        for thread in self._threads:
            thread.join()

    def _serve(self, lane: int, run: Callable[[Sequence[Work]], Sequence[Result | Exception]]) -> None:
        while self._run_next(lane, run):
            pass  # what a batch held is let go before the next is waited for

    def _run_next(self, lane: int, run: Callable[[Sequence[Work]], Sequence[Result | Exception]]) -> bool:
        """Wait for a batch and run it; False once the batcher is closed."""
        batch = self._next_batch(lane)
        for piece in batch:
            with suppress(RuntimeError):
                piece.loop.call_soon_threadsafe(piece.begun)
        outcomes = self._outcomes(run, batch) if batch else []
        with self._changed:
            self._began_s[lane] = None
            self._changed.notify_all()  # where another lane waited for a fuller batch, nothing runs now
        for piece, outcome in zip(batch, outcomes, strict=True):
            with suppress(RuntimeError):
                piece.loop.call_soon_threadsafe(piece.settle, outcome)
        return bool(batch)

    def _next_batch(self, lane: int) -> list[_Piece[Work, Result]]:
        """What has waited, as soon as it is worth running; empty once the batcher is closed."""
        with self._changed:
            while not self._closed:
                patience_s = self._patience_s()
                if patience_s is not None and patience_s <= 0:
                    batch = [self._waiting.popleft() for _ in range(min(self._max_batch, len(self._waiting)))]
                    self._began_s[lane] = self._now_s()
                    return batch
                self._changed.wait(patience_s)
            return []

    def _patience_s(self) -> float | None:
        """Seconds to wait for a fuller batch; None where nothing waits."""
        if not self._waiting:
            return None
        idle = all(began_s is None for began_s in self._began_s)
        if idle or len(self._waiting) >= self._max_batch:
            return 0.0
        return self._waiting[0].submitted_s + self._delay_s - self._now_s()

    def _outcomes(
        self, run: Callable[[Sequence[Work]], Sequence[Result | Exception]], batch: list[_Piece[Work, Result]]
    ) -> Sequence[Timed[Result] | Exception]:
        started_s = self._now_s()
        try:
            results = run([piece.work for piece in batch])
            if len(results) != len(batch):
                raise RuntimeError(f"an engine gave {len(results)} results for a batch of {len(batch)}")
        except Exception as error:  # engines' own exceptions share no nearer root
            return [error] * len(batch)
        spent_s = self._now_s() - started_s
        if not all(isinstance(result, Exception) for result in results):
            self._usual.note(spent_s)  # what fails at once says nothing of how long the others take
        return [
            result if isinstance(result, Exception) else Timed(result, spent_s * 1000, len(batch)) for result in results
        ]
