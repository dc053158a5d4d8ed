"""What a live stream gets over a way that carries half of what its camera shows, by how much it has on the way."""

from collections import Counter
from dataclasses import asdict
from functools import partial
from statistics import fmean, median
from typing import Any

from bench.load import LoadPlan, Outcome, run_load
from bench.report import ratio_text
from bench.samples import LEAST, paired_ratio, summary
from bench.slow_link import SlowLink
from scene.errors import ServerError
from serve.client import Client
from serve.frame import EncodedFrame

WAYS = (1, 8)
"""Frames on the way: what a live stream has by default, and what hides a way's delay."""

_READY_S = 30.0


def throttled_report(
    address: str,
    frames: list[EncodedFrame],
    rate: float = 30.0,
    share: float = 0.5,
    turns: int = LEAST,
    seconds: float = 3.0,
) -> dict[str, Any]:
    """Ages of answers in milliseconds from when a frame was due, both ways in turns, over a link as slow as that.

    The link carries ``share`` of the bytes that ``rate`` frames a second are. Raises ``ServerError`` if a turn ends
    early or brings no answer.
    """
    bytes_per_s = share * rate * fmean(len(frame.data) for frame in frames)
    outcomes: dict[int, list[Outcome]] = {in_flight: [] for in_flight in WAYS}
    medians: dict[int, list[float]] = {in_flight: [] for in_flight in WAYS}
    held: dict[int, int] = dict.fromkeys(WAYS, 0)
    for _ in range(turns):
        for in_flight in WAYS:
            found, held_bytes = _turn(address, frames, LoadPlan((rate,), seconds), in_flight, bytes_per_s)
            outcomes[in_flight] += found
            medians[in_flight].append(median(_ages_ms(found)))
            held[in_flight] = max(held[in_flight], held_bytes)
    ratio = asdict(paired_ratio(medians[WAYS[0]], medians[WAYS[1]])) if turns >= LEAST else None
    return {
        "rate": rate,
        "link_bytes_per_s": round(bytes_per_s),
        "frame_bytes": round(fmean(len(frame.data) for frame in frames)),
        "in_flight": {
            str(in_flight): {
                "frames": dict(Counter(outcome.kind for outcome in found), due=len(found)),
                "age_ms": summary(_ages_ms(found)),
                "most_held_bytes": held[in_flight],
                "samples_age_ms": [round(age_ms, 3) for age_ms in _ages_ms(found)],
            }
            for in_flight, found in outcomes.items()
        },
        "age_ratio": ratio,
    }


def throttled_lines(report: dict[str, Any]) -> list[str]:
    """The report for people."""
    lines = []
    for in_flight, found in report["in_flight"].items():
        age, counts = found["age_ms"], found["frames"]
        lines.append(
            f"{in_flight} on the way over {report['link_bytes_per_s'] / 1000:.0f} kB/s: age ms median "
            f"{age['median']:.0f}, p95 {age['p95']:.0f}; {counts.get('answered', 0)} of {counts['due']} answered; "
            f"{found['most_held_bytes'] / 1000:.0f} kB held"
        )
    ratio = report["age_ratio"]
    return [*lines, f"age of {WAYS[0]} over {WAYS[1]}: {ratio_text(ratio)}"] if ratio else lines


def _turn(
    address: str, frames: list[EncodedFrame], plan: LoadPlan, in_flight: int, bytes_per_s: float
) -> tuple[list[Outcome], int]:
    """One load over a link of its own: what became of its frames, and the most that the link held."""
    with SlowLink(address, bytes_per_s) as link, Client(link.address, _READY_S) as client:
        client.segment(frames[0])
        link.most_held_bytes = 0
        exchange = partial(client.stream, in_flight=in_flight, reconnect=False)
        (log,), ending = run_load([exchange], frames, plan, client.close)
    if ending == "stopped":
        raise KeyboardInterrupt
    if log.error or not _ages_ms(log.all_outcomes()):
        raise ServerError(log.error or "the server answered no frame over the slow link")
    return log.all_outcomes(), link.most_held_bytes


def _ages_ms(outcomes: list[Outcome]) -> list[float]:
    return [outcome.latency_ms for outcome in outcomes if outcome.kind == "answered"]
