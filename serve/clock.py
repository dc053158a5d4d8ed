"""How old a frame is, though its sender's clock may be wrong by hours."""

_WINDOW_S = 30.0


class SenderClock:
    """Tells ages on a clock whose offset to ours is unknown.

    Of every message, arrival by our clock minus sending by theirs is the clocks' offset plus the way's delay. Its least
    value is the best guess at the offset (the minimum filter of one-way delay measurement, as in LEDBAT, RFC 6817,
    section 3.4.2): the first message sets it, a faster one mends it. The minimum is of the last 30 to 60 seconds, as
    clocks drift by up to 50 microseconds a second, and as a clock that was set must not expire frames for ever.
    """

    def __init__(self) -> None:
        self._window_began_s = 0.0
        self._least_s: float | None = None
        self._least_before_s: float | None = None

    def note(self, send_time_us: int, arrived_s: float) -> None:
        """Learn from a message; one without a send time (0) teaches nothing."""
        if send_time_us == 0:
            return
        difference_s = arrived_s - send_time_us / 1e6
        if self._least_s is None or arrived_s - self._window_began_s >= _WINDOW_S:
            self._least_before_s, self._least_s = self._least_s, difference_s
            self._window_began_s = arrived_s
        self._least_s = min(self._least_s, difference_s)

    def age_ms(self, send_time_us: int, arrived_s: float, now_s: float) -> float:
        """Milliseconds from a noted message's sending until now; from its arrival where its send time is unknown."""
        if send_time_us == 0 or self._least_s is None:
            return (now_s - arrived_s) * 1000
        offset_s = self._least_s if self._least_before_s is None else min(self._least_s, self._least_before_s)
        return (now_s - send_time_us / 1e6 - offset_s) * 1000
