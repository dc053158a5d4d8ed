"""The life of a stream, with frames that are letters and answers under the test's control."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from scene.errors import ConfigurationError, FrameError, ServerError
from serve.stream import OUTGOING, Drop, Failure, FailureCode, Frame, FrameStream, Reply, WaitingFrame


class Client:
    """The far end: what it sends is put by the test, what it receives is kept, and it may refuse to read."""

    def __init__(self) -> None:
        self.sent: asyncio.Queue[Frame[str] | Exception | None] = asyncio.Queue()
        self.received: asyncio.Queue[Reply[str]] = asyncio.Queue()
        self.reads = asyncio.Event()
        self.reads.set()
        self.frames_read = 0

    def send(self, number: int, payload: str = "frame") -> None:
        self.sent.put_nowait(Frame(number, number * 10, payload))

    def done(self) -> None:
        self.sent.put_nowait(None)

    async def frames(self) -> AsyncIterator[Frame[str]]:
        while (frame := await self.sent.get()) is not None:
            if isinstance(frame, Exception):
                raise frame
            self.frames_read += 1
            yield frame

    async def receive(self, reply: Reply[str]) -> None:
        await self.reads.wait()
        self.received.put_nowait(reply)

    def all_received(self) -> list[Reply[str]]:
        return [self.received.get_nowait() for _ in range(self.received.qsize())]


class Worker:
    """Answers in capitals, each as soon as the test lets it."""

    def __init__(self) -> None:
        self.entered = asyncio.Semaphore(0)
        self.gate = asyncio.Semaphore(0)
        self.begun: list[str] = []
        self.cancelled = 0

    async def answer(self, payload: str) -> str:
        self.begun.append(payload)
        self.entered.release()
        try:
            await self.gate.acquire()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if payload == "bad":
            raise FrameError("no picture")
        if payload == "crash":
            raise RuntimeError("/secret/path")
        return payload.upper()

    def open(self, count: int = 1) -> None:
        for _ in range(count):
            self.gate.release()


@pytest.fixture
def client() -> Client:
    return Client()


@pytest.fixture
def worker() -> Worker:
    return Worker()


def start(client: Client, worker: Worker, stopping: asyncio.Event | None = None) -> asyncio.Task[None]:
    stream = FrameStream(client.frames(), worker.answer, client.receive, stopping or asyncio.Event())
    return asyncio.create_task(stream.run())


async def settle() -> None:
    """Let every task run until it waits for the test."""
    for _ in range(50):
        await asyncio.sleep(0)


async def test_an_empty_stream_ends_without_a_reply(client: Client, worker: Worker) -> None:
    client.done()
    await start(client, worker)
    assert client.all_received() == []


async def test_a_frame_comes_back_with_its_id_and_capture_time(client: Client, worker: Worker) -> None:
    worker.open()
    client.send(5, "street")
    client.done()
    await start(client, worker)
    assert client.all_received() == [Reply(5, 50, "STREET")]


async def test_a_waiting_frame_gives_way_to_a_newer_one(client: Client, worker: Worker) -> None:
    task = start(client, worker)
    client.send(0, "a")
    await worker.entered.acquire()
    for number, payload in ((1, "b"), (2, "c"), (3, "d")):
        client.send(number, payload)
    assert await client.received.get() == Reply(1, 10, Drop.NEWER_FRAME)
    assert await client.received.get() == Reply(2, 20, Drop.NEWER_FRAME)
    client.done()
    worker.open(2)
    await task
    assert client.all_received() == [Reply(0, 0, "A"), Reply(3, 30, "D")]
    assert worker.begun == ["a", "d"]


async def test_the_waiting_frame_is_answered_after_the_client_is_done(client: Client, worker: Worker) -> None:
    task = start(client, worker)
    client.send(0)
    await worker.entered.acquire()
    client.send(1)
    client.done()
    await settle()
    assert client.all_received() == []
    worker.open(2)
    await task
    assert [reply.frame_id for reply in client.all_received()] == [0, 1]


async def test_two_unanswered_frames_are_never_dropped(client: Client, worker: Worker) -> None:
    worker.open(100)
    task = start(client, worker)
    client.send(0)
    client.send(1)
    replies = []
    for number in range(2, 100):
        replies.append(await client.received.get())
        client.send(number)
    client.done()
    await task
    replies += client.all_received()
    assert replies == [Reply(number, number * 10, "FRAME") for number in range(100)]


@pytest.mark.parametrize(
    ("payload", "failure"),
    [
        ("bad", Failure(FailureCode.INVALID_FRAME, "no picture")),
        ("crash", Failure(FailureCode.INTERNAL, "the server failed on this frame; its log says why")),
    ],
)
async def test_a_frame_that_fails_leaves_the_stream_alive(
    client: Client, worker: Worker, payload: str, failure: Failure
) -> None:
    worker.open(2)
    task = start(client, worker)
    client.send(0, payload)
    assert await client.received.get() == Reply(0, 0, failure)
    client.send(1, "good")
    client.done()
    await task
    assert client.all_received() == [Reply(1, 10, "GOOD")]


@pytest.mark.parametrize("second", [3, 4])
async def test_ids_that_do_not_grow_end_the_stream(client: Client, worker: Worker, second: int) -> None:
    client.send(4)
    client.send(second)
    with pytest.raises(ConfigurationError, match=rf"frame.id: expected more than 4, but {second} came"):
        await start(client, worker)
    assert worker.cancelled == len(worker.begun)


async def test_an_error_of_reading_ends_the_stream_with_that_error(client: Client, worker: Worker) -> None:
    client.sent.put_nowait(ConfigurationError("frame", "expected"))
    with pytest.raises(ConfigurationError, match="frame: expected"):
        await start(client, worker)


async def test_a_client_that_goes_away_frees_its_stream_at_once(client: Client, worker: Worker) -> None:
    before = asyncio.all_tasks()
    task = start(client, worker)
    client.send(0, "in work")
    await worker.entered.acquire()
    client.send(1, "waiting")
    await settle()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert worker.cancelled == 1
    assert worker.begun == ["in work"]
    assert asyncio.all_tasks() == before


async def test_a_client_that_does_not_read_is_not_read_from(client: Client, worker: Worker) -> None:
    client.reads.clear()
    worker.open(1000)
    for number in range(1000):
        client.send(number)
    client.done()
    task = start(client, worker)
    await settle()
    # Besides the queue: one reply in the writer's hands, one in the reader's, one in the worker's, one frame waiting.
    assert OUTGOING <= client.frames_read <= OUTGOING + 4
    client.reads.set()
    await task
    assert sorted(reply.frame_id for reply in client.all_received()) == list(range(1000))


async def test_a_stopping_server_answers_what_it_has_and_says_so(client: Client, worker: Worker) -> None:
    stopping = asyncio.Event()
    task = start(client, worker, stopping)
    client.send(0, "in work")
    await worker.entered.acquire()
    client.send(1, "waiting")
    await settle()
    stopping.set()
    await settle()
    client.send(2, "too late")
    worker.open(2)
    with pytest.raises(ServerError, match="stopping"):
        await task
    assert client.all_received() == [Reply(0, 0, "IN WORK"), Reply(1, 10, "WAITING")]


async def test_a_frame_for_an_idle_worker_does_not_wait() -> None:
    room: WaitingFrame[str] = WaitingFrame()
    taking = asyncio.create_task(room.take())
    await asyncio.sleep(0)
    frames = [Frame(number, 0, "frame") for number in range(3)]
    assert [room.put(frame) for frame in frames] == [None, None, frames[1]]
    assert await taking == frames[0]
    assert await room.take() == frames[2]


async def test_a_closed_room_is_emptied_before_it_says_so() -> None:
    room: WaitingFrame[str] = WaitingFrame()
    frame = Frame(0, 0, "last")
    assert room.put(frame) is None
    room.close()
    assert await room.take() == frame
    assert await room.take() is None
