"""From a frame's bytes to its answer in stages that overlap, with every blocking step off the event loop.

Decoding, the network, and laying masks onto the frame have threads of their own: while the network is busy with one
frame, the next is decoded and the last one's masks are drawn up.
"""

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from scene.errors import ServerError
from scene.image import Decoded
from serve.answer import Answer, Options, StageClock
from serve.batcher import Batcher
from serve.engines import Engine, Outputs
from serve.frame import EncodedFrame
from serve.model import Model
from serve.settings import ServerSettings
from serve.turns import Turn, Turns
from serve.usual import Usual

Result = TypeVar("Result")


class Wanted(NamedTuple):
    """What one frame asks of the engine: the network's input, and a score that rows must exceed to matter."""

    images: NDArray[np.uint8]
    score_threshold: float


class Pipeline:
    """One model, its threads, and whose frame is next."""

    def __init__(self, model: Model, settings: ServerSettings | None = None) -> None:
        settings = settings or ServerSettings()
        self.model = model
        self._max_pixels = settings.max_pixels
        self._max_instances = settings.max_instances
        self._ahead = _ahead(model, settings)
        self._reduced = settings.reduced_decoding
        lanes = [partial(_run, engine) for engine in model.engines]
        self._batcher: Batcher[Wanted, Outputs] = Batcher(lanes, settings.max_batch, settings.batch_delay_ms / 1000)
        self._decoders = ThreadPoolExecutor(settings.decode_threads, thread_name_prefix="decode")
        self._finishers = ThreadPoolExecutor(settings.mask_threads, thread_name_prefix="masks")
        self._preparing = Usual()
        self._finishing = 0
        self._most_finishing = settings.mask_threads + len(lanes) * settings.max_batch
        self.closed = False
        self.turns = Turns(settings.decode_threads + len(lanes) * settings.max_batch, self._wait_s)

    async def answer(self, frame: EncodedFrame, options: Options, turn: Turn) -> Answer:
        """Answer one frame whose turn it is; raises ``FrameError`` if it cannot be used."""
        clock = StageClock(frame.arrived_s)
        options = options.limited(self._max_instances)
        try:
            started_s = time.perf_counter()
            size_hw, batch = await self._on(self._decoders, lambda: self._read(frame, clock))
            self._preparing.note(time.perf_counter() - started_s)
            wanted = Wanted(batch, self.model.least_score(options))
            run = await self._batcher.submit(wanted, turn.release, self.turns.give)
        finally:
            turn.release()
            self.turns.give()
        clock.add("network", run.spent_ms)
        self._finishing += 1
        try:
            return await self._on(self._finishers, lambda: self.model.finish(run.result, size_hw, options, clock))
        finally:
            self._finishing -= 1
            self.turns.give()

    def close(self) -> None:
        """Forget what waits and wait for what runs."""
        self.closed = True
        self._decoders.shutdown(cancel_futures=True)
        self._batcher.close()
        self._finishers.shutdown(cancel_futures=True)

    def _read(self, frame: EncodedFrame, clock: StageClock) -> tuple[tuple[int, int], NDArray[np.uint8]]:
        with clock.stage("decode"):
            image, size_hw = self._decoded(frame)
        return size_hw, self.model.prepare(image, clock)

    def _decoded(self, frame: EncodedFrame) -> Decoded:
        """The picture, smaller where that is sooner done and the network sees as much, and the frame's own size."""
        if self._reduced:
            return frame.decode_for(self.model.artifact.size_hw, self._max_pixels)
        image = frame.decode(self._max_pixels)
        return Decoded(image, (image.shape[0], image.shape[1]))

    def _wait_s(self, preparing: int) -> float:
        """In how many seconds a further frame should be begun, so as to be ready when the network is."""
        if self._finishing >= self._most_finishing:  # masks are what takes longest: frames would grow old before them
            return math.inf
        starts_in_s = self._batcher.starts_in_s(preparing)
        if self._ahead:
            return starts_in_s - self._preparing.at_most_s()
        return math.inf if starts_in_s > 0 else 0.0  # not before an engine is free, which is told when it is

    async def _on(self, pool: ThreadPoolExecutor, step: Callable[[], Result]) -> Result:
        return await asyncio.get_running_loop().run_in_executor(pool, step)


class Admitted:
    """A frame's turn at a pipeline, which stays open for it. It is answered once, or released; of the pipeline nothing
    is held afterwards, however long this is kept."""

    def __init__(self, pipeline: Pipeline, turn: Turn, leave: Callable[[], None]) -> None:
        self._pipeline: Pipeline | None = pipeline
        self._turn = turn
        self._leave: Callable[[], None] | None = leave

    async def answer(self, frame: EncodedFrame, options: Options) -> Answer:
        """As ``Pipeline.answer``; raises ``ServerError`` if the pipeline is closed before it is done."""
        pipeline = self._pipeline
        if pipeline is None:
            raise RuntimeError("this turn was used")
        try:
            return await pipeline.answer(frame, options, self._turn)
        except (asyncio.CancelledError, RuntimeError) as error:
            if pipeline.closed and not _cancelled():
                raise ServerError("the model was let go before this frame was answered; send it again") from error
            raise
        finally:
            self.release()

    def release(self) -> None:
        """Nothing comes of it, or it is done: let others go. A second time does nothing."""
        self._turn.release()
        leave, self._pipeline, self._leave = self._leave, None, None
        if leave is not None:
            leave()


def _ahead(model: Model, settings: ServerSettings) -> bool:
    """A lane that has a CPU to itself loses nothing by decoding first, as nothing else of it is idle meanwhile."""
    if settings.decode_ahead == "auto":
        return len(model.engines) == 1 or not model.on_cpu
    return settings.decode_ahead == "always"


def _cancelled() -> bool:
    """Whether it is this task that is to end, and not what it waits for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _run(engine: Engine, batch: Sequence[Wanted]) -> list[Outputs]:
    """One run for frames that came together; each gets its own rows."""
    if len(batch) == 1:
        return [engine.run(*batch[0])]
    images = np.concatenate([wanted.images for wanted in batch])
    fields: tuple[Any, ...] = engine.run(images, min(wanted.score_threshold for wanted in batch))
    return [Outputs(*(rows[index : index + 1] for rows in fields)) for index in range(len(batch))]
