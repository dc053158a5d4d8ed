"""How much memory the process holds, and the limit on it."""

from pathlib import Path

import numpy as np
import pytest

import serve.memory
from scene.errors import ConfigurationError, LimitError
from serve.memory import MemoryLimit, resident_bytes
from serve.model import Model
from serve.settings import ServerSettings
from tests.serve.conftest import running
from tests.serve.test_server import eventually

MIB = 1 << 20


def test_without_a_limit_nothing_is_read() -> None:
    def read() -> int:
        raise AssertionError("nobody asked")

    MemoryLimit(0, read).check()


def test_over_the_limit_work_is_refused_and_under_it_taken_again() -> None:
    held, now_s = 10 * MIB, 0.0
    limit = MemoryLimit(100, lambda: held, lambda: now_s)
    limit.check()
    held, now_s = 101 * MIB, 1.0
    with pytest.raises(LimitError, match="holds 101 MiB and may hold 100; send less, or try again later"):
        limit.check()
    held, now_s = 99 * MIB, 2.0
    limit.check()


def test_it_is_read_ten_times_a_second_at_most() -> None:
    reads = []
    now_s = 0.0

    def read() -> int:
        reads.append(now_s)
        return 0

    limit = MemoryLimit(1, read, lambda: now_s)
    reads.clear()
    for moment in (0.0, 0.05, 0.09, 0.11, 0.2, 0.22):
        now_s = moment
        limit.check()
    assert reads == [0.0, 0.11, 0.22]


def test_what_is_allocated_is_seen() -> None:
    before = resident_bytes()
    block = np.ones(64 * MIB, np.uint8)
    assert resident_bytes() - before > 48 * MIB
    assert block.nbytes == 64 * MIB


def test_psutil_tells_the_same_where_there_is_no_proc(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("psutil", reason="a server on Linux does without it")
    told = resident_bytes()
    monkeypatch.setattr(serve.memory, "_STATM", Path("/nowhere/statm"))
    assert abs(resident_bytes() - told) < 16 * MIB


def test_a_limit_that_cannot_be_kept_is_refused() -> None:
    def read() -> int:
        raise OSError("this system does not tell")

    with pytest.raises(ConfigurationError, match="max_memory_mib: expected 0 here, as this system does not tell"):
        MemoryLimit(100, read)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="only Linux tells what was given back")
def test_a_server_gives_back_what_was_freed_between_what_stays(tiny: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serve.memory, "TIDY_EVERY_S", 0.05)
    pieces = [bytes([number % 256]) * 65_000 for number in range(2000)]  # of the heap: below what glibc maps by itself
    held = resident_bytes()
    kept = pieces[::50]
    pieces.clear()
    with running(lambda: tiny, ServerSettings(port=0, drain_s=0)):
        eventually(lambda: resident_bytes() < held - 60 * MIB)
    assert len(kept) == 40
