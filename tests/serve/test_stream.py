"""The life of a stream, with frames that are letters and answers under the test's control."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from scene.errors import ConfigurationError, FrameError, LimitError, ServerError, UnknownModelError
from serve.exchange import Drop, DropPolicy, Failure, FailureCode, Frame, Reply, StreamOptions
from serve.stream import MOST_UNREAD, OUTGOING, READ_AHEAD, FrameStream, Waiting


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
        self.gone: Exception | None = None
        self.at_a_time = asyncio.Semaphore(1)
        self.turns = asyncio.Semaphore(1000)

    async def admit(self) -> "Admission":
        await self.turns.acquire()
        await self.at_a_time.acquire()
        if self.gone is not None:
            raise self.gone
        return Admission(self)

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


class Admission:
    """One turn of the worker's, who has one at a time."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._over = False

    async def answer(self, payload: str, /) -> str:
        try:
            return await self._worker.answer(payload)
        finally:
            self.release()

    def release(self) -> None:
        if not self._over:
            self._over = True
            self._worker.at_a_time.release()


@pytest.fixture
def client() -> Client:
    return Client()


@pytest.fixture
def worker() -> Worker:
    return Worker()


def start(
    client: Client, worker: Worker, stopping: asyncio.Event | None = None, options: StreamOptions | None = None
) -> asyncio.Task[None]:
    stream = FrameStream(client.frames(), worker.admit, client.receive, stopping or asyncio.Event(), options)
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


async def test_work_pauses_for_a_client_that_does_not_read_and_reading_goes_on(client: Client, worker: Worker) -> None:
    client.reads.clear()
    worker.open(1000)
    task = start(client, worker)
    for number in range(100):
        client.send(number)
        await settle()
    assert client.frames_read == 100
    assert len(worker.begun) == OUTGOING
    client.done()
    client.reads.set()
    await task
    replies = client.all_received()
    assert sorted(reply.frame_id for reply in replies) == list(range(100))
    assert [reply.frame_id for reply in replies if reply.outcome == "FRAME"] == [*range(OUTGOING), 99]


async def test_a_client_that_leaves_too_much_unread_is_cut_off(client: Client, worker: Worker) -> None:
    client.reads.clear()
    task = start(client, worker)
    for number in range(MOST_UNREAD + 10):
        client.send(number)
    with pytest.raises(LimitError, match="wait for the client to read them"):
        await task


async def test_every_frame_is_answered_and_reading_waits_for_room(client: Client, worker: Worker) -> None:
    for number in range(100):
        client.send(number)
    client.done()
    task = start(client, worker, options=StreamOptions(DropPolicy.EVERY))
    await settle()
    # One in work, as many waiting as may, and one in the reader's hands.
    assert client.frames_read == READ_AHEAD + 2
    worker.open(100)
    await task
    assert client.all_received() == [Reply(number, number * 10, "FRAME") for number in range(100)]


async def test_in_a_full_queue_the_oldest_gives_way(client: Client, worker: Worker) -> None:
    task = start(client, worker, options=StreamOptions(DropPolicy.QUEUE, queue_length=3))
    client.send(0)
    await worker.entered.acquire()
    for number in range(1, 6):
        client.send(number)
    client.done()
    await settle()
    assert client.all_received() == [Reply(1, 10, Drop.QUEUE_FULL), Reply(2, 20, Drop.QUEUE_FULL)]
    worker.open(10)
    await task
    assert [reply.frame_id for reply in client.all_received()] == [0, 3, 4, 5]


async def test_a_frame_too_old_when_its_turn_comes_is_told_so(
    client: Client, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 1000.0
    monkeypatch.setattr("serve.stream.time.perf_counter", lambda: now_s)
    options = StreamOptions(DropPolicy.QUEUE, max_age_ms=100)
    worker.open(10)
    worker.turns = asyncio.Semaphore(0)
    task = start(client, worker, options=options)
    # The sender's clock is hours wrong; its first frame took no time, the second 50 ms, the third 101 ms.
    wrong_us = 5_000_000_000
    for number, delay_s in enumerate((0.0, 0.05, 0.101)):
        sent_us = int((now_s - delay_s) * 1e6) + wrong_us
        client.sent.put_nowait(Frame(number, 0, "frame", sent_us, now_s))
    client.done()
    await settle()
    for _ in range(10):
        worker.turns.release()
    await task
    outcomes = {reply.frame_id: reply.outcome for reply in client.all_received()}
    assert outcomes == {0: "FRAME", 1: "FRAME", 2: Drop.EXPIRED}


async def test_the_age_of_an_answer_counts_from_its_sending(
    client: Client, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serve.stream.time.perf_counter", lambda: 12.0)
    worker.open(1)
    client.sent.put_nowait(Frame(0, 0, "frame", 77_000_000, 11.5))
    client.done()
    await start(client, worker)
    (reply,) = client.all_received()
    assert reply.age_ms == pytest.approx(500)


async def test_results_come_in_the_order_of_their_frames_whichever_is_ready_first() -> None:
    client, gates = Client(), {letter: asyncio.Event() for letter in "abc"}

    class Admitted:
        async def answer(self, payload: str, /) -> str:
            await gates[payload].wait()
            return payload.upper()

        def release(self) -> None:
            """A turn that was used may be released too."""

    async def admit() -> Admitted:
        return Admitted()

    stream = FrameStream(client.frames(), admit, client.receive, asyncio.Event(), StreamOptions(DropPolicy.EVERY))
    task = asyncio.create_task(stream.run())
    for number, letter in enumerate("abc"):
        client.send(number, letter)
    client.done()
    for letter in "cb":
        gates[letter].set()
        await settle()
    assert client.all_received() == []
    gates["a"].set()
    await task
    assert [reply.outcome for reply in client.all_received()] == ["A", "B", "C"]


async def test_a_result_is_finished_in_order_and_a_failure_there_is_one_frame_s(client: Client, worker: Worker) -> None:
    async def finish(frame: Frame[str], outcome: str) -> str:
        if frame.id == 1:
            raise RuntimeError("/secret/path")
        return outcome + str(frame.id)

    worker.open(3)
    for number in range(3):
        client.send(number)
    client.done()
    stream = FrameStream(
        client.frames(),
        worker.admit,
        client.receive,
        asyncio.Event(),
        StreamOptions(DropPolicy.EVERY),
        finish=finish,
    )
    await stream.run()
    failure = Failure(FailureCode.INTERNAL, "the server failed on this frame; its log says why")
    assert [reply.outcome for reply in client.all_received()] == ["FRAME0", failure, "FRAME2"]


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


async def test_what_waits_is_handed_out_before_it_is_said_that_no_more_will_come() -> None:
    waiting: Waiting[str] = Waiting(StreamOptions())
    frame = Frame(0, 0, "last")
    notices: list[Reply[str]] = await waiting.put(frame)
    assert notices == []
    waiting.close()
    assert await waiting.ready()
    assert waiting.take() == frame
    assert not await waiting.ready()
    assert waiting.take() is None


async def test_where_no_turn_will_come_any_more_frames_in_work_are_answered_before_the_stream_ends(
    client: Client, worker: Worker
) -> None:
    task = start(client, worker)
    client.send(0, "a")
    await worker.entered.acquire()
    worker.gone = UnknownModelError("model_version", "expected 2 or 0, but 1 came")
    client.send(1, "b")
    client.send(2, "c")
    worker.at_a_time.release()
    await settle()
    assert not task.done()
    worker.open()
    with pytest.raises(UnknownModelError, match="expected 2 or 0, but 1 came"):
        await task
    answered = [reply.outcome for reply in client.all_received() if not isinstance(reply.outcome, Drop)]
    assert answered == ["A"]
    assert worker.begun == ["a"]
