"""The asynchronous client against a real server with the tiny model."""

import asyncio
import re
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing

import pytest

import serve.async_client
from scene.errors import ServerError
from scene.image import RgbImage
from serve.answer import Answer, Options
from serve.async_client import AsyncClient
from serve.exchange import Drop, DropPolicy, Failure, StreamOptions
from serve.outbox import Received
from tests.serve.conftest import GatedEngine, RunningServer
from tests.serve.docstring_code import example_of
from tests.serve.tiny_model import street

RED = street((0, (32, 16, 64, 48)))
EVERY = StreamOptions(DropPolicy.EVERY)


@pytest.fixture
async def client(server: RunningServer) -> AsyncIterator[AsyncClient]:
    async with AsyncClient(server.address) as connected:
        yield connected


async def several(count: int) -> AsyncIterator[RgbImage]:
    for number in range(count):
        yield street((number % 3, (16, 16, 48, 48)))


async def test_an_empty_stream_is_answered_by_nothing(client: AsyncClient) -> None:
    assert [received async for received in client.stream([])] == []
    assert [received async for received in client.stream(several(0))] == []


async def test_a_picture_is_answered(client: AsyncClient) -> None:
    answer = await client.segment(RED)
    (instance,) = answer.instances
    assert (instance.class_name, instance.box_xyxy) == ("red", (32, 16, 64, 48))


async def test_many_pictures_are_answered_at_a_time_each_with_its_own(client: AsyncClient) -> None:
    answers = await asyncio.gather(*(client.segment(street((number % 3, (16, 16, 48, 48)))) for number in range(20)))
    assert [answer.instances[0].class_index for answer in answers] == [number % 3 for number in range(20)]


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_every_frame_is_answered_in_order(client: AsyncClient, asynchronous: bool) -> None:
    frames = several(40) if asynchronous else [image async for image in several(40)]
    received = [each async for each in client.stream(frames, stream=EVERY)]
    assert [each.frame_id for each in received] == list(range(40))
    for each in received:
        assert each.answer is not None
        assert each.answer.instances[0].class_index == each.frame_id % 3


async def test_a_bad_frame_gets_an_error_of_its_own(client: AsyncClient) -> None:
    received = [each async for each in client.stream([RED, b"no picture", RED], stream=EVERY)]
    assert [type(each.reply.outcome) for each in received] == [Answer, Failure, Answer]


async def test_the_newest_frame_wins(gated_server: RunningServer, gated: GatedEngine) -> None:
    async def frames() -> AsyncIterator[RgbImage]:
        yield RED
        await asyncio.to_thread(gated.wait_entered)
        for _ in range(3):
            yield RED
        gated.open(2)

    async with AsyncClient(gated_server.address) as client:
        received = {each.frame_id: each.dropped async for each in client.stream(frames())}
    assert received == {0: None, 1: Drop.NEWER_FRAME, 2: Drop.NEWER_FRAME, 3: None}
    assert gated.runs == 2


async def test_a_source_that_blocks_keeps_no_one_else_from_the_loop(client: AsyncClient) -> None:
    told = threading.Event()

    def frames() -> Iterator[RgbImage]:
        assert told.wait(60), "the loop never had its turn"
        yield RED

    async def tell() -> None:
        told.set()

    stream = client.stream(frames())
    first, _ = await asyncio.gather(anext(stream), tell())
    assert first.answer
    await stream.aclose()


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_an_error_of_the_frames_is_raised_where_they_are_received(
    client: AsyncClient, asynchronous: bool
) -> None:
    def frames() -> Iterator[RgbImage]:
        yield RED
        raise ValueError("the camera fell off")

    async def later() -> AsyncIterator[RgbImage]:
        for image in frames():
            yield image

    received = []
    with pytest.raises(ValueError, match="the camera fell off"):
        async for each in client.stream(later() if asynchronous else frames()):
            received.append(each.frame_id)
    assert received == [0]


async def test_a_server_that_is_not_there_is_one_sentence() -> None:
    async with AsyncClient("127.0.0.1:1", timeout_s=0.3) as client:
        with pytest.raises(ServerError, match=r"cannot be reached.*\(waited 0.3 s for 127.0.0.1:1 to be ready\)"):
            await client.segment(RED)
        with pytest.raises(ServerError, match="cannot be reached"):
            [received async for received in client.stream([RED])]


async def test_what_a_server_refuses_is_one_sentence(client: AsyncClient) -> None:
    huge = Options(model_name="huge")
    with pytest.raises(ServerError, match=r"NOT_FOUND.*'huge' came"):
        await client.segment(RED, huge)
    large = [street(size_hw=(720, 1280))] * 5  # still being written when the refusal comes
    for frames in ([RED], large):
        with pytest.raises(ServerError, match=r"NOT_FOUND.*'huge' came"):
            [received async for received in client.stream(frames, huge, stream=EVERY)]


async def test_a_closed_client_says_so(client: AsyncClient) -> None:
    await client.close()
    with pytest.raises(ServerError, match="the client was closed"):
        await client.segment(RED)


async def test_a_call_that_is_cancelled_leaves_the_batch(gated_server: RunningServer, gated: GatedEngine) -> None:
    async with AsyncClient(gated_server.address) as client:
        call = asyncio.create_task(client.segment(RED))
        await asyncio.to_thread(gated.wait_entered)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        gated.open(1000)
        assert len((await client.segment(RED)).instances) == 1


async def test_a_call_ends_at_its_own_deadline(gated_server: RunningServer, gated: GatedEngine) -> None:
    async with AsyncClient(gated_server.address) as client:
        with pytest.raises(ServerError, match="DEADLINE_EXCEEDED"):
            await client.segment(RED, timeout_s=0.1)
        gated.open(1000)
        assert len((await client.segment(RED)).instances) == 1


async def test_a_stream_that_is_cancelled_or_left_early_leaves_the_server_ready(client: AsyncClient) -> None:
    async def receive() -> None:
        async for each in client.stream(endless()):
            first.set_result(each)

    async def endless() -> AsyncIterator[RgbImage]:
        try:
            yield RED
            await asyncio.Event().wait()
        finally:
            ended.set()

    ended, first = asyncio.Event(), asyncio.get_running_loop().create_future()
    receiving = asyncio.create_task(receive())
    received: Received = await first
    assert received.answer
    receiving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await receiving
    await ended.wait()
    async with aclosing(client.stream(several(100), stream=EVERY)) as stream:
        assert (await anext(stream)).frame_id == 0
    assert len((await client.segment(RED)).instances) == 1


def test_event_loops_on_several_threads_do_not_disturb_each_other(
    server: RunningServer, caplog: pytest.LogCaptureFixture
) -> None:
    counts = []

    async def receive() -> None:
        async with AsyncClient(server.address) as client:
            counts.append(sum([bool(each.answer) async for each in client.stream(several(30), stream=EVERY)]))

    threads = [threading.Thread(target=lambda: asyncio.run(receive())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts == [30, 30, 30]
    assert "BlockingIOError" not in caplog.text


async def test_the_example_in_the_docstring_runs(server: RunningServer, capsys: pytest.CaptureFixture[str]) -> None:
    code = example_of(serve.async_client, server.address, asynchronous=True)
    assert len(code.splitlines()) == 1 + 5
    names = {"AsyncClient": AsyncClient, "frames": [RED]}
    exec(code, names)
    await names["main"]()  # type: ignore[operator]
    assert re.fullmatch(r"0 red \(32.0, 16.0, 64.0, 48.0\) \d+\n", capsys.readouterr().out)
