"""A server as a process of its own, on a free port of this machine, for as long as a block runs."""

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from scene.errors import ServerError

_LISTENING = "listening on "


class RunningServer(NamedTuple):
    """Where it listens, HOST:PORT, and which process it is: the supervisor where it has workers, which end with it."""

    address: str
    pid: int


@contextmanager
def server_process(
    model: Path, options: Sequence[str] = (), start_s: float = 120.0, stop_s: float = 20.0
) -> Iterator[RunningServer]:
    """Start ``streetmask serve`` with further options, yield where it listens once it answers, and stop it by SIGTERM.

    Raises ``ServerError`` if it ends or stays silent before it answers; its own sentence is then on stderr.
    """
    command = [sys.executable, "-m", "streetmask", "serve", str(model), "--port", "0", *options]
    # A session of its own: Ctrl-C would else reach the server too and cut off the stream that still ends in order.
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as process:
        watchdog = threading.Timer(start_s, process.kill)
        try:
            watchdog.start()
            address = _address(process)
            watchdog.cancel()  # it has started; how long it is used is no matter of the watchdog's
            yield RunningServer(address, process.pid)
        finally:
            watchdog.cancel()
            _stop(process, stop_s)


def _address(process: "subprocess.Popen[str]") -> str:
    if process.stdout is None:
        raise ServerError("the server's output is not read")
    for line in process.stdout:
        if line.startswith(_LISTENING):
            return line.removeprefix(_LISTENING).strip()
    raise ServerError("the server ended before it answered; the line above says why")


def _stop(process: "subprocess.Popen[str]", stop_s: float) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(stop_s)
    except subprocess.TimeoutExpired:
        process.kill()
