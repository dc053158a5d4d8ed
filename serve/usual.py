"""What something usually takes, learnt while it happens."""

_NEWEST = 1 / 8
_NEWEST_DEVIATION = 1 / 4


class Usual:
    """Running mean and mean deviation of durations, as TCP keeps them of its round trips (RFC 6298, section 2)."""

    def __init__(self) -> None:
        self.mean_s = 0.0
        self._deviation_s = 0.0

    def note(self, spent_s: float) -> None:
        """Learn from one more; the first is taken as it is."""
        if not self.mean_s:
            self.mean_s = spent_s
            return
        self._deviation_s += (abs(spent_s - self.mean_s) - self._deviation_s) * _NEWEST_DEVIATION
        self.mean_s += (spent_s - self.mean_s) * _NEWEST

    def at_least_s(self) -> float:
        """Less than it usually takes: a deviation below the mean, half of it at most. 0 before the first."""
        return max(self.mean_s / 2, self.mean_s - self._deviation_s)

    def at_most_s(self) -> float:
        """More than it usually takes: two deviations above the mean. 0 before the first."""
        return self.mean_s + 2 * self._deviation_s
