"""The two servers that are held against each other, asked alike; and whether they answer alike, before they are timed.

Each window of work is one server's alone; the other idles meanwhile.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
import psutil

from bench.load import ANY_IN_FLIGHT, Exchange, LoadPlan, load_report, run_load
from bench.serving import served_fps
from bench.triton_caller import Caller
from scene.errors import DataError, ServerError
from serve.answer import Answer, FoundInstance
from serve.client import Client
from serve.frame import EncodedFrame

_LEAST_IOU = 0.5
"""From which two masks are one instance: builds of OpenCV differ at edges, which is much of a small mask."""
_LEAST_MATCHED, _LEAST_MEAN_IOU = 0.99, 0.98
_CPU_WINDOW_S = 3.0


class Subject(Protocol):
    """A server, or one of Triton's ways to run the model."""

    @property
    def name(self) -> str:
        """Of the row on the page."""
        ...

    def closed_fps(self, clients: int) -> float:
        """Frames a second in one window of clients that keep it busy."""
        ...

    def load(self, rates: tuple[float, ...], seconds: float) -> dict[str, Any]:
        """``load_report`` of streams whose frames are due by the clock."""
        ...


class StreetMask:
    """Our server, with clients that stay connected."""

    def __init__(self, name: str, address: str, frames: list[EncodedFrame], clients: int) -> None:
        self.name = name
        self._clients = [Client(address) for _ in range(clients)]
        self._frames = frames

    def answers(self) -> list[Answer]:
        """What it says to each frame."""
        for client in self._clients:
            client.segment(self._frames[0])
        return [self._clients[0].segment(frame) for frame in self._frames]

    def closed_fps(self, clients: int) -> float:
        """Frames a second in one window of clients that keep it busy."""
        return served_fps(self._clients[:clients], self._frames)

    def load(self, rates: tuple[float, ...], seconds: float) -> dict[str, Any]:
        """``load_report`` of streams whose frames are due by the clock."""
        exchanges: list[Exchange] = [
            partial(client.stream, in_flight=ANY_IN_FLIGHT) for client in self._clients[: len(rates)]
        ]
        logs, ending = run_load(exchanges, self._frames, LoadPlan(rates, seconds), self.close)
        return load_report(logs) | {"ending": ending}

    def close(self) -> None:
        """End all calls and connections."""
        for client in self._clients:
            client.close()


@dataclass(frozen=True)
class TritonModel:
    """One of Triton's models, by its setup's name."""

    name: str
    caller: Caller

    def answers(self) -> list[Answer]:
        """What it says to each frame."""
        return self.caller.answers(self.name)

    def closed_fps(self, clients: int) -> float:
        """Frames a second in one window of clients that keep it busy."""
        return self.caller.closed_fps(self.name, clients)

    def load(self, rates: tuple[float, ...], seconds: float) -> dict[str, Any]:
        """``load_report`` of streams whose frames are due by the clock."""
        return self.caller.load(self.name, rates, seconds)


@dataclass(frozen=True)
class Agreement:
    """How alike two servers answer: ``matched`` is the share of instances that both found, of all that either did;
    of these the largest difference of scores and of boxes, in pixels, and the mean and the least IoU of masks."""

    instances: int
    matched: float
    score_error: float
    box_error_px: float
    mask_iou: float
    least_mask_iou: float


def agreement(ours: list[Answer], theirs: list[Answer]) -> Agreement:
    """Of the answers to the same frames; raises ``DataError`` where there are none to tell it by."""
    pairs = [
        pair
        for one, other in zip(ours, theirs, strict=True)
        for pair in _pairs(one.instances, other.instances, one.image_size_hw)
    ]
    both = [(one, other, iou) for one, other, iou in pairs if one is not None and other is not None]
    if not pairs:
        raise DataError("neither server found anything on the frames, so nothing says that they do the same work")
    return Agreement(
        instances=len(pairs),
        matched=round(len(both) / len(pairs), 5),
        score_error=max((abs(one.score - other.score) for one, other, _ in both), default=0.0),
        box_error_px=max((_box_error(one, other) for one, other, _ in both), default=0.0),
        mask_iou=round(sum(iou for _, _, iou in both) / max(1, len(both)), 5),
        least_mask_iou=round(min((iou for _, _, iou in both), default=0.0), 5),
    )


def require_alike(found: Agreement) -> None:
    """Raise ``DataError`` where two servers do not do the same work."""
    if found.matched < _LEAST_MATCHED or found.mask_iou < _LEAST_MEAN_IOU:
        raise DataError(
            f"expected the same answers of both servers, but they share {found.matched:.1%} of the instances at a mean "
            f"mask IoU of {found.mask_iou:.3f}: name an --engine and a --precision that this machine computes alike"
        )


def cpu_share(pid: int) -> float:
    """Of one CPU, what a process and its children take while they are left alone."""
    before_s = _cpu_s(pid)
    time.sleep(_CPU_WINDOW_S)
    return round((_cpu_s(pid) - before_s) / _CPU_WINDOW_S, 4)


def require_whole(name: str, report: dict[str, Any]) -> None:
    """Raise ``ServerError`` for a load that was given up, ``KeyboardInterrupt`` for one that Ctrl-C ended."""
    if report["ending"] == "stopped":
        raise KeyboardInterrupt
    if report["ending"] == "stalled":
        raise ServerError(f"{name} left frames unanswered; it was given up")


def _pairs(
    ours: Sequence[FoundInstance], theirs: Sequence[FoundInstance], size_hw: tuple[int, int]
) -> Iterator[tuple[FoundInstance | None, FoundInstance | None, float]]:
    """Each instance of either side with its like of the other, or None, and the IoU of their masks; ours choose by
    falling score."""
    left = list(theirs)
    for one in ours:
        alike = [(_iou(one, other, size_hw), other) for other in left if other.class_index == one.class_index]
        iou, other = max(alike, key=lambda pair: pair[0], default=(0.0, None))
        if other is None or iou < _LEAST_IOU:
            yield one, None, 0.0
            continue
        left.remove(other)
        yield one, other, iou
    for rest in left:
        yield None, rest, 0.0


def _iou(one: FoundInstance, other: FoundInstance, size_hw: tuple[int, int]) -> float:
    if one.mask is None or other.mask is None:
        return 0.0
    ours, theirs = (mask.on_frame(size_hw).astype(bool) for mask in (one.mask, other.mask))
    union = int((ours | theirs).sum())
    return int((ours & theirs).sum()) / union if union else float(one.mask == other.mask)


def _box_error(one: FoundInstance, other: FoundInstance) -> float:
    return float(np.abs(np.subtract(one.box_xyxy, other.box_xyxy)).max())


def _cpu_s(pid: int) -> float:
    process = psutil.Process(pid)
    times = [each.cpu_times() for each in (process, *process.children(recursive=True))]
    return float(sum(spent.user + spent.system for spent in times))
