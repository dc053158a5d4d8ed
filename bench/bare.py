"""The engine without a server around it: a process that calls it in a loop for as long as it is asked to."""

import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Literal, get_args

from bench.child import Child
from scene.artifact import Precision
from scene.image import network_input
from serve.answer import Options
from serve.engines import EngineName
from serve.frame import EncodedFrame
from serve.model import Model

Loop = Literal["engine", "path"]
"""``engine``: the network on prepared input, nothing else. ``path``: from the frame's bytes to the answer, as the
server goes it, one frame after the other in one thread."""

BARE_LOOPS: tuple[Loop, ...] = get_args(Loop)

_START_S = 120.0


@dataclass(frozen=True)
class Rate:
    """Frames that a loop answered, and the seconds that it took."""

    frames: int
    seconds: float

    @property
    def fps(self) -> float:
        """Frames per second."""
        return self.frames / self.seconds


class BareLoop:
    """A model in a process of its own that idles until it is asked to run. Raises ``DataError`` where it fails."""

    def __init__(
        self,
        model: Path,
        threads: int,
        frames: list[EncodedFrame],
        precision: Precision | None = None,
        engine: EngineName | None = None,
    ) -> None:
        self._child = Child("the bare loop", _serve, model, threads, frames, precision, engine)
        self._child.receive(Rate, _START_S)

    def run(self, loop: Loop, seconds: float) -> Rate:
        """Call it in a loop for so many seconds."""
        self._child.send((loop, seconds))
        return self._child.receive(Rate, seconds + _START_S)

    def close(self) -> None:
        """End it."""
        self._child.kill()


def _serve(
    connection: Connection,
    folder: Path,
    threads: int,
    frames: list[EncodedFrame],
    precision: Precision | None,
    engine: EngineName | None,
) -> None:
    model = Model.load(folder, threads, precision, engine)
    inputs = [network_input(frame.decode(), model.artifact.size_hw)[None] for frame in frames]
    least_score = model.least_score(Options())
    connection.send(Rate(0, 1.0))
    while True:
        loop, seconds = connection.recv()
        count, started_s = 0, time.perf_counter()
        while time.perf_counter() - started_s < seconds:
            if loop == "engine":
                model.engine.run(inputs[count % len(inputs)], least_score)
            else:
                model.segment(frames[count % len(frames)].decode(), Options())
            count += 1
        connection.send(Rate(count, time.perf_counter() - started_s))
