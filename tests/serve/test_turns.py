"""Whose frame is next: told in virtual time, with no clock but the test's."""

import asyncio
import heapq
import itertools
import math
from collections import Counter
from dataclasses import dataclass
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.exchange import Frame, Reply, StreamOptions
from serve.stream import Waiting
from serve.turns import Member, Turn, Turns, TurnsEndedError


def now(_: int) -> float:
    return 0.0


async def test_nobody_waits_where_there_is_room() -> None:
    turns = Turns(2, now)
    await turns.take(Member())
    await turns.take(Member())
    third = asyncio.create_task(turns.take(Member()))
    await asyncio.sleep(0)
    assert not third.done()
    third.cancel()


async def test_a_turn_given_back_goes_to_whoever_had_none_in_this_round() -> None:
    turns = Turns(1, now)
    first, second = Member(), Member()
    (await turns.take(second)).release()
    turn = await turns.take(first)
    waiting = {
        "first": asyncio.create_task(turns.take(first)),
        "second": asyncio.create_task(turns.take(second)),
    }
    await asyncio.sleep(0)
    turn.release()
    turn.release()  # a second time does nothing
    await asyncio.sleep(0)
    assert waiting["second"].done()
    assert not waiting["first"].done()
    (await waiting["second"]).release()
    (await waiting["first"]).release()


async def test_the_freshest_frame_goes_first_as_long_as_nobody_is_more_than_a_round_behind() -> None:
    turns = Turns(1, now)
    arrivals_s = {"old": 1.0, "fresh": 3.0, "middle": 2.0}
    members = {name: Member(0, partial(arrivals_s.__getitem__, name)) for name in arrivals_s}
    turn, order = await turns.take(Member()), []
    waiting = {name: asyncio.create_task(turns.take(member)) for name, member in members.items()}
    for _ in range(14):
        await asyncio.sleep(0)
        arrivals_s["middle"] = 0.5  # what counts is what waits when a turn is given
        turn.release()
        await asyncio.sleep(0)
        (name,) = (name for name, task in waiting.items() if task.done())
        turn = waiting[name].result()
        order.append(name)
        waiting[name] = asyncio.create_task(turns.take(members[name]))
    assert order[:5] == ["fresh", "fresh", "old", "old", "middle"]
    assert order[-6:] == ["fresh", "old", "middle"] * 2  # and then in turns
    for task in waiting.values():
        task.cancel()


async def test_who_waits_several_times_has_one_turn_a_round() -> None:
    turns = Turns(1, now)
    many, one = Member(), Member(0, lambda: 0.0)
    turn = await turns.take(many)
    flood = [asyncio.create_task(turns.take(many)) for _ in range(50)]
    await asyncio.sleep(0)
    passed = []
    for _ in range(5):
        waits = asyncio.create_task(turns.take(one))
        await asyncio.sleep(0)
        before = sum(task.done() for task in flood)
        while not waits.done():
            turn.release()
            await asyncio.sleep(0)
            turn = waits.result() if waits.done() else flood[sum(task.done() for task in flood) - 1].result()
        passed.append(sum(task.done() for task in flood) - before)
    assert max(passed) <= 2
    for task in flood:
        task.cancel()


@pytest.mark.parametrize("callers", [1, 2, 4])
async def test_callers_that_come_anew_for_each_call_take_no_more_than_their_share(callers: int) -> None:
    turns = Turns(1, now)
    moments_s = itertools.count(1.0)
    stream = Member(0, lambda: next(moments_s))  # its frame is always the freshest
    turn, served = await turns.take(Member()), Counter[str]()
    waiting = {"stream": asyncio.create_task(turns.take(stream))}
    waiting |= {f"caller {number}": asyncio.create_task(turns.take(Member())) for number in range(callers)}
    for _ in range(20 * (callers + 1)):
        await asyncio.sleep(0)
        turn.release()
        await asyncio.sleep(0)
        (name,) = (name for name, task in waiting.items() if task.done())
        turn = waiting[name].result()
        served[name] += 1
        waiting[name] = asyncio.create_task(turns.take(stream if name == "stream" else Member()))
    assert served["stream"] >= 19
    for task in waiting.values():
        task.cancel()


async def test_a_member_that_comes_from_other_turns_joins_behind_those_who_wait() -> None:
    busy, other = Turns(1, now), Turns(1, now)
    member = Member()
    for _ in range(10):
        (await busy.take(member)).release()
    turn = await other.take(Member())
    waits = asyncio.create_task(other.take(Member()))
    comes = asyncio.create_task(other.take(member))
    await asyncio.sleep(0)
    turn.release()
    await asyncio.sleep(0)
    assert (waits.done(), comes.done()) == (True, False)
    (await waits).release()
    (await comes).release()


async def test_the_higher_priority_goes_first_however_often() -> None:
    turns = Turns(1, now)
    low, high = Member(), Member(priority=1)
    turn = await turns.take(high)
    tasks = [asyncio.create_task(turns.take(low)), asyncio.create_task(turns.take(high))]
    await asyncio.sleep(0)
    turn.release()
    await asyncio.sleep(0)
    assert [task.done() for task in tasks] == [False, True]
    (await tasks[1]).release()
    (await tasks[0]).release()


async def test_who_leaves_while_waiting_takes_no_turn_along() -> None:
    turns = Turns(1, now)
    turn = await turns.take(Member())
    gone, stays = (asyncio.create_task(turns.take(Member())) for _ in range(2))
    await asyncio.sleep(0)
    gone.cancel()
    turn.release()
    assert isinstance(await stays, Turn)
    with pytest.raises(asyncio.CancelledError):
        await gone


async def test_a_turn_given_to_one_who_is_leaving_goes_on_to_the_next() -> None:
    turns = Turns(1, now)
    turn = await turns.take(Member())
    gone, stays = (asyncio.create_task(turns.take(Member())) for _ in range(2))
    await asyncio.sleep(0)
    turn.release()  # to `gone`, who has not woken up yet
    gone.cancel()
    assert isinstance(await stays, Turn)


async def test_a_turn_comes_when_it_is_time_and_not_before() -> None:
    waits_s = [math.inf]
    turns = Turns(1, lambda _: waits_s[0])
    task = asyncio.create_task(turns.take(Member()))
    await asyncio.sleep(0)
    assert not task.done()
    waits_s[0] = 0.01
    turns.give()
    assert not task.done()
    waits_s[0] = 0.0
    await task  # by the timer that was set


@dataclass
class Served:
    answered: int = 0
    dropped: int = 0


async def simulate(rates: list[float], service_s: float, seconds: float, priorities: list[int]) -> list[Served]:
    """Streams of newest-frame-wins before one engine that takes so long a frame, in virtual time."""
    turns = Turns(1, now)
    rooms: list[Waiting[int]] = [Waiting(StreamOptions()) for _ in rates]
    members = [Member(priority, room.next_arrived_s) for priority, room in zip(priorities, rooms, strict=True)]
    counts = [Served() for _ in rates]
    wanted: dict[int, asyncio.Task[Turn]] = {}
    events = [(number / 97, 0, number) for number in range(len(rates))]  # (when, 0 a frame or 1 the engine, stream)
    heapq.heapify(events)
    running: Turn | None = None
    while events[0][0] < seconds:
        moment_s, kind, stream = heapq.heappop(events)
        if kind == 1 and running is not None:
            counts[stream].answered += 1
            running.release()
            running = None
        elif kind == 0:
            heapq.heappush(events, (moment_s + 1 / rates[stream], 0, stream))
            notices: list[Reply[int]] = await rooms[stream].put(Frame(0, 0, 0, 0, moment_s))
            counts[stream].dropped += len(notices)
            if stream not in wanted:
                wanted[stream] = asyncio.create_task(turns.take(members[stream]))
        for _ in range(4):
            await asyncio.sleep(0)
        for number, task in [*wanted.items()]:
            if task.done():
                running = task.result()
                del wanted[number]
                assert rooms[number].take() is not None
                heapq.heappush(events, (moment_s + service_s, 1, number))
    for task in wanted.values():
        task.cancel()
    return counts


async def test_one_stream_at_120_takes_nothing_from_seven_at_10() -> None:
    counts = await simulate([120.0] + [10.0] * 7, service_s=1 / 125, seconds=20, priorities=[0] * 8)
    assert [count.dropped for count in counts[1:]] == [0] * 7
    assert all(count.answered >= 199 for count in counts[1:])
    assert counts[0].answered >= (125 - 70) * 20 * 0.98  # all that the others leave
    assert counts[0].dropped > 0


async def test_streams_that_ask_for_too_much_get_equal_shares() -> None:
    counts = await simulate([90.0, 40.0, 200.0, 60.0], service_s=1 / 100, seconds=20, priorities=[0] * 4)
    assert max(count.answered for count in counts) - min(count.answered for count in counts) <= 5


async def test_a_priority_stream_loses_nothing() -> None:
    counts = await simulate([200.0, 200.0, 30.0], service_s=1 / 50, seconds=20, priorities=[0, 0, 5])
    assert counts[2].dropped == 0
    assert counts[2].answered >= 30 * 20 - 1


@given(st.lists(st.sampled_from([5.0, 10.0, 20.0, 50.0, 100.0]), min_size=2, max_size=6))
def test_who_asks_for_less_than_an_equal_share_gets_all_of_it(rates: list[float]) -> None:
    service_s, seconds = 1 / 110, 5.0
    counts = asyncio.run(simulate(rates, service_s, seconds, [0] * len(rates)))
    share = 1 / service_s / len(rates)
    # One may be dropped before a stream's first turn: who joins stands behind all who wait.
    outcome = Counter(count.dropped > 1 for rate, count in zip(rates, counts, strict=True) if rate < share * 0.9)
    assert outcome[True] == 0


async def test_where_turns_have_ended_whoever_waits_or_comes_is_told_and_those_out_are_given_back() -> None:
    turns = Turns(1, now)
    turn = await turns.take(Member())
    waiting = [asyncio.create_task(turns.take(Member())) for _ in range(2)]
    await asyncio.sleep(0)
    turns.end()
    turns.end()
    for each in waiting:
        with pytest.raises(TurnsEndedError):
            await each
    with pytest.raises(TurnsEndedError):
        await turns.take(Member())
    turn.release()


async def test_a_turn_that_was_given_before_the_end_counts() -> None:
    turns = Turns(1, now)
    taken = asyncio.create_task(turns.take(Member()))
    await asyncio.sleep(0)
    turns.end()
    (await taken).release()


async def test_who_leaves_as_turns_end_has_left() -> None:
    turns = Turns(1, lambda _: math.inf)
    waiting = asyncio.create_task(turns.take(Member()))
    await asyncio.sleep(0)
    turns.end()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_a_timer_does_not_outlive_the_end() -> None:
    asked = []

    def soon(out: int) -> float:
        asked.append(out)
        return 0.01

    turns = Turns(1, soon)
    waiting = asyncio.create_task(turns.take(Member()))
    await asyncio.sleep(0)
    turns.end()
    with pytest.raises(TurnsEndedError):
        await waiting
    await asyncio.sleep(0.03)
    assert asked == [0]
