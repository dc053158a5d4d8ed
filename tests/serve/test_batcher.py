"""Work handed to one thread."""

import asyncio
import threading

import pytest

from serve.batcher import Batcher


async def test_nothing_is_run_before_it_is_asked() -> None:
    ran: list[int] = []
    Batcher(ran.append).close()
    assert ran == []


async def test_work_is_run_off_the_caller_s_thread_one_at_a_time_in_order() -> None:
    seen: list[tuple[int, int]] = []

    def double(work: int) -> int:
        seen.append((work, threading.get_ident()))
        return work * 2

    batcher = Batcher(double)
    timed = await asyncio.gather(*(batcher.submit(number) for number in range(20)))
    batcher.close()
    assert [each.result for each in timed] == [number * 2 for number in range(20)]
    assert [number for number, _ in seen] == list(range(20))
    assert len({thread for _, thread in seen}) == 1
    assert seen[0][1] != threading.get_ident()
    assert min(each.spent_ms for each in timed) >= 0


async def test_what_the_work_raises_is_raised_where_it_was_submitted() -> None:
    batcher: Batcher[int, float] = Batcher(lambda work: 1 / work)
    with pytest.raises(ZeroDivisionError):
        await batcher.submit(0)
    assert (await batcher.submit(2)).result == 0.5
    batcher.close()


async def test_work_cancelled_while_it_waits_is_never_run() -> None:
    entered, gate = threading.Event(), threading.Event()
    ran: list[str] = []

    def run(work: str) -> None:
        ran.append(work)
        entered.set()
        assert gate.wait(30)

    batcher = Batcher(run)
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
