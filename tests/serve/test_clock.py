"""Ages on a clock that may be wrong: what is wrong with it must not show."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve.clock import SenderClock

HOURS_US = st.integers(-(10**11), 10**11)


def test_without_a_send_time_age_counts_from_arrival() -> None:
    clock = SenderClock()
    clock.note(0, 5.0)
    assert clock.age_ms(0, 5.0, 5.25) == 250
    assert clock.age_ms(99, 5.0, 5.25) == 250  # nothing was learnt yet


@given(HOURS_US, st.lists(st.floats(0, 0.5), min_size=1, max_size=20))
def test_a_wrong_clock_changes_no_age(offset_us: int, delays_s: list[float]) -> None:
    clock = SenderClock()
    sent = []
    for number, delay_s in enumerate([0.0, *delays_s]):
        sent_s = 100 + number / 30
        send_time_us = round(sent_s * 1e6) + offset_us
        if send_time_us == 0:
            return
        clock.note(send_time_us, sent_s + delay_s)
        sent.append((send_time_us, sent_s, sent_s + delay_s))
    for send_time_us, sent_s, arrived_s in sent:
        assert clock.age_ms(send_time_us, arrived_s, 200.0) == pytest.approx((200.0 - sent_s) * 1000, abs=0.01)


def test_the_least_delay_seen_counts_for_none() -> None:
    clock = SenderClock()
    clock.note(1_000_000, 10.0 + 1)  # the first message took a second longer than the fastest will
    assert clock.age_ms(1_000_000, 11.0, 11.0) == 0
    clock.note(1_100_000, 10.1)
    assert clock.age_ms(1_000_000, 11.0, 11.0) == pytest.approx(1000)


def test_a_clock_that_drifts_or_was_set_is_believed_again_within_a_minute() -> None:
    clock = SenderClock()
    clock.note(1_000_000, 1.0)
    for second in range(2, 70):  # it was set back by an hour after its first message
        clock.note((second - 3600) * 1_000_000 + 7_200_000_000, float(second))
    assert clock.age_ms((69 + 3600) * 1_000_000, 69.0, 69.5) == pytest.approx(500)


def test_a_drifting_clock_does_not_age_frames() -> None:
    clock = SenderClock()
    for second in range(1, 3600):
        send_time_us = round(second * 1e6 * (1 - 50e-6))  # 50 microseconds a second slow
        clock.note(send_time_us, float(second))
    assert clock.age_ms(send_time_us, float(second), float(second)) < 4
