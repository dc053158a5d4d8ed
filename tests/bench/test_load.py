"""Load by the clock, on a clock of its own: figures come out as computed by hand."""

from collections import deque
from collections.abc import Callable, Generator, Iterable

import numpy as np
import pytest

from bench.load import Outcome, StreamLog, answers_per_second, drive, due_times, load_report
from scene.errors import ServerError
from serve.answer import Answer, StageTimes
from serve.client import Received
from serve.exchange import Drop, Failure, FailureCode, Reply
from serve.frame import EncodedFrame

FRAMES = [EncodedFrame(b"a", arrived_s=0.0), EncodedFrame(b"b", arrived_s=0.0)]


class VirtualClock:
    """Time that passes only when somebody waits."""

    def __init__(self) -> None:
        self.time_s = 100.0

    def now(self) -> float:
        return self.time_s

    def sleep_until(self, due_s: float) -> None:
        self.time_s = max(self.time_s, due_s)


def answer(network_ms: float) -> Answer:
    return Answer("fake", 1, (64, 128), (), StageTimes(network_ms=network_ms, total_ms=network_ms))


def fake_server(
    clock: VirtualClock, delay_s: Callable[[int], float], due_s: list[float], replace: bool
) -> Callable[[Iterable[EncodedFrame]], Generator[Received, None, None]]:
    """An engine of known delay behind a queue, or behind one waiting place that a newer frame takes.

    It works one frame after the other from when it is free. The clock is set to each event before it is told.
    """

    def exchange(frames: Iterable[EncodedFrame]) -> Generator[Received, None, None]:
        arrivals: list[float] = []
        for _ in frames:
            arrivals.append(clock.now())
        events: list[tuple[float, int, Answer | Drop]] = []
        waiting: deque[int] = deque()
        free_s = arrivals[0] if arrivals else 0.0

        def work_until(time_s: float) -> None:
            nonlocal free_s
            while waiting and max(free_s, arrivals[waiting[0]]) <= time_s:
                number = waiting.popleft()
                spent_s = delay_s(number)
                free_s = max(free_s, arrivals[number]) + spent_s
                events.append((free_s, number, answer(spent_s * 1000)))

        for number, arrived_s in enumerate(arrivals):
            work_until(arrived_s)
            if replace and waiting:
                events.append((arrived_s, waiting.popleft(), Drop.NEWER_FRAME))
            waiting.append(number)
        work_until(float("inf"))
        for time_s, number, outcome in sorted(events, key=lambda event: event[:2]):
            clock.time_s = time_s
            yield Received(Reply(number, 0, outcome), 0.0)

    return exchange


def run(rate: float, seconds: float, delay_s: Callable[[int], float], replace: bool = False) -> StreamLog:
    clock, log = VirtualClock(), StreamLog(rate)
    due_s = [100.0 + moment for moment in due_times(rate, seconds, "constant", np.random.default_rng(1))]
    drive(fake_server(clock, delay_s, due_s, replace), FRAMES, due_s, log, clock)
    return log


def test_no_reply_is_told_as_such() -> None:
    log = StreamLog(10.0)
    assert log.all_outcomes() == []
    report = load_report([log])
    assert report["frames"] == {"due": 0}
    assert report["age_ms"] == {"count": 0}


def test_the_rate_of_answers_counts_from_the_first_to_the_last() -> None:
    assert answers_per_second([]) == 0
    logs = [
        StreamLog(
            10.0, [0.0], [0.0], {0: Outcome("answered", 1.0, at_s=moment_s), 1: Outcome("dropped", 1.0, at_s=9.0)}
        )
        for moment_s in (3.0, 3.5, 4.0)
    ]
    assert answers_per_second(logs[:1]) == 0
    assert answers_per_second(logs) == 2


def test_an_engine_within_its_capacity_shows_its_delay_as_age_and_median() -> None:
    report = load_report([run(10.0, 2.0, lambda _: 0.05)])
    assert report["frames"] == {"answered": 20, "due": 20}
    assert report["age_ms"]["median"] == pytest.approx(50)
    assert report["age_ms"]["max"] == pytest.approx(50)
    assert report["server_ms"]["network"]["median"] == pytest.approx(50)
    assert report["answered_fps"] == pytest.approx(10)


def test_what_serving_adds_is_the_age_without_the_model_s_own_work() -> None:
    stages_ms = {"queue": 4.0, "decode": 3.0, "network": 15.0, "paste": 1.0, "total": 23.0}
    log = StreamLog(10.0, [0.0], [0.0], {0: Outcome("answered", 24.5, at_s=0.0245, stages_ms=stages_ms)})
    report = load_report([log])
    assert report["work_ms"]["median"] == pytest.approx(19.0)
    assert report["added_ms"]["p99"] == pytest.approx(5.5)


def test_a_stall_counts_for_every_frame_that_was_due_in_it() -> None:
    """Frame 5 takes a second. The nine frames that fell due meanwhile wait too: latency 950, 860 ... ms by hand.

    Who waits for each answer before sending the next sees one slow call of twenty, and a p90 of 10 ms.
    """
    report = load_report([run(10.0, 2.0, lambda number: 1.0 if number == 5 else 0.01)])
    ages = sorted(report["samples_age_ms"])
    late = [1000.0] + [1000.0 - 100 * place + 10 * place for place in range(1, 11)]
    assert ages[-11:] == pytest.approx(sorted(late))
    assert ages[:9] == pytest.approx([10.0] * 9)
    assert report["age_ms"]["p90"] > 800


def test_under_overload_a_queue_grows_old_and_a_waiting_place_does_not() -> None:
    """30 frames a second into 50 ms of work, by hand: a queue's last frame is as old as all work before it."""
    queue = load_report([run(30.0, 4.0, lambda _: 0.05)])
    newest = load_report([run(30.0, 4.0, lambda _: 0.05, replace=True)])
    last = 120 * 0.05 - 119 / 30
    assert queue["offered_fps"] == pytest.approx(30)
    assert queue["frames"]["answered"] == 120
    assert queue["answered_fps"] == pytest.approx(20, abs=0.5)  # not 30: most answers came after the load
    assert newest["answered_fps"] == pytest.approx(20, abs=0.5)
    assert queue["age_ms"]["max"] == pytest.approx(last * 1000)
    assert newest["age_ms"]["max"] <= 50 + 50 + 1e-6
    assert newest["frames"]["answered"] + newest["frames"]["dropped"] == 120
    assert newest["frames"]["answered"] == pytest.approx(80, abs=2)
    assert newest["reasons"] == {"newer_frame": newest["frames"]["dropped"]}


def test_a_generator_that_comes_late_does_not_shorten_the_latency() -> None:
    """The frame was due at 0 s, the generator could only send it at 0.3 s, the engine took 0.05 s: it is 350 ms old."""
    clock, log = VirtualClock(), StreamLog(1.0)
    clock.time_s = 100.3
    drive(fake_server(clock, lambda _: 0.05, [100.0], False), FRAMES, [100.0], log, clock)
    (outcome,) = log.all_outcomes()
    assert outcome.latency_ms == pytest.approx(350)
    assert outcome.late_ms == pytest.approx(300)


def test_a_stream_that_breaks_keeps_what_it_has_and_says_why() -> None:
    def exchange(frames: Iterable[EncodedFrame]) -> Generator[Received, None, None]:
        feed = iter(frames)
        next(feed)
        yield Received(Reply(0, 0, Failure(FailureCode.INVALID_FRAME, "no picture")), 0.0)
        next(feed)
        raise ServerError("the server went away")

    clock, log = VirtualClock(), StreamLog(10.0)
    drive(exchange, FRAMES, [100.0, 100.1, 100.2], log, clock)
    report = load_report([log])
    assert report["frames"] == {"failed": 1, "unanswered": 1, "unsent": 1, "due": 3}
    assert report["errors"] == ["the server went away"]


def test_due_times_are_even_or_random_at_the_same_rate() -> None:
    rng = np.random.default_rng(2)
    assert due_times(4.0, 1.0, "constant", rng) == [0, 0.25, 0.5, 0.75]
    random = due_times(50.0, 100.0, "poisson", rng)
    assert len(random) == pytest.approx(5000, rel=0.1)
    assert random == sorted(random)
    gaps = np.diff(random)
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.1)  # exponential: deviation equals mean


def test_fairness_is_of_the_share_that_each_stream_was_answered() -> None:
    logs = [StreamLog(10.0), StreamLog(10.0)]
    for log, kind in zip(logs, ("answered", "dropped"), strict=True):
        log.due_s, log.sent_s, log.outcomes = [0.0], [0.0], {0: Outcome(kind, 1.0)}
    assert load_report(logs)["fairness"] == pytest.approx(0.5)


def test_frames_that_a_stalled_connection_keeps_back_are_counted() -> None:
    """The connection takes two frames and then no more: the other eight were due all the same."""

    def exchange(frames: Iterable[EncodedFrame]) -> Generator[Received, None, None]:
        feed = iter(frames)
        next(feed), next(feed)
        yield Received(Reply(0, 0, answer(5.0)), 0.0)

    clock, log = VirtualClock(), StreamLog(10.0)
    drive(exchange, FRAMES, [100 + number / 10 for number in range(10)], log, clock)
    report = load_report([log])
    assert report["frames"] == {"answered": 1, "unanswered": 1, "unsent": 8, "due": 10}
    assert report["streams"][0]["frames"]["due"] == 10


def test_what_would_have_been_due_after_the_end_was_never_asked_for() -> None:
    log = StreamLog(10.0, [0.0, 0.1, 0.2], [0.0], {0: Outcome("answered", 20.0, 0.0, 0.02)}, ended_s=0.15)
    report = load_report([log])
    assert report["frames"] == {"answered": 1, "unsent": 1, "due": 2}
    assert report["answered_fps"] == pytest.approx(1 / 0.15, rel=0.01)
