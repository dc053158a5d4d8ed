"""When a broken connection is tried again, with a clock and chance of the test's own."""

import pytest

from scene.errors import ServerError
from serve.backoff import LONGEST_PAUSE_S, SHORTEST_PAUSE_S, Backoff


class Outage:
    """A back-off whose pauses pass at once."""

    def __init__(self, timeout_s: float, chance: float = 0.0) -> None:
        self.now_s = 50.0
        self.backoff = Backoff(timeout_s, lambda: self.now_s, lambda: chance)

    def pauses(self, count: int = 1000) -> list[float]:
        """At most so many pauses until it is given up."""
        pauses: list[float] = []
        while len(pauses) < count and (pause_s := self.backoff.pause_s()) is not None:
            self.now_s += pause_s
            pauses.append(pause_s)
        return pauses


def test_no_time_means_no_attempt() -> None:
    outage = Outage(0.0)
    outage.backoff.broke()
    assert outage.pauses() == []


def test_pauses_double_up_to_the_longest_and_end_with_the_time() -> None:
    outage = Outage(20.0)
    outage.backoff.broke()
    pauses = outage.pauses()
    assert pauses[:7] == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0])
    assert max(pauses) == LONGEST_PAUSE_S
    assert sum(pauses) == pytest.approx(20.0)


def test_chance_shortens_a_pause_by_up_to_half() -> None:
    outage = Outage(20.0, chance=1.0)
    outage.backoff.broke()
    assert outage.pauses(3) == pytest.approx([0.05, 0.1, 0.2])


def test_connections_that_break_at_once_belong_to_one_outage() -> None:
    outage = Outage(1.0)
    outage.backoff.broke()
    for _ in range(3):
        outage.pauses(1)
        outage.backoff.connected()
        outage.backoff.broke()
    assert outage.pauses() == pytest.approx([0.3])


@pytest.mark.parametrize("good", ["replied", "lasted"])
def test_a_good_connection_ends_the_outage(good: str) -> None:
    outage = Outage(10.0)
    outage.backoff.broke()
    outage.pauses(4)
    outage.backoff.connected()
    if good == "replied":
        outage.backoff.replied()
    else:
        outage.now_s += LONGEST_PAUSE_S
    outage.backoff.broke()
    assert outage.pauses(2) == pytest.approx([SHORTEST_PAUSE_S, 2 * SHORTEST_PAUSE_S])


def test_an_attempt_may_take_what_is_left() -> None:
    outage = Outage(7.0)
    outage.backoff.broke()
    assert outage.backoff.patience_s() == LONGEST_PAUSE_S
    outage.now_s += 6.0
    assert outage.backoff.patience_s() == pytest.approx(1.0)
    outage.now_s += 6.0
    assert outage.backoff.patience_s() == SHORTEST_PAUSE_S


def test_what_is_told_says_how_long_it_was_tried() -> None:
    error = Outage(7.0).backoff.given_up(ServerError("the server is gone"), "host:1")
    assert str(error) == "the server is gone (tried for 7 s to reach host:1 again)"
