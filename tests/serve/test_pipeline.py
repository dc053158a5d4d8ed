"""Frames through the pipeline: the same answers as without a server, and none for those who left."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from scene.errors import FrameError, ServerError
from serve.answer import Answer, Options
from serve.frame import EncodedFrame
from serve.model import Model
from serve.pipeline import Admitted, Pipeline
from serve.settings import ServerSettings
from serve.turns import Member, Turn
from tests.serve.conftest import PATIENCE_S, GatedEngine
from tests.serve.tiny_model import street

RED = street((0, (32, 16, 64, 48)))


async def answer(pipeline: Pipeline, frame: EncodedFrame) -> Answer:
    return await pipeline.answer(frame, Options(), await pipeline.turns.take(Member()))


@pytest_asyncio.fixture
async def pipeline(tiny: Model) -> AsyncIterator[Pipeline]:
    made = Pipeline(tiny, ServerSettings(max_pixels=RED.shape[0] * RED.shape[1]))
    yield made
    made.close()


async def test_an_empty_frame_is_a_frame_error(pipeline: Pipeline) -> None:
    with pytest.raises(FrameError, match="the frame is empty"):
        await answer(pipeline, EncodedFrame(b""))


async def test_a_frame_over_the_pixel_limit_is_a_frame_error(pipeline: Pipeline) -> None:
    await answer(pipeline, EncodedFrame.raw(RED))
    with pytest.raises(FrameError, match="may have 8192 pixels, but 128x65 came"):
        await answer(pipeline, EncodedFrame.raw(street(size_hw=(65, 128))))


async def test_the_answer_is_the_one_without_a_server(pipeline: Pipeline, tiny: Model) -> None:
    served = await answer(pipeline, EncodedFrame.raw(RED))
    assert served.instances == tiny.segment(RED).instances != ()
    assert served.times.network_ms > 0


async def test_a_frame_whose_caller_left_is_not_run(tiny: Model, gated: GatedEngine) -> None:
    pipeline = Pipeline(Model(tiny.artifact, gated))
    first = asyncio.create_task(answer(pipeline, EncodedFrame.raw(RED)))
    await asyncio.to_thread(gated.wait_entered)
    others = [asyncio.create_task(answer(pipeline, EncodedFrame.raw(RED))) for _ in range(3)]
    await asyncio.sleep(0)
    for other in others:
        other.cancel()
    done, _ = await asyncio.wait(others, timeout=PATIENCE_S)
    assert len(done) == 3
    gated.open(4)
    assert len((await first).instances) == 1
    pipeline.close()
    assert gated.runs == 1


async def test_a_frame_that_waits_for_the_engine_when_the_pipeline_is_closed_is_told(
    tiny: Model, gated: GatedEngine
) -> None:
    pipeline = Pipeline(Model(tiny.artifact, gated))
    left: list[int] = []

    def admitted(number: int) -> Admitted:
        return Admitted(pipeline, Turn(lambda: None), lambda: left.append(number))

    def begun(number: int) -> "asyncio.Task[Answer]":
        return asyncio.create_task(admitted(number).answer(EncodedFrame.raw(RED), Options()))

    first = begun(0)
    await asyncio.to_thread(gated.wait_entered)
    frames = [begun(1), begun(2)]
    await asyncio.sleep(0.1)  # some are before the engine by then, or are still decoded: each is told
    closing = asyncio.create_task(asyncio.to_thread(pipeline.close))
    for frame in frames:
        with pytest.raises(ServerError, match="the model was let go before this frame was answered; send it again"):
            await frame
    gated.open()
    await closing
    await asyncio.wait([first])
    with pytest.raises(ServerError, match="let go before this frame"):
        await admitted(3).answer(EncodedFrame.raw(RED), Options())
    assert sorted(left) == [0, 1, 2, 3]
    assert gated.runs == 1


async def test_a_turn_is_used_once_and_given_back_once(pipeline: Pipeline) -> None:
    left: list[int] = []
    admitted = Admitted(pipeline, await pipeline.turns.take(Member()), lambda: left.append(1))
    await admitted.answer(EncodedFrame.raw(RED), Options())
    admitted.release()
    assert left == [1]
    with pytest.raises(RuntimeError, match="this turn was used"):
        await admitted.answer(EncodedFrame.raw(RED), Options())
    assert left == [1]
