"""What is measured of answers to a clip's frames: whether ids persist, and what flickers.

An object counts as found where the mask of an answer's row has an IoU of at least 0.5 with its own. Identity is judged
by ``motmetrics``: MOTA with its switches and fragmentations (Bernardin and Stiefelhagen, 2008) and IDF1 (Ristani et
al., 2016), both with IoU of masks in the place of boxes'.
"""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count, pairwise
from typing import Any, Literal

import motmetrics
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from serve.answer import Answer
from training.data.run_lengths import Rle, crop_rle
from training.data.synthetic import SceneInstance

FOUND_IOU = 0.5
GONE_IOU = 0.1
"""Below, no row shows anything of the object; between the two it is shown badly."""

SMALL_PX, LARGE_PX = 32**2, 96**2
"""COCO's borders between small, medium and large objects, in pixels of the frame."""

Size = Literal["small", "medium", "large"]
SIZES: tuple[Size, ...] = ("small", "medium", "large")

_SHARES = ("idf1", "mota", "precision", "recall")
_COUNTS = {
    "num_unique_objects": "objects",
    "num_detections": "found",
    "num_switches": "switches",
    "num_fragmentations": "fragmentations",
}
_ALL = "OVERALL"


@dataclass(frozen=True)
class Seen:
    """One frame of a clip: what is there, what was answered, and how they overlap.

    ``labels`` are the T objects that are there; ``overlaps`` float64 [T, N] is the IoU of their masks with those of the
    answer's N rows, ``label_masks`` and ``row_masks``; ``time_s`` counts from the clip's first frame.
    """

    time_s: float
    labels: tuple[SceneInstance, ...]
    answer: Answer
    label_masks: list[Rle]
    row_masks: list[Rle]
    overlaps: NDArray[np.float64]

    @classmethod
    def of(cls, time_s: float, labels: tuple[SceneInstance, ...], answer: Answer) -> "Seen":
        """Compare an answer, with masks, to the frame's labels."""
        size_hw = answer.image_size_hw
        ours = [crop_rle(each.mask.view(np.uint8), each.box_xyxy[:2], size_hw) for each in labels]
        theirs = [crop_rle(each.mask.pixels(), each.mask.xy, size_hw) for each in answer.instances if each.mask]
        return cls(time_s, labels, answer, ours, theirs, mask_ious(ours, theirs))

    def found(self) -> dict[int, int]:
        """By the object's id in the clip: the row that shows it best, of those that show it well enough."""
        if not self.row_masks:
            return {}
        best = self.overlaps.argmax(axis=1)
        well = self.overlaps[np.arange(len(best)), best] >= FOUND_IOU
        return {each.track_id: int(row) for each, row, good in zip(self.labels, best, well, strict=True) if good}

    def tracked(self) -> "Seen":
        """The same with the rows alone that have an id."""
        rows = [row for row, each in enumerate(self.answer.instances) if each.track_id is not None]
        answer = replace(self.answer, instances=tuple(self.answer.instances[row] for row in rows))
        masks = [self.row_masks[row] for row in rows]
        return replace(self, answer=answer, row_masks=masks, overlaps=self.overlaps[:, rows])

    def with_perfect_ids(self, unused: Iterator[int]) -> "Seen":
        """The same rows with the ids of what they show; a row that shows nothing gets one of its own."""
        owners = {row: track_id for track_id, row in self.found().items()}
        rows = enumerate(self.answer.instances)
        named = tuple(replace(each, track_id=owners[row] if row in owners else next(unused)) for row, each in rows)
        return replace(self, answer=replace(self.answer, instances=named))

    def sizes(self) -> dict[int, Size]:
        """By the object's id: how large it is in this frame."""
        return {each.track_id: size_of(each.visible_area) for each in self.labels}


Clip = Sequence[Seen]


def perfect(clip: Clip) -> list[Seen]:
    """A clip whose rows have the ids of what they show: the best that any tracker can make of these answers."""
    unused = count(-1, -1)
    return [frame.with_perfect_ids(unused) for frame in clip]


def identity(clips: Mapping[str, Clip]) -> dict[str, dict[str, Any]]:
    """By the clip's name, and ``all`` of them: IDF1 and MOTA, how often an object got another id or was lost and found
    again, and the first of these per minute in which an object is found. Rows without an id count as not answered.
    """
    judged = [_accumulated(clip) for clip in clips.values()]
    table = motmetrics.metrics.create().compute_many(
        judged, metrics=[*_SHARES, *_COUNTS], names=list(clips), generate_overall=True
    )
    report = {name: _figures(table.loc[name]) for name in clips} | {"all": _figures(table.loc[_ALL])}
    minutes = {name: report[name]["found"] * _frame_minutes(clip) for name, clip in clips.items()}
    minutes["all"] = sum(minutes.values())
    for name, row in report.items():
        row["found_minutes"] = minutes[name]
        row["switches_a_minute"] = row["switches"] / minutes[name] if minutes[name] else None
    return report


def detection_flicker(clips: Sequence[Clip]) -> dict[str, dict[str, int]]:
    """By size: of the objects that are found in the frames before and after and are there in all three (``between``),
    how many are not found in the middle one (``missing``), and how many of these no row touches (``gone``).
    """
    counts: dict[str, dict[str, int]] = {size: {"between": 0, "missing": 0, "gone": 0} for size in SIZES}
    for clip in clips:
        found = [frame.found() for frame in clip]
        for number in range(1, len(clip) - 1):
            before, middle, after = found[number - 1 : number + 2]
            for track_id, size in clip[number].sizes().items():
                if track_id in before and track_id in after:
                    row = counts[size]
                    row["between"] += 1
                    row["missing"] += track_id not in middle
                    row["gone"] += track_id not in middle and _best_overlap(clip[number], track_id) < GONE_IOU
    return counts


def mask_flicker(clips: Sequence[Clip]) -> dict[str, dict[str, float | int | None]]:
    """By size: of objects that are found in two frames in a row, the mean of 1 - IoU of the answered masks of the two
    (``change``), the same of the true masks (``true_change``), and the first less the second (``flicker``).

    All three are None where there are no such ``pairs``.
    """
    changes: dict[Size, list[tuple[float, float]]] = defaultdict(list)
    for clip in clips:
        for before, after in pairwise(clip):
            sizes, were, are = after.sizes(), before.found(), after.found()
            for track_id in were.keys() & are.keys():
                answered = _change(before.row_masks[were[track_id]], after.row_masks[are[track_id]])
                true = _change(_label_mask(before, track_id), _label_mask(after, track_id))
                changes[sizes[track_id]].append((answered, true))
    return {size: _mean_changes(changes[size]) for size in SIZES}


def size_of(area: int) -> Size:
    """Of an object of so many visible pixels."""
    return "small" if area < SMALL_PX else "medium" if area < LARGE_PX else "large"


def mask_ious(ours: list[Rle], theirs: list[Rle]) -> NDArray[np.float64]:
    """IoU of masks of one frame size: float64 [len(ours), len(theirs)]."""
    if not ours or not theirs:
        return np.zeros((len(ours), len(theirs)))
    return np.asarray(coco_mask.iou(ours, theirs, [0] * len(theirs)), np.float64)


def _accumulated(clip: Clip) -> motmetrics.MOTAccumulator:
    judged = motmetrics.MOTAccumulator(auto_id=True)
    for frame in clip:
        shown = frame.tracked()
        distances = np.where(shown.overlaps >= FOUND_IOU, 1 - shown.overlaps, np.nan)
        ids = [each.track_id for each in shown.answer.instances]
        judged.update([each.track_id for each in shown.labels], ids, distances)
    return judged


def _frame_minutes(clip: Clip) -> float:
    """Minutes from a frame to the next, in the mean."""
    return (clip[-1].time_s - clip[0].time_s) / max(1, len(clip) - 1) / 60 if clip else 0.0


def _figures(row: Mapping[str, float]) -> dict[str, Any]:
    """The library's figures by our names, as JSON can hold them."""
    shares = {name: None if math.isnan(row[name]) else float(row[name]) for name in _SHARES}
    return shares | {ours: int(row[theirs]) for theirs, ours in _COUNTS.items()}


def _best_overlap(frame: Seen, track_id: int) -> float:
    return float(frame.overlaps[_place(frame, track_id)].max(initial=0.0))


def _label_mask(frame: Seen, track_id: int) -> Rle:
    return frame.label_masks[_place(frame, track_id)]


def _place(frame: Seen, track_id: int) -> int:
    return next(place for place, each in enumerate(frame.labels) if each.track_id == track_id)


def _change(before: Rle, after: Rle) -> float:
    return 1.0 - float(mask_ious([before], [after])[0, 0])


def _mean_changes(changes: list[tuple[float, float]]) -> dict[str, float | int | None]:
    if not changes:
        return {"pairs": 0, "change": None, "true_change": None, "flicker": None}
    change, true_change = (float(value) for value in np.mean(changes, axis=0))
    return {"pairs": len(changes), "change": change, "true_change": true_change, "flicker": change - true_change}
