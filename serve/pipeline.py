"""From a frame's bytes to its answer, with every blocking step off the event loop."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from scene.image import MAX_PIXELS
from serve.answer import Answer, Options, StageClock
from serve.batcher import Batcher
from serve.engines import Outputs
from serve.frame import EncodedFrame
from serve.models import Model

Result = TypeVar("Result")


class Wanted(NamedTuple):
    """What one frame asks of the engine: the network's input, and a score that rows must exceed to matter."""

    images: NDArray[np.uint8]
    score_threshold: float


class Pipeline:
    """Decoding and drawing-up on a few threads, the network on the batcher's."""

    def __init__(self, model: Model, workers: int = 2, max_pixels: int = MAX_PIXELS) -> None:
        self.model = model
        self._max_pixels = max_pixels
        self._batcher: Batcher[Wanted, Outputs] = Batcher(lambda wanted: model.engine.run(*wanted))
        self._workers = ThreadPoolExecutor(workers, thread_name_prefix="frames")

    async def answer(self, frame: EncodedFrame, options: Options) -> Answer:
        """Answer one frame; raises ``FrameError`` if it cannot be used, ``UnknownModelError`` for another model."""
        self.model.require(options)
        clock = StageClock(frame.arrived_s)
        size_hw, batch = await self._on_worker(lambda: self._read(frame, clock))
        run = await self._batcher.submit(Wanted(batch, self.model.least_score(options)))
        clock.add("network", run.spent_ms)
        return await self._on_worker(lambda: self.model.finish(run.result, size_hw, options, clock))

    def close(self) -> None:
        """Forget what waits and wait for what runs."""
        self._workers.shutdown(cancel_futures=True)
        self._batcher.close()

    def _read(self, frame: EncodedFrame, clock: StageClock) -> tuple[tuple[int, int], NDArray[np.uint8]]:
        with clock.stage("decode"):
            image = frame.decode(self._max_pixels)
        height, width = image.shape[:2]
        return (height, width), self.model.prepare(image, clock)

    async def _on_worker(self, step: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._workers, step)
