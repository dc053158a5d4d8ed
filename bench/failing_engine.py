"""An engine that fails in the middle of its work, behind a real server: who gets the error, and who is served next."""

import asyncio
import itertools
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.child import Child
from serve.answer import Answer
from serve.client import Client
from serve.engines import Engine, Outputs
from serve.exchange import DropPolicy, Failure, FailureCode, StreamOptions
from serve.frame import EncodedFrame
from serve.model import Model
from serve.server import Server
from serve.settings import ServerSettings

FAILS_EVERY = 5
"""One run of so many fails."""

_STREAMS = 3
_BATCH = 4
_START_S = 120.0


class FailingEngine:
    """Counts the frames of the runs that it fails, and of those that it does not."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._numbers = itertools.count(1)
        self.failed = 0
        self.answered = 0

    def run(self, images: NDArray[np.uint8], score_threshold: float = 0.0) -> Outputs:
        """As the engine; every fifth time only to half."""
        outputs = self._engine.run(images, score_threshold)
        if next(self._numbers) % FAILS_EVERY == 0:
            self.failed += len(images)
            raise RuntimeError("the engine was made to fail")
        self.answered += len(images)
        return outputs


def fail_batches(model: Path, frames: Sequence[EncodedFrame], count: int) -> dict[str, Any]:
    """Send ``count`` frames in all through three streams that want each answered; what each got, beside what the engine
    did: ``frames``, ``answered`` and ``failed`` by the streams, ``wrong`` other outcomes, ``engine_answered`` and
    ``engine_failed`` by the engine's own count."""
    child = Child("the server whose engine fails", _serve, model)
    try:
        port = child.receive(int, _START_S)
        with ThreadPoolExecutor(_STREAMS) as threads:
            shares = [count // _STREAMS + (number < count % _STREAMS) for number in range(_STREAMS)]
            work = partial(_outcomes, f"127.0.0.1:{port}", frames)
            outcomes = [outcome for each in threads.map(work, shares) for outcome in each]
        child.send("end")
        answered, failed = child.receive(tuple, _START_S)
        child.join()
    finally:
        child.kill()
    counts = [outcomes.count(kind) for kind in ("answered", "failed")]
    return {
        "frames": count,
        "answered": counts[0],
        "failed": counts[1],
        "wrong": len(outcomes) - sum(counts),
        "engine_answered": answered,
        "engine_failed": failed,
    }


def _outcomes(address: str, frames: Sequence[EncodedFrame], count: int) -> list[str]:
    sent = itertools.islice(itertools.cycle(frames), count)
    with Client(address) as client:
        return [_kind(each.reply.outcome) for each in client.stream(sent, stream=StreamOptions(DropPolicy.EVERY))]


def _kind(outcome: object) -> str:
    if isinstance(outcome, Answer):
        return "answered"
    internal = isinstance(outcome, Failure) and outcome.code is FailureCode.INTERNAL
    return "failed" if internal else "wrong"


def _serve(connection: Connection, folder: Path) -> None:
    asyncio.run(_server(connection, folder))


async def _server(connection: Connection, folder: Path) -> None:
    settings = ServerSettings(port=0, max_batch=_BATCH, drain_s=1.0)
    model = Model.load(folder, settings.engine_threads)
    engine = FailingEngine(model.engine)
    server = Server(settings)
    port = await server.listen()
    await server.load(lambda: Model(model.artifact, engine))
    connection.send(port)
    await asyncio.to_thread(connection.recv)
    connection.send((engine.answered, engine.failed))
    await server.stop()
