"""Blocking work beside the event loop."""

import asyncio
import gc
import threading
import weakref

import pytest

from serve.daemon_thread import on_daemon_thread
from tests.serve.conftest import PATIENCE_S


async def test_what_it_returns_or_raises_comes_back_from_a_thread_of_its_own() -> None:
    assert await on_daemon_thread(dict[str, int], "empty") == {}
    assert await on_daemon_thread(lambda: threading.current_thread().name, "load") == "load"
    assert await on_daemon_thread(lambda: threading.current_thread().daemon, "load")
    with pytest.raises(ZeroDivisionError):
        await on_daemon_thread(lambda: 1 // 0, "fail")


async def test_who_no_longer_waits_is_not_waited_for() -> None:
    gate, ended = threading.Event(), threading.Event()

    def work() -> None:
        assert gate.wait(PATIENCE_S)
        ended.set()

    waiting = asyncio.create_task(on_daemon_thread(work, "slow"))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    gate.set()
    assert await asyncio.to_thread(ended.wait, PATIENCE_S)
    await asyncio.sleep(0.01)  # what it returned finds nobody, which is no error


def test_a_loop_that_is_closed_hears_nothing() -> None:
    gate, threads = threading.Event(), threading.enumerate()

    async def leave() -> None:
        waiting = asyncio.ensure_future(on_daemon_thread(lambda: gate.wait(PATIENCE_S), "slow"))
        await asyncio.sleep(0.01)
        assert not waiting.done()

    asyncio.run(leave())
    gate.set()
    for thread in set(threading.enumerate()) - set(threads):
        thread.join(PATIENCE_S)
        assert not thread.is_alive()


async def test_an_error_holds_nothing_of_what_failed() -> None:
    """Without the collector: half a model would wait for it, in the circle that asyncio makes of an error."""

    class Half:
        pass

    halves = weakref.WeakSet[Half]()

    def fail() -> None:
        half = Half()
        halves.add(half)
        try:
            raise KeyError("first")
        except KeyError as error:
            raise ValueError("second") from error

    gc.disable()
    try:
        with pytest.raises(ValueError, match="second"):
            await on_daemon_thread(fail, "fail")
        assert len(halves) == 0
    finally:
        gc.enable()
