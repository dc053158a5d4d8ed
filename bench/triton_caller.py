"""This program's end of the process that asks Triton."""

import base64
import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.triton_server import ROOT, client_variables
from protos.streetmask.v1 import segmentation_pb2 as pb
from scene.errors import DataError
from serve import wire
from serve.answer import Answer

_START_S = 300.0
_CALL_S = 120.0


class Caller:
    """Questions to Triton; raises ``DataError`` with the other end's sentence where one cannot be answered."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.facts: dict[str, str] = self._ask("wait", _START_S)
        """Versions of Triton, and of the packages that its models run with."""

    def answers(self, model: str) -> list[Answer]:
        """What the model says to each frame."""
        messages = [base64.b64decode(text) for text in self._ask("answers", _CALL_S, model=model)]
        return [wire.read_segment_response(pb.SegmentResponse.FromString(message)) for message in messages]

    def closed_fps(self, model: str, clients: int) -> float:
        """Frames a second in one window of clients that keep the model busy."""
        return float(self._ask("closed", _CALL_S, model=model, clients=clients))

    def load(self, model: str, rates: tuple[float, ...], seconds: float) -> dict[str, Any]:
        """``load_report`` of streams whose frames are due by the clock."""
        report: dict[str, Any] = self._ask("load", seconds + _CALL_S, model=model, rates=rates, seconds=seconds)
        return report

    def _ask(self, name: str, within_s: float, **arguments: Any) -> Any:
        if self._process.stdin is None or self._process.stdout is None:
            raise DataError("Triton's client has no pipes")
        watchdog = threading.Timer(within_s, self._process.kill)
        watchdog.start()
        try:
            self._process.stdin.write(json.dumps([name, arguments]) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except OSError:
            line = ""
        finally:
            watchdog.cancel()
        found = json.loads(line) if line else {"error": "its process ended, or was too late; the lines above say why"}
        if "error" in found:
            raise DataError(f"Triton's client: {found['error']}")
        return found["answer"]


@contextmanager
def caller(environment: Path, address: str, frames: Path) -> Iterator[Caller]:
    """A process that asks Triton at an address about the frames stored there, until the block ends."""
    command = [str(environment / "bin" / "python"), "-m", "bench.triton_client", address, str(frames)]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=client_variables(environment),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield Caller(process)
        finally:
            process.kill()
