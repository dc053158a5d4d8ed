"""Clients that misbehave, for as long as a block runs, and what their neighbours notice of it.

A fault is a context manager on an address: of bounded count, gone when its block ends, and cheap enough that what the
neighbours notice is the server's doing and not the load of the machine that plays the clients.
"""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from functools import partial
from typing import Any

from bench.load import LoadPlan, close_all, run_load
from bench.raw_stream import PREFACE, RawStream, connect, message_frame
from bench.samples import summary
from scene.errors import ServerError
from serve import wire
from serve.answer import Options
from serve.client import Client
from serve.exchange import Frame, StreamOptions
from serve.frame import EncodedFrame

Fault = Callable[[str, EncodedFrame], AbstractContextManager[Counter[str]]]
"""Plays a fault on a server's address, with a frame that it can use; when its block has ended, the counter holds how
many clients "came", and how many were "refused"."""

_STALLED_FPS = 10.0
_SLOW_S = 1.0
_VANISH_WITHIN_S = 10.0
_SETTLE_S = 1.0
"""Until what was opened is open, and what was closed is closed."""
_TAKES_HOLD_S = 6.0
"""Until every reader that stalls has left as much unread as lets the server pause its work for it."""


@contextmanager
def stalled_readers(
    address: str, frame: EncodedFrame, count: int = 4, takes_hold_s: float = _TAKES_HOLD_S
) -> Iterator[Counter[str]]:
    """Streams that send ten frames a second and take not one byte of the answers, though they answer every ping.

    The block begins when they have stalled: until then they are streams like others.
    """
    with ExitStack() as stack:
        streams = [stack.enter_context(RawStream(address, window=0)) for _ in range(count)]
        for stream in streams:
            stream.acknowledge()
            stream.send(_configuration())
        stack.enter_context(_repeated(1 / _STALLED_FPS, partial(_send_all, streams, frame)))
        threading.Event().wait(takes_hold_s)
        yield Counter(came=len(streams))


@contextmanager
def slow_senders(address: str, frame: EncodedFrame, count: int = 16) -> Iterator[Counter[str]]:
    """Streams that send a frame by one byte a second, and as many connections that do so with HTTP/2's first words."""
    message = message_frame(_message(frame, 0))
    with ExitStack() as stack:
        streams = [stack.enter_context(RawStream(address)) for _ in range(count)]
        for stream in streams:
            stream.acknowledge()
            stream.send(_configuration())
        sockets = [stack.enter_context(connect(address)) for _ in range(count)]

        def send(turn: int) -> None:
            for stream in streams:
                with suppress(OSError):
                    stream.send_data(message[turn : turn + 1])
            for connection in sockets:
                with suppress(OSError):
                    connection.sendall(PREFACE[turn : turn + 1])

        stack.enter_context(_repeated(_SLOW_S, send))
        threading.Event().wait(_SETTLE_S)
        yield Counter(came=len(streams) + len(sockets))


@contextmanager
def vanishing(address: str, frame: EncodedFrame, count: int = 500) -> Iterator[Counter[str]]:
    """Clients that open a stream, send a frame and reset the connection, one after the other within ten seconds."""
    clients: Counter[str] = Counter()

    def come_and_go(turn: int) -> None:
        if turn >= count:
            return
        try:
            stream = RawStream(address)
            stream.send(_configuration())
            stream.send(_message(frame, 0))
            stream.vanish()
        except OSError:
            clients["refused"] += 1
        else:
            clients["came"] += 1

    with _repeated(_VANISH_WITHIN_S / count, come_and_go):
        yield clients


@contextmanager
def idle_streams(address: str, frame: EncodedFrame, count: int = 200) -> Iterator[Counter[str]]:
    """Streams that were opened and are silent since."""
    del frame
    with ExitStack() as stack:
        for _ in range(count):
            stream = stack.enter_context(RawStream(address))
            stream.acknowledge()
            stream.send(_configuration())
        threading.Event().wait(_SETTLE_S)
        yield Counter(came=count)


FAULTS: Mapping[str, Fault] = {
    "stalled-readers": stalled_readers,
    "slow-senders": slow_senders,
    "vanishing": vanishing,
    "idle-streams": idle_streams,
}


def others_p99(
    address: str,
    fault: Fault,
    frame: EncodedFrame,
    rates: tuple[float, ...] = (10.0,),
    windows: int = 6,
    window_s: float = 3.0,
) -> dict[str, Any]:
    """What well-behaved streams of these rates notice: age of answers in milliseconds, in turns without and with the
    fault; of p50 and p99 the ratio with to without; frames by what became of them, those that were not answered, and
    errors; and ``clients``, those of the fault that came and that were refused, in all turns together."""
    ages: dict[str, list[float]] = {"quiet": [], "fault": []}
    frames: dict[str, Counter[str]] = {"quiet": Counter(), "fault": Counter()}
    came: Counter[str] = Counter()
    errors: list[str] = []
    with ExitStack() as stack:
        clients = [stack.enter_context(Client(address)) for _ in rates]
        for turn in range(2 * windows):
            kind = ("quiet", "fault")[turn % 2]
            with fault(address, frame) if kind == "fault" else nullcontext(Counter[str]()) as played:
                logs, ending = run_load(
                    [client.stream for client in clients],
                    [frame],
                    LoadPlan(rates, window_s, seed=turn // 2),
                    partial(close_all, clients),
                )
            came += played
            outcomes = [outcome for log in logs for outcome in log.all_outcomes()]
            ages[kind] += [outcome.latency_ms for outcome in outcomes if outcome.kind == "answered"]
            frames[kind].update(outcome.kind for outcome in outcomes)
            errors += [log.error for log in logs if log.error]
            if ending != "whole":
                raise ServerError(f"the neighbours' load was {ending}")
            threading.Event().wait(_SETTLE_S)
    quiet, faulty = summary(ages["quiet"]), summary(ages["fault"])
    ratios = {f"{name}_ratio": round(faulty[key] / quiet[key], 3) for name, key in (("p50", "median"), ("p99", "p99"))}
    return {
        "quiet_ms": quiet,
        "fault_ms": faulty,
        **ratios,
        "frames": {kind: dict(counts) for kind, counts in frames.items()},
        "not_answered": {kind: counts.total() - counts["answered"] for kind, counts in frames.items()},
        "clients": dict(came),
        "turns": windows,
        "errors": errors,
    }


def _configuration() -> bytes:
    request = wire.configuration_request(wire.Configuration(Options(), StreamOptions(), 0))
    return request.SerializeToString()


def _message(frame: EncodedFrame, number: int) -> bytes:
    return wire.frame_request(Frame(number, 0, frame)).SerializeToString()


def _send_all(streams: list[RawStream], frame: EncodedFrame, turn: int) -> None:
    message = _message(frame, turn)
    for stream in streams:
        with suppress(OSError):  # the server has ended it
            stream.send(message)


@contextmanager
def _repeated(interval_s: float, act: Callable[[int], None]) -> Iterator[None]:
    """Call ``act`` with 0, 1, ... by the clock at that interval on a thread while the block runs; late ones follow at
    once."""
    ended, start_s = threading.Event(), time.monotonic()

    def run() -> None:
        turn = 0
        while not ended.wait(max(0.0, start_s + (turn + 1) * interval_s - time.monotonic())):
            act(turn)
            turn += 1

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
