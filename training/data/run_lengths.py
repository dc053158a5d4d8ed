"""COCO's masks: run lengths and polygons, decoded, and encoded from a crop."""

from typing import Any, cast

import msgspec
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from scene.errors import DataError
from training.data.sample import SizeHw

Rle = dict[str, Any]
"""COCO's compressed run lengths: ``{"size": [h, w], "counts": str or bytes}``."""

_FARTHEST_PX = 2**20
"""Of a polygon's points, which the library draws without looking: beyond some distance it writes where it must not."""

_LONGEST_COUNT = 7
"""Characters of a count, five bits each: enough for any picture."""


class RunLengths(msgspec.Struct, gc=False):
    """Run lengths as a JSON holds them: compressed text, or plain numbers."""

    size: SizeHw
    counts: str | list[int]


Segmentation = RunLengths | list[list[float]]
"""A mask as a COCO JSON holds it: run lengths, or polygons [x, y, x, y, ...]."""


def compressed(segmentation: Segmentation, size_hw: SizeHw) -> Rle:
    """Any of COCO's three mask forms as compressed run lengths; polygons of fewer than three points have no pixel."""
    if not isinstance(segmentation, RunLengths):
        polygons = [points for points in segmentation if len(points) >= 6]
        if not all(abs(value) <= _FARTHEST_PX for points in polygons for value in points):
            raise DataError(f"a polygon has a point more than {_FARTHEST_PX} pixels away; write the data set again")
        if not polygons:
            return compressed(RunLengths(size_hw, [size_hw[0] * size_hw[1]]), size_hw)
        return cast(Rle, coco_mask.merge(coco_mask.frPyObjects(polygons, *size_hw)))
    if isinstance(segmentation.counts, str):
        return {"size": list(size_hw), "counts": segmentation.counts}
    pixels = size_hw[0] * size_hw[1]
    if not all(0 <= count <= pixels for count in segmentation.counts):
        raise _unfilled(size_hw)
    return cast(Rle, coco_mask.frPyObjects({"size": list(size_hw), "counts": segmentation.counts}, *size_hw))


def decode_onto(target: NDArray[np.uint8], rle: Rle) -> tuple[int, int, int, int]:
    """Write a mask into ``target``, uint8 zeros [h, w] of its size; its tight box xyxy, zeros where it is empty.

    Only the columns that hold the instance are decoded: whole frames, as pycocotools decodes them, would take most of
    the time of reading a scene of small instances.
    """
    height, runs = rle["size"][0], mask_runs(rle)
    if not len(runs):
        return 0, 0, 0, 0
    (left, right), (top, bottom) = _extent(runs, height)
    target[top:bottom, left:right] = _fill_columns(runs, (left, right), height)[:, top:bottom].T
    return left, top, right, bottom


def crop_rle(mask: NDArray[np.uint8], mask_xy: tuple[int, int], size_hw: SizeHw) -> Rle:
    """COCO's compressed run lengths of a mask [h, w] of 0 and 1 whose left upper corner lies at (x, y) on a frame of
    (height, width), equal to encoding the full mask.

    Only the crop is looked at, with a row of zeros below it that keeps its columns apart, unless it is as high as the
    frame, where a run goes on in the next column; then its borders are moved to their places on the frame.
    """
    height, width = size_hw
    (x, y), (h, w) = mask_xy, mask.shape
    stride = min(h + 1, height)
    flat = np.zeros(w * stride + 2, np.bool_)
    flat[1:-1].reshape(w, stride)[:, :h] = mask.T
    column, row = np.divmod(np.flatnonzero(flat[1:] != flat[:-1]), stride)
    counts = np.diff((x + column) * height + y + row, prepend=0, append=height * width)
    runs = counts[:-1] if counts[-1] == 0 else counts
    return cast(Rle, coco_mask.frPyObjects({"size": [height, width], "counts": runs.tolist()}, height, width))


def mask_area(rle: Rle) -> int:
    """Pixels of the mask; ``DataError`` where the run lengths are broken."""
    return int(np.diff(mask_runs(rle)).sum())


def mask_runs(rle: Rle) -> NDArray[np.int64]:
    """Where the mask's runs of ones start and stop, counted down the columns: int64 [R, 2]."""
    height, width = rle["size"]
    counts = _run_lengths(rle["counts"])
    if counts.sum() != height * width or counts.min() < 0:
        raise _unfilled((height, width))
    borders = np.cumsum(counts)
    ones = borders[: len(borders) // 2 * 2].reshape(-1, 2)
    return ones[ones[:, 1] > ones[:, 0]]


def _unfilled(size_hw: SizeHw) -> DataError:
    height, width = size_hw
    return DataError(f"a mask's run lengths do not fill its {width}x{height} pixels; write the data set again")


def _extent(runs: NDArray[np.int64], height: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """The columns and the rows that hold all ones, end-exclusive; a run over a column's foot takes all rows."""
    starts, lasts = runs[:, 0], runs[:, 1] - 1
    columns = int(starts[0] // height), int(lasts[-1] // height) + 1
    if (starts // height != lasts // height).any():
        return columns, (0, height)
    return columns, (int((starts % height).min()), int((lasts % height).max()) + 1)


def _fill_columns(runs: NDArray[np.int64], span: tuple[int, int], height: int) -> NDArray[np.uint8]:
    """The columns from ``span[0]`` up to ``span[1]``, which hold all runs, as uint8 [columns, height] of 0 and 1."""
    columns = np.zeros((span[1] - span[0]) * height, np.uint8)
    for start, stop in (runs - span[0] * height).tolist():
        columns[start:stop] = 1
    return columns.reshape(-1, height)


def _run_lengths(counts: str | bytes) -> NDArray[np.int64]:
    """COCO's compressed counts as numbers.

    Five bits a character, low bits first; the fourth count and all after it as the difference to the count before the
    last (``rleFrString`` of the COCO API, which trusts its input; a file may be broken, so this does not).
    """
    text = counts.encode("ascii", "replace") if isinstance(counts, str) else counts
    codes = np.frombuffer(text, np.uint8).astype(np.int64) - 48
    ends = np.flatnonzero((codes & 32) == 0)
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = np.diff(ends, prepend=-1)
    if not len(ends) or ends[-1] != len(codes) - 1 or lengths.max() > _LONGEST_COUNT:
        raise DataError("a mask's run lengths are no compressed counts of COCO's; write the data set again")
    places = np.arange(len(codes)) - np.repeat(starts, lengths)
    values = np.add.reduceat((codes & 31) << (5 * places), starts)
    values -= np.where(codes[ends] & 16, np.int64(1) << (5 * lengths), 0)
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    return values
