"""Open-loop load on a server: frames are due by the clock, whatever the server does.

A closed loop, which sends the next frame when the last one is answered, stops sampling exactly while the server stalls
and so leaves out the worst ("coordinated omission"). Here every frame has its due time from the start, and its latency
counts from then, even when the generator itself could not send it in time.
"""

import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np

from bench.samples import jain, summary, totals
from scene.errors import StreetMaskError
from serve.answer import Answer
from serve.exchange import Failure
from serve.frame import EncodedFrame
from serve.outbox import Received

Arrivals = Literal["constant", "poisson"]

Ending = Literal["whole", "stopped", "stalled"]
"""To the end; by Ctrl-C; or cut off, since frames were still unanswered long after the last one was due."""

ANY_IN_FLIGHT = 1 << 20
"""Frames that may be unanswered: no bound, for whatever is due is sent, and it is the server that drops."""


_HEAD_START_S = 0.2
_PATIENCE_S = 30.0
"""How long after the last frame was due its reply is waited for."""


@dataclass(frozen=True)
class LoadPlan:
    """One stream for each of ``rates``, in frames per second, for so many seconds."""

    rates: tuple[float, ...]
    seconds: float
    arrivals: Arrivals = "constant"
    seed: int = 1


class Clock(Protocol):
    """Seconds, and how to wait for them: a test has its own."""

    def now(self) -> float:
        """Seconds since whenever."""
        ...

    def sleep_until(self, due_s: float) -> None:
        """Return at that time, or at once if it has passed."""
        ...


class WallClock:
    """The machine's monotonic clock."""

    def now(self) -> float:
        """Seconds since whenever."""
        return time.perf_counter()

    def sleep_until(self, due_s: float) -> None:
        """Return at that time, or at once if it has passed."""
        time.sleep(max(0.0, due_s - time.perf_counter()))


class Closable(Protocol):
    """A client."""

    def close(self) -> object:
        """End all its calls."""
        ...


Exchange = Callable[[Iterable[EncodedFrame]], Generator[Received, None, None]]
"""Sends frames as they come and yields what became of each: ``Client.stream``."""


class Outcome(NamedTuple):
    """What became of one frame. ``latency_ms`` from its due time until its reply, which was read at ``at_s``;
    ``late_ms`` from its due time until it left the client, which is the generator's own delay or the connection's;
    ``kind`` "answered", "dropped", "failed", "unanswered", or "unsent" for one that was due and could not be sent."""

    kind: str
    latency_ms: float = 0.0
    late_ms: float = 0.0
    at_s: float = 0.0
    detail: str = ""
    stages_ms: dict[str, float] | None = None


@dataclass
class StreamLog:
    """One stream: its rate, when each frame was due and sent, and what became of it, by frame number.

    ``ended_s`` is when the load was cut off, if it was: what was due later was never asked for.
    """

    rate: float
    due_s: list[float] = field(default_factory=list)
    sent_s: list[float] = field(default_factory=list)
    outcomes: dict[int, Outcome] = field(default_factory=dict)
    error: str = ""
    ended_s: float = math.inf

    def all_outcomes(self) -> list[Outcome]:
        """Of every frame that was due, in order, whether it could be sent or not."""
        due = sum(due_s <= self.ended_s for due_s in self.due_s)
        return [self._outcome(number) for number in range(due)]

    def note(self, received: Received, now_s: float) -> None:
        """Write down a reply that was read now."""
        number, outcome = received.reply.frame_id, received.reply.outcome
        latency_ms = (now_s - self.due_s[number]) * 1000
        sent = not math.isnan(received.round_trip_ms)
        late_ms = max(0.0, latency_ms - received.round_trip_ms) if sent else self._late_ms(number)
        if isinstance(outcome, Answer):
            times = {name.removesuffix("_ms"): value for name, value in outcome.times.__dict__.items()}
            self.outcomes[number] = Outcome("answered", latency_ms, late_ms, now_s, stages_ms=times)
        elif isinstance(outcome, Failure):
            self.outcomes[number] = Outcome("failed", latency_ms, late_ms, now_s, outcome.code.value)
        else:
            self.outcomes[number] = Outcome("dropped", latency_ms, late_ms, now_s, outcome.value)

    def _outcome(self, number: int) -> Outcome:
        if number in self.outcomes:
            return self.outcomes[number]
        if number < len(self.sent_s):
            return Outcome("unanswered", late_ms=self._late_ms(number))
        return Outcome("unsent")

    def _late_ms(self, number: int) -> float:
        return (self.sent_s[number] - self.due_s[number]) * 1000


def due_times(rate: float, seconds: float, arrivals: Arrivals, rng: np.random.Generator) -> list[float]:
    """Seconds from the start at which frames are due: evenly, or as a Poisson process of the same rate."""
    if arrivals == "constant":
        return [number / rate for number in range(max(1, round(rate * seconds)))]
    gaps = rng.exponential(1 / rate, max(16, int(2 * rate * seconds) + 64))
    times = np.cumsum(gaps)
    return [float(moment) for moment in times[times < seconds]] or [0.0]


def drive(
    exchange: Exchange,
    frames: list[EncodedFrame],
    due_s: list[float],
    log: StreamLog,
    clock: Clock,
    stop: threading.Event | None = None,
) -> None:
    """Send a frame at each due time, all from the ``frames`` in turn, and log every reply as it is read."""
    log.due_s = due_s
    replies = exchange(_paced(frames, log, clock, stop or threading.Event()))
    try:
        for received in replies:
            log.note(received, clock.now())
    except StreetMaskError as error:
        log.error = str(error)
    finally:
        replies.close()


def run_load(
    exchanges: list[Exchange], frames: list[EncodedFrame], plan: LoadPlan, cancel: Callable[[], None]
) -> tuple[list[StreamLog], Ending]:
    """All streams at once, one thread each; and how it ended.

    Ctrl-C, or a server that leaves frames unanswered long after the last one was due, ends the load by ``cancel``,
    which must make every exchange end; what was logged until then is kept.
    """
    clock, stop, rng = WallClock(), threading.Event(), np.random.default_rng(plan.seed)
    start_s = clock.now() + _HEAD_START_S
    logs = [StreamLog(rate) for rate in plan.rates]
    threads = []
    for number, (exchange, log) in enumerate(zip(exchanges, logs, strict=True)):
        # Streams of one rate would else all be due at the same moments, as no cameras are.
        first_s = start_s + number / len(logs) / log.rate
        due_s = [first_s + moment for moment in due_times(log.rate, plan.seconds, plan.arrivals, rng)]
        turned = frames[number % len(frames) :] + frames[: number % len(frames)]
        threads.append(threading.Thread(target=drive, args=(exchange, turned, due_s, log, clock, stop), daemon=True))
    for thread in threads:
        thread.start()
    ending = _join(threads, clock, start_s + plan.seconds + _PATIENCE_S)
    if ending != "whole":
        ended_s = clock.now()
        for log in logs:
            log.ended_s = min(ended_s, start_s + plan.seconds + 1 / log.rate)
        stop.set()
        cancel()
        _join(threads, clock, clock.now() + _PATIENCE_S)
    return logs, ending


def close_all(clients: Iterable[Closable]) -> None:
    """What ends every exchange of these clients."""
    for client in clients:
        client.close()


def _join(threads: list[threading.Thread], clock: Clock, until_s: float) -> Ending:
    """Wait for all to end."""
    try:
        for thread in threads:
            thread.join(max(0.0, until_s - clock.now()))
    except KeyboardInterrupt:
        return "stopped"
    return "stalled" if any(thread.is_alive() for thread in threads) else "whole"


def load_report(logs: list[StreamLog]) -> dict[str, Any]:
    """What a load came to: counts by outcome, throughput, age, fairness, and the server's own stages.

    ``work_ms`` is decoding, network and masks together, ``added_ms`` all the rest of a frame's age, client included.

    Rates are over the time in which frames were due: an answer that came later counts as answered, not as throughput.
    """
    outcomes = [outcome for log in logs for outcome in log.all_outcomes()]
    answered = sorted((outcome for outcome in outcomes if outcome.kind == "answered"), key=lambda row: row.at_s)
    start_s, end_s = _window(logs)
    seconds = max(end_s - start_s, 1e-9)
    stages: dict[str, list[float]] = {}
    for outcome in answered:
        for name, spent_ms in (outcome.stages_ms or {}).items():
            stages.setdefault(name, []).append(round(spent_ms, 3))
    work_ms = [_work_ms(outcome.stages_ms or {}) for outcome in answered]
    return {
        "offered_fps": round(len(outcomes) / seconds, 3),
        "answered_fps": round(sum(outcome.at_s <= end_s for outcome in answered) / seconds, 3),
        "frames": dict(Counter(outcome.kind for outcome in outcomes), due=len(outcomes)),
        "reasons": dict(Counter(outcome.detail for outcome in outcomes if outcome.detail)),
        "age_ms": summary([outcome.latency_ms for outcome in answered]),
        "samples_age_ms": [round(outcome.latency_ms, 3) for outcome in answered],
        "late_ms": summary([outcome.late_ms for outcome in outcomes if outcome.kind != "unsent"]),
        "server_ms": totals(stages),
        "work_ms": summary(work_ms),
        "added_ms": summary([outcome.latency_ms - spent for outcome, spent in zip(answered, work_ms, strict=True)]),
        "fairness": round(jain([_answered_share(log) for log in logs]), 4),
        "streams": [_stream_report(log) for log in logs],
        "errors": [log.error for log in logs if log.error],
    }


def answers_per_second(logs: list[StreamLog]) -> float:
    """From the first answer to the last, as of a closed loop: a short load's beginning does not count. 0 for fewer."""
    times_s = [outcome.at_s for log in logs for outcome in log.all_outcomes() if outcome.kind == "answered"]
    return (len(times_s) - 1) / (max(times_s) - min(times_s)) if len(times_s) > 1 else 0.0


def _window(logs: list[StreamLog]) -> tuple[float, float]:
    """From the first frame due until one period after the last, or until the load was cut off."""
    firsts = [log.due_s[0] for log in logs if log.due_s]
    lasts = [min(log.due_s[-1] + 1 / log.rate, log.ended_s) for log in logs if log.due_s]
    return (min(firsts), max(lasts)) if firsts else (0.0, 0.0)


def _paced(frames: list[EncodedFrame], log: StreamLog, clock: Clock, stop: threading.Event) -> Iterator[EncodedFrame]:
    for number, due_s in enumerate(log.due_s):
        clock.sleep_until(due_s)
        if stop.is_set():
            return
        log.sent_s.append(clock.now())
        yield frames[number % len(frames)]


def _work_ms(stages_ms: dict[str, float]) -> float:
    """What the model itself took: all stages but waiting. The rest of a frame's age is what serving adds."""
    return sum(spent_ms for name, spent_ms in stages_ms.items() if name not in ("queue", "total"))


def _answered_share(log: StreamLog) -> float:
    outcomes = log.all_outcomes()
    return sum(outcome.kind == "answered" for outcome in outcomes) / max(1, len(outcomes))


def _stream_report(log: StreamLog) -> dict[str, Any]:
    outcomes = log.all_outcomes()
    return {
        "rate": log.rate,
        "frames": dict(Counter(outcome.kind for outcome in outcomes), due=len(outcomes)),
        "age_ms": summary([outcome.latency_ms for outcome in outcomes if outcome.kind == "answered"]),
    }
