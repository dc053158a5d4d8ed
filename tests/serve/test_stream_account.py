"""What a stream came to, in the log."""

import asyncio
import logging

import pytest

from scene.errors import LimitError
from serve.answer import Answer, Options, StageTimes
from serve.exchange import Drop, DropPolicy, Failure, FailureCode, StreamOptions
from serve.stream_account import StreamAccount

ANSWER = Answer("tiny", 3, (64, 128), (), StageTimes())


@pytest.fixture
def log(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO)
    return caplog


def test_a_stream_without_frames_has_two_lines(log: pytest.LogCaptureFixture) -> None:
    with StreamAccount("7", "ipv4:127.0.0.1:5").open(Options(), StreamOptions()):
        pass
    opened, closed = log.records
    assert opened.getMessage() == "a stream opened: newest"
    assert closed.getMessage().endswith("0 answered, 0 dropped, 0 failed: its client has sent all")
    assert [(each.stream, each.peer) for each in log.records] == [("7", "ipv4:127.0.0.1:5")] * 2  # type: ignore[attr-defined]
    assert not hasattr(opened, "model")


def test_it_counts_outcomes_and_names_what_was_wished(log: pytest.LogCaptureFixture) -> None:
    account = StreamAccount("1", "there")
    wishes = StreamOptions(DropPolicy.QUEUE, max_age_ms=80, priority=3, track=True)
    with account.open(Options(model_name="tiny"), wishes):
        for outcome in (ANSWER, ANSWER, Drop.EXPIRED, Failure(FailureCode.INTERNAL, "no")):
            account.count(outcome)
    assert log.records[0].getMessage() == "a stream opened: queue, at most 80 ms old, priority 3, tracked"
    assert "2 answered, 1 dropped, 1 failed" in log.records[1].getMessage()
    assert log.records[0].model == "tiny"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (LimitError("nobody reads"), "nobody reads"),
        (KeyError(), "KeyError"),
        (asyncio.CancelledError(), "its client went away, or its time was over"),
    ],
)
def test_it_says_why_it_ended(log: pytest.LogCaptureFixture, error: BaseException, why: str) -> None:
    with pytest.raises(type(error)), StreamAccount("1", "there").open(Options(), StreamOptions()):
        raise error
    assert log.records[-1].getMessage().endswith(f": {why}")
