"""Work handed to one thread."""

import asyncio
import threading
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.batcher import Batcher

PATIENCE_S = 60.0


class Gated:
    """A lane that tells the batches it gets and answers each when the test lets it."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.entered = threading.Semaphore(0)
        self.gate = threading.Semaphore(0)

    def __call__(self, batch: Sequence[int]) -> list[int]:
        self.batches.append(list(batch))
        self.entered.release()
        assert self.gate.acquire(timeout=PATIENCE_S)
        if 13 in batch:
            raise ZeroDivisionError
        return [work * 2 for work in batch]

    async def wait_entered(self) -> None:
        assert await asyncio.to_thread(self.entered.acquire, timeout=PATIENCE_S)


async def submitted(batcher: Batcher[int, int], works: Sequence[int]) -> list["asyncio.Task[int]"]:
    """Tasks whose work waits in the batcher."""

    async def result(work: int) -> int:
        return (await batcher.submit(work)).result

    tasks = [asyncio.create_task(result(work)) for work in works]
    await asyncio.sleep(0)
    return tasks


async def test_nothing_is_run_before_it_is_asked() -> None:
    ran: list[int] = []

    def run(batch: Sequence[int]) -> list[int]:
        ran.extend(batch)
        return ran

    Batcher([run]).close()
    assert ran == []


async def test_work_is_run_off_the_caller_s_thread_one_at_a_time_in_order() -> None:
    seen: list[tuple[int, int]] = []

    def double(batch: Sequence[int]) -> list[int]:
        seen.extend((work, threading.get_ident()) for work in batch)
        return [work * 2 for work in batch]

    batcher = Batcher([double])
    timed = await asyncio.gather(*(batcher.submit(number) for number in range(20)))
    batcher.close()
    assert [each.result for each in timed] == [number * 2 for number in range(20)]
    assert [number for number, _ in seen] == list(range(20))
    assert len({thread for _, thread in seen}) == 1
    assert seen[0][1] != threading.get_ident()
    assert min(each.spent_ms for each in timed) >= 0


async def test_what_the_work_raises_is_raised_where_it_was_submitted() -> None:
    batcher: Batcher[int, float] = Batcher([lambda batch: [1 / work for work in batch]])
    with pytest.raises(ZeroDivisionError):
        await batcher.submit(0)
    assert (await batcher.submit(2)).result == 0.5
    batcher.close()


async def test_work_cancelled_while_it_waits_is_never_run() -> None:
    entered, gate = threading.Event(), threading.Event()
    ran: list[str] = []

    def run(batch: Sequence[str]) -> list[str]:
        ran.extend(batch)
        entered.set()
        assert gate.wait(30)
        return list(batch)

    batcher = Batcher([run])
    first = asyncio.create_task(batcher.submit("first"))
    await asyncio.to_thread(entered.wait, 30)
    second = asyncio.create_task(batcher.submit("second"))
    third = asyncio.create_task(batcher.submit("third"))
    await asyncio.sleep(0)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    gate.set()
    await asyncio.gather(first, third)
    batcher.close()
    assert ran == ["first", "third"]


async def test_what_came_while_the_engine_was_busy_is_run_together_up_to_the_size() -> None:
    lane = Gated()
    batcher = Batcher([lane], max_batch=4)
    tasks = await submitted(batcher, [0])
    await lane.wait_entered()
    tasks += await submitted(batcher, range(1, 8))
    lane.gate.release(10)
    assert await asyncio.gather(*tasks) == [work * 2 for work in range(8)]
    assert lane.batches == [[0], [1, 2, 3, 4], [5, 6, 7]]
    batcher.close()


async def test_an_idle_engine_never_waits_for_a_fuller_batch() -> None:
    batcher: Batcher[int, int] = Batcher([list], max_batch=8, delay_s=3600)
    for number in range(5):
        assert (await batcher.submit(number)).batch == 1
    batcher.close()


async def test_beside_a_busy_lane_work_waits_for_company_until_the_batch_is_full_or_nothing_runs() -> None:
    lanes = [Gated(), Gated()]
    batcher = Batcher(lanes, max_batch=3, delay_s=3600)
    tasks = await submitted(batcher, [0])
    while not (lanes[0].batches or lanes[1].batches):
        await asyncio.sleep(0.001)
    busy = lanes[0] if lanes[0].batches else lanes[1]
    other = lanes[1] if busy is lanes[0] else lanes[0]
    tasks += await submitted(batcher, [1, 2])
    assert other.batches == []
    tasks += await submitted(batcher, [3])
    await other.wait_entered()
    assert other.batches == [[1, 2, 3]]
    tasks += await submitted(batcher, [4])
    busy.gate.release(5)
    other.gate.release(5)
    assert await asyncio.gather(*tasks) == [0, 2, 4, 6, 8]
    assert [4] in busy.batches + other.batches
    batcher.close()


async def test_work_waits_for_company_no_longer_than_the_delay() -> None:
    lanes = [Gated(), Gated()]
    batcher = Batcher(lanes, max_batch=3, delay_s=0.01)
    tasks = await submitted(batcher, [0])
    while not (lanes[0].batches or lanes[1].batches):
        await asyncio.sleep(0.001)
    tasks += await submitted(batcher, [1])
    while not (lanes[0].batches and lanes[1].batches):
        await asyncio.sleep(0.001)
    assert sorted(lanes[0].batches + lanes[1].batches) == [[0], [1]]
    for lane in lanes:
        lane.gate.release(5)
    assert await asyncio.gather(*tasks) == [0, 2]
    batcher.close()


async def test_an_engine_that_fails_in_the_middle_of_a_batch_fails_that_batch_alone() -> None:
    lane = Gated()
    batcher = Batcher([lane], max_batch=2)
    tasks = await submitted(batcher, [0])
    await lane.wait_entered()
    tasks += await submitted(batcher, [12, 13, 14, 15])
    lane.gate.release(10)
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [outcome if isinstance(outcome, int) else type(outcome) for outcome in outcomes] == [
        0,
        ZeroDivisionError,
        ZeroDivisionError,
        28,
        30,
    ]
    batcher.close()


async def test_a_lane_that_gives_too_few_results_is_an_error_of_its_batch() -> None:
    batcher: Batcher[int, int] = Batcher([lambda batch: []])
    with pytest.raises(RuntimeError, match="gave 0 results for a batch of 1"):
        await batcher.submit(1)
    batcher.close()


async def test_work_that_a_closing_batcher_still_held_is_cancelled() -> None:
    lane = Gated()
    batcher = Batcher([lane])
    tasks = await submitted(batcher, [0])
    await lane.wait_entered()
    tasks += await submitted(batcher, [1, 2])
    lane.gate.release(10)
    await asyncio.to_thread(batcher.close)
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert outcomes[0] == 0 or isinstance(outcomes[0], int)
    assert all(isinstance(outcome, int | asyncio.CancelledError) for outcome in outcomes)
    with pytest.raises(RuntimeError, match="closed"):
        await batcher.submit(3)


async def test_the_caller_is_told_when_its_work_begins() -> None:
    lane, begun = Gated(), asyncio.Event()
    batcher = Batcher([lane])
    task = asyncio.create_task(batcher.submit(1, begun.set))
    await asyncio.wait_for(begun.wait(), PATIENCE_S)
    assert not task.done()
    lane.gate.release()
    await task
    batcher.close()


async def test_the_wait_to_expect_grows_with_what_is_ahead() -> None:
    lane, now_s = Gated(), [0.0]
    batcher = Batcher([lane], max_batch=2, now_s=lambda: now_s[0])
    assert batcher.starts_in_s(0) == 0
    (task,) = await submitted(batcher, [1])
    await lane.wait_entered()
    assert batcher.starts_in_s(0) == float("inf")  # no batch has told yet how long one takes
    now_s[0] = 8.0
    lane.gate.release()
    await task
    (task,) = await submitted(batcher, [1])
    await lane.wait_entered()
    now_s[0] = 11.0
    assert [batcher.starts_in_s(ahead) for ahead in range(5)] == [5.0, 5.0, 13.0, 13.0, 21.0]
    lane.gate.release()
    await task
    batcher.close()


@given(
    st.lists(st.tuples(st.integers(0, 1000), st.booleans()), max_size=40),
    st.integers(1, 3),
    st.integers(1, 5),
    st.sampled_from([0.0, 0.002]),
)
def test_each_caller_gets_its_own_answer_whoever_leaves(
    calls: list[tuple[int, bool]], lanes: int, size: int, delay_s: float
) -> None:
    ran: list[int] = []

    def square(batch: Sequence[tuple[int, int]]) -> list[int]:
        assert 1 <= len(batch) <= size
        ran.extend(number for number, _ in batch)
        return [value * value for _, value in batch]

    async def main() -> None:
        batcher = Batcher([square] * lanes, size, delay_s)
        tasks = [asyncio.create_task(batcher.submit((number, value))) for number, (value, _) in enumerate(calls)]
        await asyncio.sleep(0)
        for task, (_, leaves) in zip(tasks, calls, strict=True):
            if leaves:
                task.cancel()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.to_thread(batcher.close)
        for outcome, (value, leaves) in zip(outcomes, calls, strict=True):
            if leaves:
                assert isinstance(outcome, asyncio.CancelledError)
            else:
                assert not isinstance(outcome, BaseException)
                assert outcome.result == value * value
        assert len(ran) == len(set(ran))

    asyncio.run(main())
