"""Triton's process, with a stand-in for its binary: it is started where it is expected, and nothing of it is left."""

import os
import signal
import sys
import time
from pathlib import Path

import psutil
import pytest

from bench.triton_server import log_end, site_packages, triton_process
from scene.errors import DataError

SLEEPER = f"""#!{sys.executable}
import subprocess, sys, time
print(" ".join(sys.argv[1:]), flush=True)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print("child", child.pid, "", flush=True)
time.sleep(60)
"""
BROKEN = f"#!{sys.executable}\nprint('no such backend', flush=True)\n"


def environment(tmp_path: Path, binary: str) -> Path:
    """A virtual environment that holds nothing but a binary."""
    path = tmp_path / "environment" / "lib" / "python3.11" / "site-packages" / "pytriton" / "tritonserver" / "bin"
    path.mkdir(parents=True)
    (path / "tritonserver").write_text(binary)
    (path / "tritonserver").chmod(0o755)
    (tmp_path / "models").mkdir()
    return tmp_path / "environment"


def written(log: Path, word: str) -> str:
    """The log once it holds the word."""
    deadline_s = time.monotonic() + 30
    while word not in (text := log.read_text()) and time.monotonic() < deadline_s:
        time.sleep(0.02)
    return text


def gone(pid: int) -> bool:
    """Whether a process has ended, be it that nobody has asked for its status yet."""
    deadline_s = time.monotonic() + 30
    while time.monotonic() < deadline_s:
        if not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
            return True
        time.sleep(0.02)
    return False


def test_no_environment_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected a virtual environment"):
        site_packages(tmp_path)


def test_it_listens_on_this_machine_alone_and_is_gone_afterwards(tmp_path: Path) -> None:
    with triton_process(environment(tmp_path, SLEEPER), tmp_path / "models") as running:
        words = written(tmp_path / "triton.log", " \n").split()
        host, _, port = running.address.partition(":")
        assert host == "127.0.0.1" and f"--grpc-port={port}" in words and "--grpc-address=127.0.0.1" in words
        assert f"--model-repository={tmp_path / 'models'}" in words and "--allow-http=false" in words
        model = int(words[-1])
        assert psutil.pid_exists(running.pid) and psutil.pid_exists(model)
    assert not psutil.pid_exists(running.pid)
    assert gone(model)


def test_sigterm_stops_it_too_and_leaves_the_handler_as_it_was(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with (
        pytest.raises(SystemExit) as ended,
        triton_process(environment(tmp_path, SLEEPER), tmp_path / "models") as running,
    ):
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(30)
    assert ended.value.code == 143
    assert not psutil.pid_exists(running.pid)
    assert signal.getsignal(signal.SIGTERM) == before


def test_one_that_ended_is_told_with_the_end_of_its_log(tmp_path: Path) -> None:
    with (
        pytest.raises(DataError, match="Triton ended while it was needed: no such backend"),
        triton_process(environment(tmp_path, BROKEN), tmp_path / "models") as running,
    ):
        written(tmp_path / "triton.log", "backend")
        psutil.wait_procs([psutil.Process(running.pid)], timeout=30)
        raise DataError("the client cannot reach it")


def test_the_end_of_a_log_is_short(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("\n".join(str(number) for number in range(99)))
    assert log_end(tmp_path / "log").startswith("84 / 85 / ")
