"""What a stream must never leave behind, and what it may hold at most."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from scene.errors import ConfigurationError, ServerError, UnreadError
from serve import stream as stream_module
from serve.exchange import Drop, DropPolicy, Frame, Reply, StreamOptions
from serve.stream import FINISHED_IN_TURN, FrameStream, Waiting


class Admission:
    """A turn that tells what became of it."""

    def __init__(self) -> None:
        self.used = False
        self.released = 0

    async def answer(self, payload: str, /) -> str:
        self.used = True
        return payload

    def release(self) -> None:
        self.released += 1


async def ignore(_: Reply[str]) -> None:
    """A client that takes whatever comes."""


async def test_a_turn_that_comes_while_the_stream_ends_is_given_back() -> None:
    """In one go of the event loop reading fails and a turn comes: its task is cancelled before its first step."""
    loop, admission = asyncio.get_running_loop(), Admission()
    second, turn = loop.create_future(), loop.create_future()

    async def frames() -> AsyncIterator[Frame[str]]:
        yield Frame(0, 0, "a")
        await second
        yield Frame(0, 0, "again")

    async def admit() -> Admission:
        await turn
        return admission

    task = asyncio.create_task(FrameStream(frames(), admit, ignore, asyncio.Event()).run())
    await asyncio.sleep(0.01)
    second.set_result(None)
    turn.set_result(None)
    with pytest.raises(ConfigurationError, match="expected more than 0"):
        await task
    assert admission.released > 0


async def test_a_turn_is_given_back_when_its_frames_are_too_old_and_too_many_notices_are_unread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stream_module, "MOST_UNREAD", 0)
    admission = Admission()

    async def frames() -> AsyncIterator[Frame[str]]:
        yield Frame(0, 0, "old", arrived_s=-1000.0)
        await asyncio.Event().wait()

    async def admit() -> Admission:
        return admission

    with pytest.raises(UnreadError):
        await FrameStream(frames(), admit, ignore, asyncio.Event(), StreamOptions(max_age_ms=1)).run()
    assert (admission.used, admission.released) == (False, 1)


async def test_where_answers_are_finished_one_by_one_few_frames_are_before_that() -> None:
    begun, gate = 0, asyncio.Event()

    class Counted(Admission):
        async def answer(self, payload: str, /) -> str:
            nonlocal begun
            begun += 1
            return payload

    async def frames() -> AsyncIterator[Frame[str]]:
        for number in range(50):
            yield Frame(number, 0, "frame")

    async def admit() -> Counted:
        return Counted()

    async def finish(_: Frame[str], outcome: str) -> str:
        await gate.wait()
        return outcome

    every = StreamOptions(DropPolicy.EVERY)
    task = asyncio.create_task(FrameStream(frames(), admit, ignore, asyncio.Event(), every, finish=finish).run())
    for _ in range(200):
        await asyncio.sleep(0)
    assert begun == FINISHED_IN_TURN
    gate.set()
    await task
    assert begun == 50


@pytest.mark.parametrize("policy", [DropPolicy.QUEUE, DropPolicy.NEWEST])
async def test_frames_that_wait_weigh_no_more_than_they_may(
    policy: DropPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_module, "MOST_WAITING_BYTES", 10)
    waiting: Waiting[str] = Waiting(StreamOptions(policy, queue_length=100), len)
    notices: list[Reply[str]] = []
    for number, payload in enumerate(["a" * 4, "b" * 4, "c" * 4, "d" * 99, "e"]):
        notices += await waiting.put(Frame(number, 0, payload))
    assert [notice.frame_id for notice in notices] == [0, 1, 2, 3]
    reason = Drop.NEWER_FRAME if policy is DropPolicy.NEWEST else Drop.QUEUE_FULL
    assert {notice.outcome for notice in notices} == {reason}
    frame = waiting.take()
    assert frame is not None and frame.payload == "e"


async def test_a_frame_that_was_read_and_had_no_room_is_answered_when_the_server_stops() -> None:
    stopping, gate = asyncio.Event(), asyncio.Event()
    answered: list[int] = []

    class Gated(Admission):
        async def answer(self, payload: str, /) -> str:
            await gate.wait()
            return payload

    async def frames() -> AsyncIterator[Frame[str]]:
        for number in range(100):
            read.append(number)
            yield Frame(number, 0, "frame")

    async def admit() -> Gated:
        return Gated()

    async def send(answer: Reply[str]) -> None:
        answered.append(answer.frame_id)

    read: list[int] = []
    stream = FrameStream(frames(), admit, send, stopping, StreamOptions(DropPolicy.EVERY))
    task = asyncio.create_task(stream.run())
    for _ in range(200):
        await asyncio.sleep(0)
    stopping.set()
    gate.set()
    with pytest.raises(ServerError):
        await task
    assert answered == read
