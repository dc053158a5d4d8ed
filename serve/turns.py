"""Whose frame is next, and when it is worth beginning with it. Knows no images and no gRPC.

A frame that is taken too early grows old while it waits, decoded, for the network; one that is taken too late leaves
the network idle. So turns are given just in time: when the expected wait for the network is no longer than the
preparing takes. Among those who wait, the highest priority goes first, and in it turns are had in rounds, one a member
(start-time fair queueing, Goyal et al. 1996, with a turn as the unit of service): shares are max-min fair, and a stream
that asks for little gets all of it, however much its neighbour asks for. Of those who are no more than a round ahead of
the last the freshest frame goes first: older ones may still be replaced by newer ones before their turn comes.
"""

import asyncio
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

_NUMBERS = itertools.count()

_SLACK = 1
"""Rounds by which a member may be ahead of another that waits, where its frame is fresher."""


class TurnsEndedError(Exception):
    """No turn is given here any more: ask where the work goes on."""


@dataclass
class Member:
    """Who takes turns: a stream for as long as it lives, or a single call.

    ``arrived_s`` tells when the frame came that the next turn would be for; those without it go in order, before those
    with. ``round`` is the one in which the member may have its next turn at the turns of number ``at``: a new member,
    or one whose model was exchanged, begins behind all who wait, lest those who come again and again pass them by.
    """

    priority: int = 0
    arrived_s: Callable[[], float] | None = None
    round: int = field(default=0, init=False)
    at: int = field(default=-1, init=False)


class Turn:
    """The right to prepare one frame; given back when a lane takes it, or when nothing comes of it."""

    def __init__(self, give_back: Callable[[], None]) -> None:
        self._give_back: Callable[[], None] | None = give_back

    def release(self) -> None:
        """Give it back; a second time does nothing."""
        give_back, self._give_back = self._give_back, None
        if give_back is not None:
            give_back()


class _Waiter(NamedTuple):
    member: Member
    round: int
    number: int
    turn: "asyncio.Future[Turn | None]"
    """None when no turn will come: an exception in here would hold, in a circle, the frames that it went through."""


class Turns:
    """Gives at most ``room`` turns at a time, each when ``wait_s`` says that it is time.

    ``wait_s`` tells, for so many turns that are out, in how many seconds one more is worth giving; infinity where only
    a later ``give`` can tell.
    """

    def __init__(self, room: int, wait_s: Callable[[int], float]) -> None:
        self._room = room
        self._wait_s = wait_s
        self._waiting: list[_Waiter] = []
        self._number = next(_NUMBERS)
        self._round = 0
        self._out = 0
        self._ended = False
        self._timer: asyncio.TimerHandle | None = None

    async def take(self, member: Member) -> Turn:
        """Wait for the member's turn; raises ``TurnsEndedError`` if none will come."""
        if self._ended:
            raise TurnsEndedError
        waiter = _Waiter(member, self._round_of(member), next(_NUMBERS), asyncio.get_running_loop().create_future())
        self._waiting.append(waiter)
        self.give()
        try:
            turn = await waiter.turn
        except asyncio.CancelledError:
            if waiter in self._waiting:
                self._waiting.remove(waiter)
            elif not waiter.turn.cancelled() and (turn := waiter.turn.result()) is not None:
                turn.release()
            raise
        if turn is None:
            raise TurnsEndedError
        return turn

    def end(self) -> None:
        """Give no further turn: whoever waits or comes is told so. Turns that are out stay so until they are done."""
        self._ended = True
        self._wait_s = _for_ever  # whose frames they were is held no longer
        if self._timer is not None:
            self._timer.cancel()
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            if not waiter.turn.done():
                waiter.turn.set_result(None)

    def give(self) -> None:
        """Give what turns can be given now, as something has changed; come again when the next one can."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiting and self._out < self._room:
            wait_s = self._wait_s(self._out)
            if wait_s > 0:
                if wait_s < math.inf:
                    self._timer = asyncio.get_running_loop().call_later(wait_s, self.give)
                return
            first = self._next()
            self._waiting.remove(first)
            if not first.turn.done():
                self._round = max(self._round, _round(first))
                first.member.round = _round(first) + 1
                self._out += 1
                first.turn.set_result(Turn(self._given_back))

    def _next(self) -> _Waiter:
        """Whose turn it is: the freshest of the highest priority who is not too far ahead of the last of them."""
        highest = max(waiter.member.priority for waiter in self._waiting)
        peers = [waiter for waiter in self._waiting if waiter.member.priority == highest]
        last = min(map(_round, peers))
        return min((waiter for waiter in peers if _round(waiter) <= last + _SLACK), key=_age)

    def _round_of(self, member: Member) -> int:
        if member.at != self._number:
            member.at, member.round = self._number, self._round + 1
        return max(self._round - _SLACK, member.round)

    def _given_back(self) -> None:
        self._out -= 1
        self.give()


def _for_ever(_: int) -> float:
    return math.inf


def _round(waiter: _Waiter) -> int:
    """A member that waits several times, for single calls, has one turn a round nevertheless."""
    return max(waiter.round, waiter.member.round)


def _age(waiter: _Waiter) -> tuple[float, int, int]:
    arrived_s = waiter.member.arrived_s
    return -math.inf if arrived_s is None else -arrived_s(), _round(waiter), waiter.number
