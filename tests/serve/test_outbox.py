"""A stream's frames on the client's side, with a clock of its own: where each is, and that each has one outcome."""

import math

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from scene.errors import ConfigurationError, ServerError
from serve.answer import Answer, StageTimes
from serve.exchange import Drop, DropPolicy, Failure, FailureCode, Reply, StreamOptions
from serve.outbox import MOST_UNREAD, Outbox, Received

FOUND = Answer("tiny", 1, (64, 128), (), StageTimes())
FAILED = Failure(FailureCode.INTERNAL, "it failed")


class Clock:
    """Seconds that pass when the test says so."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def outbox(
    policy: DropPolicy = DropPolicy.NEWEST,
    in_flight: int | None = None,
    clock: Clock | None = None,
    queue_length: int = 8,
    max_age_ms: int | None = None,
) -> Outbox[str]:
    return Outbox(StreamOptions(policy, queue_length, max_age_ms), in_flight, clock or Clock())


def put(box: Outbox[str], *payloads: str) -> None:
    for payload in payloads:
        assert box.wants_frame
        box.put(payload, capture_time_us=7)


def sent(box: Outbox[str], connection: int) -> list[int]:
    """The ids of the frames that may be sent now."""
    frames = []
    while (frame := box.next_frame(connection)) is not None:
        frames.append(frame.id)
    return frames


def reply(frame_id: int) -> Reply[Answer]:
    return Reply(frame_id, 7, FOUND)


def taken(box: Outbox[str]) -> dict[int, object]:
    found: dict[int, object] = {}
    while (received := box.take()) is not None:
        assert received.frame_id not in found
        found[received.frame_id] = received.reply.outcome
    return found


def test_an_empty_source_is_done_at_once() -> None:
    box = outbox()
    assert box.wants_frame
    assert not box.done
    connection = box.connect()
    box.close_source()
    assert box.done
    assert not box.wants_frame
    assert box.sending_over(connection)
    assert not box.readable
    box.completed()
    box.end()
    assert box.readable
    assert box.take() is None
    box.check()


def test_the_newest_frame_waits_and_the_older_is_told_at_once() -> None:
    box = outbox()
    connection = box.connect()
    put(box, "a")
    assert sent(box, connection) == [0]
    put(box, "b", "c", "d")
    assert sent(box, connection) == []
    assert taken(box) == {1: Drop.NEWER_FRAME, 2: Drop.NEWER_FRAME}
    box.answered(reply(0))
    assert sent(box, connection) == []
    assert taken(box) == {0: FOUND}
    assert sent(box, connection) == [3]


def test_a_reply_that_nobody_took_keeps_the_next_frame_back() -> None:
    box = outbox()
    connection = box.connect()
    put(box, "a")
    sent(box, connection)
    box.answered(reply(0))
    put(box, "b")
    assert sent(box, connection) == []
    box.take()
    assert sent(box, connection) == [1]


def test_a_queue_keeps_so_many_and_the_oldest_gives_way() -> None:
    box = outbox(DropPolicy.QUEUE, queue_length=2)
    connection = box.connect()
    put(box, "a")
    sent(box, connection)
    put(box, "b", "c", "d")
    assert taken(box) == {1: Drop.QUEUE_FULL}
    box.answered(reply(0))
    taken(box)
    assert sent(box, connection) == [2]


def test_every_frame_is_drawn_only_where_there_is_room() -> None:
    box = outbox(DropPolicy.EVERY)
    connection = box.connect()
    put(box, "a", "b", "c")
    assert not box.wants_frame
    assert sent(box, connection) == [0, 1, 2]
    box.answered(reply(0))
    assert not box.wants_frame
    assert taken(box) == {0: FOUND}
    assert box.wants_frame


def test_nothing_waits_where_any_number_may_be_on_the_way() -> None:
    box = outbox(in_flight=1 << 20)
    connection = box.connect()
    put(box, *"abcdefgh")
    assert sent(box, connection) == list(range(8))
    assert taken(box) == {}


def test_without_a_connection_only_the_newest_waits_however_many_may_be_on_the_way() -> None:
    box = outbox(in_flight=8)
    put(box, *"abc")
    assert taken(box) == {0: Drop.NEWER_FRAME, 1: Drop.NEWER_FRAME}
    assert sent(box, box.connect()) == [2]


def test_a_frame_is_stamped_as_it_leaves_and_its_latency_counts_from_the_source() -> None:
    clock = Clock()
    box = outbox(clock=clock)
    connection = box.connect()
    put(box, "a")
    clock.now_s += 0.25
    frame = box.next_frame(connection)
    assert frame is not None
    assert (frame.id, frame.payload, frame.capture_time_us, frame.send_time_us) == (0, "a", 7, 100_250_000)
    clock.now_s += 0.5
    box.answered(reply(0))
    received = box.take()
    assert received is not None
    assert (received.latency_ms, received.round_trip_ms) == (750, 500)


def test_a_frame_that_waited_too_long_is_not_sent() -> None:
    clock = Clock()
    box = outbox(DropPolicy.QUEUE, clock=clock, max_age_ms=100)
    put(box, "a")
    clock.now_s += 0.2
    put(box, "b")
    assert sent(box, box.connect()) == [1]
    received = box.take()
    assert received is not None
    assert (received.frame_id, received.dropped) == (0, Drop.EXPIRED)
    assert received.latency_ms == pytest.approx(200)
    assert math.isnan(received.round_trip_ms)


def test_what_was_on_its_way_when_the_connection_broke_is_lost_and_the_newest_is_sent_on_the_next() -> None:
    box = outbox()
    first = box.connect()
    put(box, "a")
    sent(box, first)
    put(box, "b")
    box.lost()
    assert box.sending_over(first)
    put(box, "c")
    assert sent(box, first) == []
    assert taken(box) == {0: Drop.CONNECTION_LOST, 1: Drop.NEWER_FRAME}
    second = box.connect()
    assert sent(box, first) == []
    assert sent(box, second) == [2]


def test_every_unanswered_frame_is_sent_again_in_order_before_those_that_wait() -> None:
    box = outbox(DropPolicy.EVERY, in_flight=3)
    connection = box.connect()
    put(box, "a", "b")
    sent(box, connection)
    put(box, "c")
    box.answered(reply(0))
    box.lost()
    assert not box.done
    assert taken(box) == {0: FOUND}
    put(box, "d")
    assert sent(box, box.connect()) == [1, 2, 3]


def test_an_answer_to_a_frame_that_was_not_sent_is_an_error() -> None:
    box = outbox()
    box.connect()
    put(box, "a")
    with pytest.raises(ServerError, match="frame 0, which was not sent or was answered before"):
        box.answered(reply(0))


def test_a_server_that_closes_too_early_is_an_error() -> None:
    box = outbox()
    connection = box.connect()
    put(box, "a")
    sent(box, connection)
    put(box, "b")
    with pytest.raises(ServerError, match="left 2 frames unanswered"):
        box.completed()


def test_an_error_of_the_source_is_told_after_what_came_before_it() -> None:
    box = outbox()
    connection = box.connect()
    put(box, "a")
    box.close_source(ValueError("the camera fell off"))
    assert not box.sending_over(connection)
    assert sent(box, connection) == [0]
    assert box.sending_over(connection)
    box.answered(reply(0))
    assert box.done
    box.end()
    assert taken(box) == {0: FOUND}
    with pytest.raises(ValueError, match="the camera fell off"):
        box.check()


def test_a_user_who_takes_nothing_stops_the_drawing() -> None:
    box = outbox()
    while box.wants_frame:
        box.put("a", 7)
    assert box.full
    assert len(taken(box)) == MOST_UNREAD
    assert box.wants_frame


def test_no_frame_may_be_on_its_way() -> None:
    with pytest.raises(ConfigurationError, match="in_flight: expected 1 or more, but 0 came"):
        outbox(in_flight=0)


@pytest.mark.parametrize("outcome", [FOUND, FAILED, Drop.EXPIRED])
def test_what_was_received_says_what_it_is(outcome: Answer | Failure | Drop) -> None:
    received = Received(Reply(3, 7, outcome), 1.0)
    assert received.frame_id == 3
    assert [each for each in (received.answer, received.failure, received.dropped) if each is not None] == [outcome]


class Stream(RuleBasedStateMachine):
    """Source, network, server and user in any order; at the end each frame has had exactly one outcome."""

    @initialize(
        policy=st.sampled_from(DropPolicy),
        in_flight=st.integers(1, 4),
        length=st.integers(1, 3),
        max_age_ms=st.none() | st.integers(100, 1000),
    )
    def begin(self, policy: DropPolicy, in_flight: int, length: int, max_age_ms: int | None) -> None:
        self.clock = Clock()
        self.policy, self.in_flight = policy, in_flight
        self.box: Outbox[int] = Outbox(StreamOptions(policy, length, max_age_ms), in_flight, self.clock)
        self.room = in_flight + (length if policy is DropPolicy.QUEUE else 1)
        self.drawn = 0
        self.closed = False
        self.connection = 0
        self.connected = False
        self.at_server: list[int] = []
        self.newest_sent = -1
        self.unread_replies = 0
        self.outcomes: dict[int, object] = {}
        self.replied: set[int] = set()

    @precondition(lambda self: self.box.wants_frame)
    @rule()
    def draw(self) -> None:
        self.box.put(self.drawn, 7)
        self.drawn += 1

    @precondition(lambda self: not self.closed)
    @rule()
    def close(self) -> None:
        self.box.close_source()
        self.closed = True

    @precondition(lambda self: not self.connected)
    @rule()
    def connect(self) -> None:
        self.connection, self.connected, self.newest_sent = self.box.connect(), True, -1

    @precondition(lambda self: self.connected)
    @rule()
    def send(self) -> None:
        frame = self.box.next_frame(self.connection)
        if frame is not None:
            assert frame.id == frame.payload > self.newest_sent
            self.newest_sent = frame.id
            self.at_server.append(frame.id)

    @precondition(lambda self: self.at_server)
    @rule(data=st.data(), outcome=st.sampled_from([FOUND, FAILED, Drop.NEWER_FRAME]))
    def answer(self, data: st.DataObject, outcome: Answer | Failure | Drop) -> None:
        frame_id = data.draw(st.sampled_from(self.at_server))
        self.at_server.remove(frame_id)
        self.box.answered(Reply(frame_id, 7, outcome))
        self.replied.add(frame_id)
        self.unread_replies += 1

    @precondition(lambda self: self.connected)
    @rule()
    def lose(self) -> None:
        self.box.lost()
        self.connected = False
        self.at_server.clear()

    @rule(seconds=st.floats(0, 0.6))
    def wait(self, seconds: float) -> None:
        self.clock.now_s += seconds

    @rule()
    def take(self) -> None:
        received = self.box.take()
        if received is not None:
            assert received.frame_id not in self.outcomes
            self.outcomes[received.frame_id] = received.reply.outcome
            self.unread_replies -= received.frame_id in self.replied

    @invariant()
    def the_way_holds_no_more_than_it_may(self) -> None:
        assert len(self.at_server) + self.unread_replies <= self.in_flight

    @invariant()
    def no_more_wait_than_may(self) -> None:
        assert self.drawn - len(self.outcomes) - len(self.box._unread) <= self.room + self.in_flight

    def teardown(self) -> None:
        if not hasattr(self, "box"):
            return
        if not self.closed:
            self.close()
        if not self.connected:
            self.connect()
        while not self.box.done or self.box.readable:
            self.take()
            self.send()
            while self.at_server:
                self.box.answered(Reply(self.at_server.pop(0), 7, FOUND))
        assert sorted(self.outcomes) == list(range(self.drawn))
        if self.policy is DropPolicy.EVERY:
            reasons = {Drop.QUEUE_FULL, Drop.CONNECTION_LOST}
            assert not reasons & {outcome for outcome in self.outcomes.values() if isinstance(outcome, Drop)}


TestStream = Stream.TestCase
TestStream.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
