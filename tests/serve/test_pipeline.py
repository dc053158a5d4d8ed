"""Frames through the pipeline: the same answers as without a server, and none for those who left."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from scene.errors import FrameError, UnknownModelError
from serve.answer import Options
from serve.frame import EncodedFrame
from serve.models import Model
from serve.pipeline import Pipeline
from tests.serve.conftest import PATIENCE_S, GatedEngine
from tests.serve.tiny_model import street

RED = street((0, (32, 16, 64, 48)))


@pytest_asyncio.fixture
async def pipeline(tiny: Model) -> AsyncIterator[Pipeline]:
    made = Pipeline(tiny, max_pixels=RED.shape[0] * RED.shape[1])
    yield made
    made.close()


async def test_an_empty_frame_is_a_frame_error(pipeline: Pipeline) -> None:
    with pytest.raises(FrameError, match="the frame is empty"):
        await pipeline.answer(EncodedFrame(b""), Options())


async def test_a_frame_over_the_pixel_limit_is_a_frame_error(pipeline: Pipeline) -> None:
    await pipeline.answer(EncodedFrame.raw(RED), Options())
    with pytest.raises(FrameError, match="may have 8192 pixels, but 128x65 came"):
        await pipeline.answer(EncodedFrame.raw(street(size_hw=(65, 128))), Options())


async def test_another_model_is_not_found(pipeline: Pipeline) -> None:
    with pytest.raises(UnknownModelError):
        await pipeline.answer(EncodedFrame.raw(RED), Options(model_name="huge"))


async def test_the_answer_is_the_one_without_a_server(pipeline: Pipeline, tiny: Model) -> None:
    served = await pipeline.answer(EncodedFrame.raw(RED), Options())
    assert served.instances == tiny.segment(RED).instances != ()
    assert served.times.network_ms > 0


async def test_a_frame_whose_caller_left_is_not_run(tiny: Model, gated: GatedEngine) -> None:
    pipeline = Pipeline(Model(tiny.artifact, gated))
    first = asyncio.create_task(pipeline.answer(EncodedFrame.raw(RED), Options()))
    await asyncio.to_thread(gated.wait_entered)
    others = [asyncio.create_task(pipeline.answer(EncodedFrame.raw(RED), Options())) for _ in range(3)]
    await asyncio.sleep(0)
    for other in others:
        other.cancel()
    done, _ = await asyncio.wait(others, timeout=PATIENCE_S)
    assert len(done) == 3
    gated.open(4)
    assert len((await first).instances) == 1
    pipeline.close()
    assert gated.runs == 1
