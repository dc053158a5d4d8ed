"""From a frame's bytes to its answer in stages that overlap, with every blocking step off the event loop.

A frame that finds the network idle passes through one thread, which is sooner done than several that wake one another.
While the network is busy, the next frame is decoded and the last one's masks are drawn up in threads of their own; not
so where several lanes share a CPU, each of which then does all of its frame's work.
"""

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from scene.errors import ServerError
from scene.image import Decoded
from serve.answer import Answer, Options, StageClock
from serve.batcher import Batcher
from serve.engines import Engine, Outputs
from serve.frame import EncodedFrame
from serve.model import Model
from serve.settings import ServerSettings, usable_cpus
from serve.turns import Turn, Turns
from serve.usual import Usual

Result = TypeVar("Result")


class Work:
    """One frame on its way: what is known of it so far. Whoever has it in hand is alone with it."""

    def __init__(self, frame: EncodedFrame, options: Options) -> None:
        self.frame = frame
        self.options = options
        self.clock = StageClock(frame.arrived_s)
        self.size_hw = (0, 0)
        self.decoded_in_s = 0.0
        self.images: NDArray[np.uint8] | None = None
        """The network's input [1, H, W, 3], once it is decoded."""


class Pipeline:
    """One model, its threads, and whose frame is next."""

    def __init__(self, model: Model, settings: ServerSettings | None = None) -> None:
        settings = settings or ServerSettings()
        self.model = model
        self._max_pixels = settings.max_pixels
        self._max_instances = settings.max_instances
        self._ahead = _ahead(model, settings)
        self._reduced = settings.reduced_decoding
        lanes = [partial(self._run, engine) for engine in model.engines]
        self._batcher: Batcher[Work, Answer | Outputs] = Batcher(
            lanes, settings.max_batch, settings.batch_delay_ms / 1000
        )
        self._decoders = ThreadPoolExecutor(settings.decode_threads, thread_name_prefix="decode")
        self._finishers = ThreadPoolExecutor(settings.mask_threads, thread_name_prefix="masks")
        self._preparing = Usual()
        self._decoding = 0
        self._finishing = 0
        self._most_finishing = settings.mask_threads + len(lanes) * settings.max_batch
        self.closed = False
        ahead = settings.decode_threads if self._ahead else 0
        self.turns = Turns(ahead + len(lanes) * settings.max_batch, self._wait_s)

    async def answer(self, frame: EncodedFrame, options: Options, turn: Turn) -> Answer:
        """Answer one frame whose turn it is; raises ``FrameError`` if it cannot be used."""
        work = Work(frame, options.limited(self._max_instances))
        ahead = self._ahead and (self._batcher.idle <= self._decoding or not frame.is_soon_decoded)
        try:
            if ahead:
                await self._decode_ahead(work)
            run = await self._batcher.submit(work, turn.release, self.turns.give)
        finally:
            turn.release()
            self.turns.give()
        if not ahead:
            self._preparing.note(work.decoded_in_s)
        return run.result if isinstance(run.result, Answer) else await self._finish(work, run.result)

    def close(self) -> None:
        """Forget what waits and wait for what runs."""
        self.closed = True
        self._decoders.shutdown(cancel_futures=True)
        self._batcher.close()
        self._finishers.shutdown(cancel_futures=True)

    async def _decode_ahead(self, work: Work) -> None:
        """In a thread of its own, as the network is busy, or would be kept waiting for long."""
        started_s = time.perf_counter()
        self._decoding += 1
        try:
            await self._on(self._decoders, lambda: self._decode(work))
        finally:
            self._decoding -= 1
        self._preparing.note(time.perf_counter() - started_s)

    async def _finish(self, work: Work, outputs: Outputs) -> Answer:
        """In a thread of its own, as the network goes on."""
        self._finishing += 1
        try:
            return await self._on(self._finishers, lambda: self._answer(work, outputs))
        finally:
            self._finishing -= 1
            self.turns.give()

    def _run(self, engine: Engine, batch: Sequence[Work]) -> list[Answer | Outputs | Exception]:
        """What a lane does for frames that came together: each gets its own rows, or why it has none.

        Frames that are not decoded yet are decoded here, and the answer of one that came alone is finished here, unless
        others wait behind it and there is something else to do it.
        """
        failed = {index: error for index, work in enumerate(batch) if (error := self._failure(work)) is not None}
        sound = [work for index, work in enumerate(batch) if index not in failed]
        outputs = iter(_network(engine, sound, self.model) if sound else [])
        alone = len(batch) == 1 and not (self._ahead and (self._batcher.waiting or self._decoding))
        return [
            failed[index] if index in failed else self._answer(work, next(outputs)) if alone else next(outputs)
            for index, work in enumerate(batch)
        ]

    def _failure(self, work: Work) -> Exception | None:
        """Why a frame that is not decoded yet cannot be, whatever it is: those beside it are to be run."""
        try:
            if work.images is None:
                self._decode(work)
        except Exception as error:  # OpenCV's own share no nearer root
            return error
        return None

    def _decode(self, work: Work) -> None:
        started_s = time.perf_counter()
        with work.clock.stage("decode"):
            image, work.size_hw = self._decoded(work.frame)
        work.images = self.model.prepare(image, work.clock)
        work.decoded_in_s = time.perf_counter() - started_s

    def _answer(self, work: Work, outputs: Outputs) -> Answer:
        return self.model.finish(outputs, work.size_hw, work.options, work.clock)

    def _decoded(self, frame: EncodedFrame) -> Decoded:
        """The picture, smaller where that is sooner done and the network sees as much, and the frame's own size."""
        if self._reduced:
            return frame.decode_for(self.model.artifact.size_hw, self._max_pixels)
        image = frame.decode(self._max_pixels)
        return Decoded(image, (image.shape[0], image.shape[1]))

    def _wait_s(self, preparing: int) -> float:
        """In how many seconds a further frame should be begun: so as to be decoded when a lane is free, or to be there
        then, where the lane decodes it."""
        if self._finishing >= self._most_finishing:  # masks are what takes longest: frames would grow old before them
            return math.inf
        starts_in_s = self._batcher.starts_in_s(preparing)
        return starts_in_s - self._preparing.at_most_s() if self._ahead else starts_in_s

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
    """Lanes that share out all CPUs lose nothing by decoding for themselves, as nothing is idle meanwhile."""
    if settings.decode_ahead == "auto":
        taken = len(model.engines) * settings.engine_threads * settings.workers
        return len(model.engines) == 1 or not model.on_cpu or taken < usable_cpus()
    return settings.decode_ahead == "always"


def _cancelled() -> bool:
    """Whether it is this task that is to end, and not what it waits for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _network(engine: Engine, batch: Sequence[Work], model: Model) -> list[Outputs]:
    """One run for all of them."""
    images = [work.images for work in batch if work.images is not None]
    started_s = time.perf_counter()
    least = min(model.least_score(work.options) for work in batch)
    fields: tuple[Any, ...] = engine.run(images[0] if len(images) == 1 else np.concatenate(images), least)
    spent_ms = (time.perf_counter() - started_s) * 1000
    for work in batch:
        work.clock.add("network", spent_ms)
    if len(batch) == 1:
        return [Outputs(*fields)]
    return [Outputs(*(rows[index : index + 1] for rows in fields)) for index in range(len(batch))]
