"""When a connection that broke is tried again."""

import random
import time
from collections.abc import Callable

from scene.errors import ServerError

SHORTEST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0


class Backoff:
    """When to try again: after 0.1 s, then twice as long each time up to 5 s, a random part of up to half left out.

    Chance keeps the clients of a server that comes back from coming all at once. An outage begins with the break of a
    connection that was good, that is, brought a reply or lasted; after ``timeout_s`` it is given up.
    """

    def __init__(
        self,
        timeout_s: float,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._timeout_s = timeout_s
        self._clock = clock
        self._chance = chance
        self._good = True
        self._connected_s = clock()
        self._broken_s = clock()
        self._attempts = 0

    def connected(self) -> None:
        """A connection begins."""
        self._connected_s = self._clock()

    def replied(self) -> None:
        """The server said something on it."""
        self._good = True

    def broke(self) -> None:
        """The connection broke."""
        if self._good or self._clock() - self._connected_s >= LONGEST_PAUSE_S:
            self._broken_s = self._clock()
            self._attempts = 0
        self._good = False

    def pause_s(self) -> float | None:
        """How long to wait before the next attempt; None once the outage is given up."""
        left_s = self._broken_s + self._timeout_s - self._clock()
        if left_s <= 0:
            return None
        pause_s = min(LONGEST_PAUSE_S, SHORTEST_PAUSE_S * 2.0 ** min(self._attempts, 10))
        self._attempts += 1
        return min(left_s, pause_s * (1 - self._chance() / 2))

    def patience_s(self) -> float:
        """How long an attempt may take."""
        return max(SHORTEST_PAUSE_S, min(LONGEST_PAUSE_S, self._broken_s + self._timeout_s - self._clock()))

    def given_up(self, error: ServerError, address: str) -> ServerError:
        """What is told then."""
        return ServerError(f"{error} (tried for {self._timeout_s:g} s to reach {address} again)")
