"""Blocking work beside the event loop that no process waits for at its end, unlike a pool's."""

import asyncio
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import partial
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
        settling: Callable[[], None]
        try:
            settling = partial(done.set_result, once.pop()())
        except BaseException as error:  # raised where it is awaited
            _forget_frames(error)
            settling = partial(done.set_exception, error)
        with suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, settling)
        del settling  # this frame is one of those that an error remembers, and must not remember the error

    threading.Thread(target=run, name=name, daemon=True).start()
    return await done


def _forget_frames(error: BaseException | None) -> None:
    """Let go of what the error's frames hold, such as half a model: asyncio keeps errors in a circle for a while."""
    while error is not None:
        traceback.clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__
