"""Ids that objects keep over the frames of one stream: Norfair follows their boxes.

Chosen on generated clips (``bench track``): of the kept libraries Norfair (``norfair-enough``, its maintained fork)
and Roboflow's ``trackers`` broke the fewest ids, and the second requires another OpenCV wheel, which would overwrite
ours. Rows below the drawing thresholds are not shown to it: with them ids were exchanged more often.
"""

import logging
import math
from dataclasses import dataclass, replace
from types import ModuleType
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from scene.errors import ConfigurationError
from serve.answer import Answer, FoundInstance

if TYPE_CHECKING:
    from norfair import Detection, TrackedObject
    from norfair.filter import OptimizedKalmanFilter

LIFE_S = 1.0
"""An object that was not found for longer gets a new id when it comes back."""

USUAL_INTERVAL_S = 1 / 15
"""Between two frames whose times are not told."""

_LEAST_INTERVAL_S = 1 / 120
"""Frames whose times lie closer were held up on their way: no object has the speed that they would give it."""

_HEIGHT_PX = 720.0
"""Boxes are scaled to a frame of this height, so that the filter's variances suit a camera of any size."""

_LEAST_IOU = 0.1
"""Of a box with where the object was expected."""

_SAME_IOU = 0.6
"""Two boxes of one kind that overlap more are one object, answered twice: once as a bus, once as a train."""

_FOR_EVER = 1_000_000
"""Frames. How long an object lives is a matter of seconds here, not of frames."""

_KINDS = (("person", "rider"), ("car", "truck", "bus", "train"), ("motorcycle", "bicycle"))
_KIND_OF = {name: names[0] for names in _KINDS for name in names}
"""Classes that one object may be taken for in turn, by one name; every other class is a kind of its own."""


@dataclass(frozen=True)
class _Sighting:
    """Where an object was found: the frame, counted from 1, its time in seconds, and the row of its answer."""

    frame: int
    time_s: float
    row: int


class Tracker:
    """Follows the objects of one stream; used in the order of frames, from one thread at a time.

    Raises ``ConfigurationError`` for ``track`` where the library is not installed.
    """

    def __init__(self) -> None:
        self._norfair = _library()
        variances = self._norfair.OptimizedKalmanFilterFactory(R=1.0, Q=1.0, pos_variance=1.0, vel_variance=10.0)
        self._tracker = self._norfair.Tracker(
            "iou",
            distance_threshold=1 - _LEAST_IOU,
            hit_counter_max=_FOR_EVER,
            initialization_delay=1,
            filter_factory=variances,
            past_detections_length=0,
        )
        self._frame = 0
        self._now_s = 0.0
        self._interval_s: float | None = None
        self._told_s: float | None = None

    def update(self, answer: Answer, frame_time_s: float | None = None) -> Answer:
        """The answer to the stream's next frame with ``track_id`` of each instance that was seen before, from 1 on.

        ``frame_time_s`` is when the frame was taken or sent, in seconds of any clock: how far objects have moved is
        reckoned from the time that passed, so that dropped frames do no harm. A time that is no later than the last
        frame's counts as one interval more. An instance keeps None until it is found in two frames in a row, and where
        it lies on a better one of its kind.
        """
        self._advance(frame_time_s)
        scale = _HEIGHT_PX / answer.image_size_hw[0]
        shown = [self._detection(answer.instances[row], row, scale) for row in self._rows(answer.instances)]
        sightings = [(found.id, found.last_detection.data) for found in self._tracker.update(shown)]
        ids = {sighting.row: track_id for track_id, sighting in sightings if sighting.frame == self._frame}
        instances = tuple(replace(each, track_id=ids.get(row)) for row, each in enumerate(answer.instances))
        return replace(answer, instances=instances)

    def _rows(self, instances: tuple[FoundInstance, ...]) -> list[int]:
        """The rows to follow: without those that lie on a better one of their kind, and boxes without an area."""
        rows = [row for row, each in enumerate(instances) if _has_area(each)]
        if not rows:
            return []
        boxes = np.array([instances[row].box_xyxy for row in rows], np.float64)
        apart = self._norfair.iou(boxes, boxes) > 1 - _SAME_IOU
        kept: list[int] = []  # places in rows, which begin with the best
        for place, row in enumerate(rows):
            if all(apart[place, other] or _kind(instances[row]) != _kind(instances[rows[other]]) for other in kept):
                kept.append(place)
        return [rows[place] for place in kept]

    def _detection(self, instance: FoundInstance, row: int, scale: float) -> "Detection":
        corners: NDArray[np.float64] = np.array(instance.box_xyxy, np.float64).reshape(2, 2) * scale
        sighting = _Sighting(self._frame, self._now_s, row)
        return cast("Detection", self._norfair.Detection(corners, data=sighting, label=_kind(instance)))

    def _advance(self, frame_time_s: float | None) -> None:
        """Go on to the next frame's time: forget whom nobody saw for long, and reckon in the new interval."""
        interval_s = self._passed(frame_time_s)
        self._frame += 1
        self._now_s += interval_s
        objects = self._tracker.tracked_objects
        alive = [each for each in objects if self._now_s - each.last_detection.data.time_s <= LIFE_S]
        if self._interval_s is not None:
            for each in alive:
                _stretch(each, interval_s / self._interval_s)
        self._tracker.tracked_objects = alive
        self._interval_s = interval_s

    def _passed(self, frame_time_s: float | None) -> float:
        """Seconds since the last frame, more than 0."""
        usual_s = self._interval_s or USUAL_INTERVAL_S
        if frame_time_s is None or not math.isfinite(frame_time_s):
            return usual_s
        last_s, self._told_s = self._told_s, frame_time_s
        return usual_s if last_s is None or frame_time_s <= last_s else max(_LEAST_INTERVAL_S, frame_time_s - last_s)


def _stretch(found: "TrackedObject", factor: float) -> None:
    """Tell an object's filter, which counts in intervals between frames, that the next one is so many times as long."""
    belief = cast("OptimizedKalmanFilter", found.filter)
    belief.x[belief.dim_z :] *= factor
    belief.pos_vel_covariance *= factor
    belief.vel_variance *= factor * factor


def _kind(instance: FoundInstance) -> str:
    return _KIND_OF.get(instance.class_name, instance.class_name)


def _has_area(instance: FoundInstance) -> bool:
    x1, y1, x2, y2 = instance.box_xyxy
    return x2 > x1 and y2 > y1


def _library() -> ModuleType:
    try:
        import norfair  # noqa: PLC0415 - a server whose streams ask for no ids needs no tracker
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            "track",
            "expected an installed tracker, but there is none: pip install 'streetmask[tracking]' on the server",
        ) from error
    # It warns of boxes whose corners have changed places, as an expected box's may; such a box overlaps with none.
    logging.getLogger("norfair.distances").setLevel(logging.ERROR)
    return norfair
