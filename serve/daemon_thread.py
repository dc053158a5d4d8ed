"""Blocking work beside the event loop that no process waits for at its end, unlike a pool's."""

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

Result = TypeVar("Result")


async def on_daemon_thread(work: Callable[[], Result], name: str) -> Result:
    """Await a call that nothing can cancel; raises what it raises. Cancelled, leave the thread to end by itself."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Result] = loop.create_future()

    def settle(settling: Callable[[], None]) -> None:
        if not done.done():
            settling()

    once = [work]
    del work  # whatever it holds is free when it has run, and not only when its thread has ended, too

    def run() -> None:
        try:
            result = once.pop()()
        except BaseException as error:  # raised where it is awaited
            failure = error
            settling = lambda: done.set_exception(failure)  # noqa: E731
        else:
            settling = lambda: done.set_result(result)  # noqa: E731
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, settling)

    threading.Thread(target=run, name=name, daemon=True).start()
    return await done
