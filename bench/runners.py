"""What is timed: whole frames in, instances laid on the frame out, the time of each stage beside."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from scene.image import RgbImage, network_input
from scene.instances import Detections, full_masks
from serve.engines import Engine
from serve.frame import EncodedFrame
from serve.model import detections

if TYPE_CHECKING:  # an installation that serves has no torch, and times ONNX files all the same
    import torch

    from model.segmenter import Segmenter


class Run(NamedTuple):
    """One call: milliseconds by stage, the rows per frame, and how many instances were pasted in all.

    Stages are ``decode`` where the frames are files; ``prepare``: stretch, stack, copy to the device; ``network``;
    ``nms``: decoding of boxes, top-k, Fast NMS; ``masks``: assembly, rescoring, copy to the host; ``paste``: each mask
    onto the whole frame. An engine whose graph is one piece has ``graph`` for the three in the middle.
    """

    stages_ms: dict[str, float]
    rows: list[Detections]
    pasted: int


class Runner(Protocol):
    """A loaded network behind any engine."""

    def run(self, frames: list[RgbImage]) -> Run:
        """Answer a batch of frames, uint8 [H, W, 3] RGB of any size."""
        ...


@dataclass(frozen=True)
class Pasting:
    """Which rows are laid on the frame: those above their class's threshold, or the first ``forced`` of all."""

    thresholds: tuple[float, ...]
    forced: int | None = None

    def paste(self, rows: list[Detections], frames: list[RgbImage]) -> list[NDArray[np.uint8]]:
        """The masks of every frame's wanted rows, uint8 [n, H, W] of 0 and 1, each of the frame's size."""
        return [
            full_masks(self._wanted(found), (frame.shape[0], frame.shape[1]))
            for found, frame in zip(rows, frames, strict=True)
        ]

    def least_score(self) -> float:
        """What an engine need not look at: the largest score below every threshold, or 0 where rows are forced."""
        return 0.0 if self.forced is not None else float(np.nextafter(np.float32(min(self.thresholds)), np.float32(-1)))

    def _wanted(self, rows: Detections) -> Detections:
        if self.forced is not None:
            return rows.first(self.forced)
        return rows.above(np.asarray(self.thresholds, np.float32))


class HostClock:
    """Stages by the host's clock: right where every step blocks until it is done."""

    def __init__(self) -> None:
        self._spent_ms: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Count the block's time to the stage."""
        started_s = time.perf_counter()
        yield
        self._spent_ms[name] = self._spent_ms.get(name, 0.0) + (time.perf_counter() - started_s) * 1000

    def read(self) -> dict[str, float]:
        """Milliseconds by stage."""
        return self._spent_ms


class DeviceClock:
    """Stages on a GPU by events in its own queue, so that launching a kernel is not taken for running it."""

    def __init__(self) -> None:
        self._marks: list[tuple[str, torch.cuda.Event, torch.cuda.Event]] = []

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Put an event before and one behind what the block enqueues."""
        import torch  # noqa: PLC0415 - whoever has a GPU's work to time has loaded it

        first, last = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        first.record()
        yield
        last.record()
        self._marks.append((name, first, last))

    def read(self) -> dict[str, float]:
        """Wait for the last event; milliseconds by stage."""
        if self._marks:
            self._marks[-1][2].synchronize()
        return {name: first.elapsed_time(last) for name, first, last in self._marks}


class GraphRunner:
    """An engine of the graph contract: network, NMS and masks are one call.

    It is asked for the rows that score more than ``score_threshold``.
    """

    def __init__(
        self, engine: Engine, size_hw: tuple[int, int], pasting: Pasting, score_threshold: float = 0.0
    ) -> None:
        self._engine = engine
        self._size_hw = size_hw
        self._pasting = pasting
        self._score_threshold = score_threshold

    def run(self, frames: list[RgbImage]) -> Run:
        """Answer a batch of frames."""
        clock = HostClock()
        with clock.stage("prepare"):
            batch = stacked(frames, self._size_hw)
        with clock.stage("graph"):
            outputs = self._engine.run(batch, self._score_threshold)
        rows = [detections(outputs, index) for index in range(len(frames))]
        with clock.stage("paste"):
            pasted = self._pasting.paste(rows, frames)
        return Run(clock.read(), rows, sum(map(len, pasted)))


class DecodingRunner:
    """Any runner behind the decoding of its frames, as the server decodes them."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def run(self, frames: list[EncodedFrame]) -> Run:
        """Answer a batch of frames."""
        clock = HostClock()
        with clock.stage("decode"):
            pictures = [frame.decode() for frame in frames]
        run = self._runner.run(pictures)
        return run._replace(stages_ms={**clock.read(), **run.stages_ms})


class TorchRunner:
    """A segmenter in torch, its three thirds timed apart; ``compiled`` gives each to ``torch.compile``."""

    def __init__(self, segmenter: "Segmenter", device: "torch.device", pasting: Pasting, compiled: bool) -> None:
        import torch  # noqa: PLC0415 - see above

        self._torch = torch
        self._device = device
        self._pasting = pasting
        self._size_hw = segmenter.network.config.size_hw
        segmenter = segmenter.to(device).eval()
        steps: list[Callable[..., Any]] = [segmenter.infer, segmenter.suppress, segmenter.assemble]
        # One size of input each: a graph that takes any would be another, slower one.
        self._infer, self._suppress, self._assemble = (
            torch.compile(step, dynamic=False) if compiled else step for step in steps
        )

    def run(self, frames: list[RgbImage]) -> Run:
        """Answer a batch of frames."""
        clock = HostClock()
        with self._torch.inference_mode():
            with clock.stage("prepare"):
                batch = self._torch.from_numpy(stacked(frames, self._size_hw)).to(self._device)
            arrays, middle_ms = self._answer(batch)
        num, *fields = arrays
        rows = [Detections(*(field[index, :count] for field in fields)) for index, count in enumerate(num.tolist())]
        with clock.stage("paste"):
            pasted = self._pasting.paste(rows, frames)
        return Run({**clock.read(), **middle_ms}, rows, sum(map(len, pasted)))

    def _answer(self, batch: "torch.Tensor") -> tuple[list[NDArray[Any]], dict[str, float]]:
        """The contract's six arrays on the host, and the milliseconds of the three thirds."""
        clock = DeviceClock() if self._device.type == "cuda" else HostClock()
        with clock.stage("network"):
            outputs = self._infer(batch)
        with clock.stage("nms"):
            found = self._suppress(outputs)
        with clock.stage("masks"):
            arrays = [tensor.cpu().numpy() for tensor in self._assemble(outputs, found)]
        return arrays, clock.read()


def stacked(frames: list[RgbImage], size_hw: tuple[int, int]) -> NDArray[np.uint8]:
    """The network's input: uint8 [B, H, W, 3]."""
    return np.stack([network_input(frame, size_hw) for frame in frames])
