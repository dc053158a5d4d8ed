"""What is asked of a frame and what is answered: the same types in the server, in its client and without a server."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from scene.errors import ConfigurationError
from scene.instances import Instance, decode_rle, encode_rle

Stage = Literal["decode", "prepare", "network", "paste", "encode"]


LONGEST_NAME = 255
"""Characters of a model's name, which is a folder's."""


@dataclass(frozen=True)
class Options:
    """What is wanted of an answer; raises ``ConfigurationError`` for what is out of range.

    ``score_threshold`` in [0, 1], None for the model's own of each class; ``max_instances`` from 0, None for all;
    ``model_name`` empty for the server's default, ``model_version`` 0 for the current one.
    """

    score_threshold: float | None = None
    max_instances: int | None = None
    include_masks: bool = True
    model_name: str = ""
    model_version: int = 0

    def __post_init__(self) -> None:
        threshold, count = self.score_threshold, self.max_instances
        if threshold is not None and not 0 <= threshold <= 1:
            raise ConfigurationError("score_threshold", f"expected 0 to 1, but {threshold:g} came")
        if count is not None and count < 0:
            raise ConfigurationError("max_instances", f"expected 0 or more, but {count} came")
        if len(self.model_name) > LONGEST_NAME:
            came = f"{len(self.model_name)} came"
            raise ConfigurationError("model_name", f"expected {LONGEST_NAME} characters at most, but {came}")
        if self.model_version < 0:
            raise ConfigurationError("model_version", f"expected 0 or more, but {self.model_version} came")

    def limited(self, most: int) -> "Options":
        """The same with so many instances at most; 0 for no limit."""
        if most == 0 or (self.max_instances is not None and self.max_instances <= most):
            return self
        return replace(self, max_instances=most)


@dataclass(frozen=True)
class StageTimes:
    """Milliseconds that one frame spent in each stage; they add up to the total. ``queue_ms`` is all waiting."""

    queue_ms: float = 0.0
    decode_ms: float = 0.0
    prepare_ms: float = 0.0
    network_ms: float = 0.0
    paste_ms: float = 0.0
    encode_ms: float = 0.0
    total_ms: float = 0.0


class StageClock:
    """Times the stages of one frame; whatever passes between them counts as waiting."""

    def __init__(self, arrived_s: float) -> None:
        self._arrived_s = arrived_s
        self._spent_ms: dict[str, float] = {}

    @contextmanager
    def stage(self, name: Stage) -> Iterator[None]:
        """Count the time inside the block to the stage."""
        started_s = time.perf_counter()
        yield
        self.add(name, (time.perf_counter() - started_s) * 1000)

    def add(self, name: Stage, spent_ms: float) -> None:
        """Count a time measured elsewhere."""
        self._spent_ms[f"{name}_ms"] = self._spent_ms.get(f"{name}_ms", 0.0) + spent_ms

    def times(self) -> StageTimes:
        """The stages until now."""
        total_ms = (time.perf_counter() - self._arrived_s) * 1000
        queue_ms = max(0.0, total_ms - sum(self._spent_ms.values()))
        return StageTimes(queue_ms=queue_ms, total_ms=total_ms, **self._spent_ms)


@dataclass(frozen=True)
class MaskRegion:
    """A mask of 0 and 1 as COCO's compressed run lengths of a region; ``xy`` is the region's left upper corner."""

    xy: tuple[int, int]
    size_hw: tuple[int, int]
    counts: str

    @classmethod
    def of(cls, instance: Instance) -> "MaskRegion":
        """Encode an instance's mask."""
        rle = encode_rle(instance.mask)
        height, width = rle["size"]
        return cls(instance.mask_xy, (height, width), rle["counts"])

    def pixels(self) -> NDArray[np.uint8]:
        """The region's mask: uint8 [h, w] of 0 and 1."""
        return decode_rle({"size": list(self.size_hw), "counts": self.counts})

    def on_frame(self, size_hw: tuple[int, int]) -> NDArray[np.uint8]:
        """The mask on a frame of (height, width): uint8 [H, W] of 0 and 1."""
        frame = np.zeros(size_hw, np.uint8)
        (x, y), (height, width) = self.xy, self.size_hw
        frame[y : y + height, x : x + width] = self.pixels()
        return frame


@dataclass(frozen=True)
class FoundInstance:
    """One object: its class, scores in [0, 1], box in pixels of the frame, and mask unless none was wanted.

    ``track_id`` is the same number in every frame of a stream that shows this object; None where nobody follows it.
    """

    class_index: int
    class_name: str
    score: float
    mask_score: float
    box_xyxy: tuple[float, float, float, float]
    mask: MaskRegion | None = None
    track_id: int | None = None


@dataclass(frozen=True)
class Answer:
    """What one frame of ``image_size_hw`` pixels holds, by falling score, and where the time went."""

    model_name: str
    model_version: int
    image_size_hw: tuple[int, int]
    instances: tuple[FoundInstance, ...]
    times: StageTimes

    def masks(self) -> NDArray[np.uint8]:
        """The instances' masks on the frame, made now: uint8 [N, H, W] of 0 and 1.

        Raises ``ConfigurationError`` if the answer was asked for without masks.
        """
        masks = np.zeros((len(self.instances), *self.image_size_hw), np.uint8)
        for mask, instance in zip(masks, self.instances, strict=True):
            if instance.mask is None:
                raise ConfigurationError("include_masks", "expected an answer with masks, but it was asked for without")
            mask[:] = instance.mask.on_frame(self.image_size_hw)
        return masks
