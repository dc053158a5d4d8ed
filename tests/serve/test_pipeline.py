"""Frames through the pipeline: the same answers as without a server, and none for those who left."""

import asyncio
import gc
import threading
import weakref
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import cv2
import numpy as np
import pytest
import pytest_asyncio
from numpy.typing import NDArray

from scene.errors import FrameError, ServerError
from scene.image import RgbImage
from serve.answer import Answer, Options, StageClock
from serve.engines import Outputs
from serve.frame import EncodedFrame
from serve.model import Model
from serve.pipeline import Admitted, Pipeline, Work
from serve.settings import DecodeAhead, ServerSettings
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


async def test_whoever_waits_for_the_engine_gets_it_though_the_one_before_left_in_its_first_run(
    tiny: Model, gated: GatedEngine
) -> None:
    pipeline = Pipeline(Model(tiny.artifact, gated))
    first = asyncio.create_task(answer(pipeline, EncodedFrame.raw(RED)))
    await asyncio.to_thread(gated.wait_entered)
    first.cancel()
    await asyncio.wait([first])
    second = asyncio.create_task(answer(pipeline, EncodedFrame.raw(RED)))
    await asyncio.sleep(0)
    gated.open(2)
    async with asyncio.timeout(PATIENCE_S):
        assert len((await second).instances) == 1
    pipeline.close()


@pytest.mark.parametrize("reduced", [True, False])
async def test_a_large_jpeg_is_decoded_smaller_and_answered_on_the_frame(tiny: Model, reduced: bool) -> None:
    seen: list[tuple[int, ...]] = []

    class Spy(Model):
        def prepare(self, image: RgbImage, clock: StageClock) -> NDArray[np.uint8]:
            seen.append(image.shape)
            return super().prepare(image, clock)

    pipeline = Pipeline(Spy(tiny.artifact, tiny.engine), ServerSettings(reduced_decoding=reduced))
    large = street((0, (256, 128, 512, 384)), size_hw=(512, 1024))
    answer_to = await answer(pipeline, EncodedFrame.jpeg(large, 95))
    pipeline.close()
    assert seen == [(64, 128, 3) if reduced else (512, 1024, 3)]
    assert answer_to.image_size_hw == (512, 1024)
    assert answer_to.instances[0].box_xyxy == pytest.approx((256, 128, 512, 384), abs=1)
    assert answer_to.instances[0].mask is not None
    assert answer_to.instances[0].mask.on_frame((512, 1024)).sum() == pytest.approx(256 * 256, rel=0.05)


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


@pytest.mark.parametrize(
    ("ahead", "runs_on", "lanes", "expected"),
    [
        ("always", "onnxruntime in float32", 1, 2),
        ("never", "onnxruntime in float32", 1, 1),
        ("auto", "onnxruntime in float32", 1, 2),
        ("auto", "openvino in int8", 2, 2),
        ("auto", "tensorrt in float16", 2, 3),
        ("always", "openvino in int8", 2, 3),
    ],
)
async def test_a_frame_is_decoded_while_the_network_is_busy_where_that_is_wanted(
    tiny: Model, gated: GatedEngine, ahead: DecodeAhead, runs_on: str, lanes: int, expected: int
) -> None:
    read = 0

    class Spy(Model):
        def prepare(self, image: RgbImage, clock: StageClock) -> NDArray[np.uint8]:
            nonlocal read
            read += 1
            return super().prepare(image, clock)

    model = Spy(tiny.artifact, gated, runs_on)
    model.engines *= lanes
    pipeline = Pipeline(model, ServerSettings(decode_ahead=ahead))
    gated.open()
    await answer(pipeline, EncodedFrame.raw(RED))  # now it is known what a run takes
    await asyncio.to_thread(gated.wait_entered)
    frames = [asyncio.create_task(answer(pipeline, EncodedFrame.raw(RED))) for _ in range(lanes + 1)]
    for _ in range(lanes):
        await asyncio.to_thread(gated.wait_entered)
    await asyncio.sleep(0.2)  # many times what the first run took: the last frame had its turn, if it gets one
    assert read - 1 == expected
    gated.open(lanes + 1)
    await asyncio.gather(*frames)
    pipeline.close()


async def test_what_finds_all_idle_passes_through_one_thread_and_stages_overlap_otherwise(
    tiny: Model, gated: GatedEngine
) -> None:
    threads: list[tuple[str, str]] = []

    class Watched(Model):
        def prepare(self, image: RgbImage, clock: StageClock) -> NDArray[np.uint8]:
            threads.append(("prepare", threading.current_thread().name.partition("_")[0]))
            return super().prepare(image, clock)

        def finish(self, *arguments: Any) -> Answer:
            threads.append(("finish", threading.current_thread().name.partition("_")[0]))
            return super().finish(*arguments)

    pipeline = Pipeline(Watched(tiny.artifact, gated), ServerSettings())
    first = asyncio.create_task(answer(pipeline, EncodedFrame.raw(RED)))
    await asyncio.to_thread(gated.wait_entered)
    gated.open()
    await first
    assert threads == [("prepare", "engine-0"), ("finish", "engine-0")]
    second, third = (asyncio.create_task(answer(pipeline, EncodedFrame.raw(RED))) for _ in range(2))
    await asyncio.to_thread(gated.wait_entered)
    while len(threads) < 4:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.05)  # the third waits before the network by then
    gated.open(2)
    await asyncio.gather(second, third)
    pipeline.close()
    assert sorted(threads[2:4]) == [("prepare", "decode"), ("prepare", "engine-0")]
    assert sorted(threads[4:]) == [("finish", "engine-0"), ("finish", "masks")]


async def test_a_picture_that_may_take_long_to_decode_does_not_keep_the_network_waiting(
    tiny: Model, gated: GatedEngine
) -> None:
    threads: list[str] = []

    class Watched(Model):
        def prepare(self, image: RgbImage, clock: StageClock) -> NDArray[np.uint8]:
            threads.append(threading.current_thread().name.partition("_")[0])
            return super().prepare(image, clock)

    png = EncodedFrame(cv2.imencode(".png", RED)[1].tobytes())
    gated.open(3)
    pipeline = Pipeline(Watched(tiny.artifact, gated), ServerSettings())
    for frame in (png, EncodedFrame.jpeg(RED, 95), EncodedFrame.raw(RED)):
        await answer(pipeline, frame)
    pipeline.close()
    assert threads == ["decode", "engine-0", "engine-0"]


async def test_of_frames_that_come_together_a_broken_one_costs_no_other(tiny: Model) -> None:
    class Odd(Model):
        def prepare(self, image: RgbImage, clock: StageClock) -> NDArray[np.uint8]:
            if image.shape[0] != RED.shape[0]:
                raise MemoryError
            return super().prepare(image, clock)

    pipeline = Pipeline(Odd(tiny.artifact, tiny.engine), ServerSettings(max_batch=4))
    pictures = b"", EncodedFrame.jpeg(RED, 95).data, b"no picture", EncodedFrame.jpeg(RED[:32], 95).data
    empty, sound, broken, odd = pipeline._run(tiny.engine, [Work(EncodedFrame(each), Options()) for each in pictures])
    pipeline.close()
    assert isinstance(empty, FrameError)
    assert isinstance(broken, FrameError)
    assert isinstance(odd, MemoryError)
    assert isinstance(sound, Outputs)
    assert int(sound.num[0]) == 1


async def test_frames_are_let_go_with_their_answers_without_the_garbage_collector(tiny: Model) -> None:
    pipeline, kept = Pipeline(tiny, ServerSettings()), []
    gc.disable()
    try:
        for data in (b"no picture", EncodedFrame.jpeg(RED, 95).data) * 3:
            frame = EncodedFrame(data)
            kept.append(weakref.ref(frame))
            with suppress(FrameError):
                await answer(pipeline, frame)
            del frame
        async with asyncio.timeout(PATIENCE_S):
            while any(each() is not None for each in kept):
                await asyncio.sleep(0.01)
    finally:
        gc.enable()
    pipeline.close()


async def test_no_frame_is_begun_while_masks_are_what_takes_longest(tiny: Model) -> None:
    gate, begun = threading.Event(), 0

    class Slow(Model):
        def prepare(self, image: RgbImage, clock: StageClock) -> NDArray[np.uint8]:
            nonlocal begun
            begun += 1
            return super().prepare(image, clock)

        def finish(self, *arguments: Any) -> Answer:
            assert gate.wait(PATIENCE_S)
            return super().finish(*arguments)

    settings = ServerSettings(mask_threads=1, decode_threads=1)
    pipeline = Pipeline(Slow(tiny.artifact, tiny.engine), settings)
    gate.set()
    for _ in range(3):
        await answer(pipeline, EncodedFrame.raw(RED))  # now it is known what a run takes
    gate.clear()
    pipeline._decoding = 1  # as if more was coming: the lane hands its answers on
    frames = [asyncio.create_task(answer(pipeline, EncodedFrame.raw(RED))) for _ in range(60)]
    while pipeline._finishing < 2:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.3)
    assert begun < 30  # of 63: two at their masks, and what was begun before that was known
    gate.set()
    assert len(await asyncio.gather(*frames)) == 60
    pipeline.close()
