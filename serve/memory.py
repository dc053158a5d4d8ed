"""How much memory this process holds, and whether that is more than it may."""

import asyncio
import ctypes
import importlib
import os
import time
from collections.abc import Callable
from pathlib import Path

from scene.errors import ConfigurationError, LimitError
from serve.daemon_thread import on_daemon_thread

_STATM = Path("/proc/self/statm")
_READ_EVERY_S = 0.1
_GIVE_BACK_EVERY_S = 1.0
TIDY_EVERY_S = 60.0
_MIB = 1 << 20


def resident_bytes() -> int:
    """The physical memory of this process; raises ``OSError`` where the system does not tell and psutil is not there.

    The second field of ``/proc/self/statm`` (proc(5)), which takes microseconds.
    """
    if _STATM.exists():
        return int(_STATM.read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    try:
        psutil = importlib.import_module("psutil")
    except ModuleNotFoundError as error:
        raise OSError("this system does not tell a process's memory, and the package psutil is not there") from error
    return int(psutil.Process().memory_info().rss)


def give_memory_back() -> None:
    """glibc keeps what was freed for later; this hands it to the system, where it does."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


async def keep_memory_tidy() -> None:
    """Give memory back from time to time, for as long as nobody cancels it: what is freed in pieces between what stays
    would else add up over hours. Off the event loop; some 2 ms each under full load."""
    while True:
        await asyncio.sleep(TIDY_EVERY_S)
        await on_daemon_thread(give_memory_back, "memory")


class MemoryLimit:
    """Refuses work while the process holds more than ``max_mib`` MiB, 0 for no limit; reads at most ten times a second.

    Raises ``ConfigurationError`` where a limit is asked for and the memory cannot be read.
    """

    def __init__(
        self,
        max_mib: int,
        read: Callable[[], int] = resident_bytes,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._max_mib = max_mib
        self._read = read
        self._now_s = now_s
        self._read_s = float("-inf")
        self._given_back_s = float("-inf")
        self._held = 0
        if max_mib:
            try:
                read()
            except OSError as error:
                raise ConfigurationError("max_memory_mib", f"expected 0 here, as {error}") from error

    def check(self) -> None:
        """Raise ``LimitError`` while it is exceeded."""
        if not self._max_mib:
            return
        now_s = self._now_s()
        if now_s - self._read_s >= _READ_EVERY_S:
            self._read_s, self._held = now_s, self._read()
        if self._held > self._max_mib * _MIB and now_s - self._given_back_s >= _GIVE_BACK_EVERY_S:
            self._given_back_s = now_s  # what was freed after a rush must not keep everybody out
            give_memory_back()
            self._held = self._read()
        if self._held > self._max_mib * _MIB:
            raise LimitError(
                f"the server holds {self._held // _MIB} MiB and may hold {self._max_mib}; send less, or try again later"
            )
