import tracemalloc
from math import floor
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from scene.instances import (
    MASK_CUT,
    Detections,
    Instance,
    decode_rle,
    encode_rle,
    full_masks,
    instances_on_frame,
    paste_mask,
)

Region = tuple[int, int, int, int]
NO_MASKS = np.zeros((0, 8, 8), np.uint8)


def detections(boxes: list[list[float]], masks: NDArray[np.uint8], classes: list[int] | None = None) -> Detections:
    count = len(boxes)
    scores = np.linspace(0.9, 0.1, count, dtype=np.float32)
    kinds = np.array(classes if classes is not None else range(count), np.int32)
    squares = np.square(scores)
    return Detections(np.array(boxes, np.float32).reshape(-1, 4), scores, squares, kinds, masks)


def slow_value(mask: NDArray[np.uint8], x: int, y: int, size_hw: tuple[int, int]) -> float:
    """The bilinear value of a frame's pixel: half-pixel centres, the border repeated, one pixel at a time."""
    rows, columns = mask.shape
    v = (y + 0.5) * rows / size_hw[0] - 0.5
    u = (x + 0.5) * columns / size_hw[1] - 0.5
    value = 0.0
    for dv in (0, 1):
        for du in (0, 1):
            row, column = floor(v) + dv, floor(u) + du
            weight = (1 - abs(v - row)) * (1 - abs(u - column))
            value += weight * float(mask[min(max(row, 0), rows - 1), min(max(column, 0), columns - 1)])
    return value


@st.composite
def frames(draw: st.DrawFn) -> tuple[NDArray[np.uint8], tuple[int, int], Region]:
    """A soft mask, a frame's size and a region in it."""
    mask_hw = draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    size_hw = draw(st.tuples(st.integers(1, 40), st.integers(1, 40)))
    x1, y1 = draw(st.integers(0, size_hw[1] - 1)), draw(st.integers(0, size_hw[0] - 1))
    x2, y2 = draw(st.integers(x1 + 1, size_hw[1])), draw(st.integers(y1 + 1, size_hw[0]))
    mask = np.random.default_rng(draw(st.integers(0, 9999))).integers(0, 256, mask_hw, np.uint8)
    return mask, size_hw, (x1, y1, x2, y2)


def test_no_detections_are_no_instances() -> None:
    empty = detections([], NO_MASKS, [])
    assert len(empty) == 0
    assert list(instances_on_frame(empty, (20, 30))) == []
    assert full_masks(empty, (20, 30)).shape == (0, 20, 30)
    assert len(empty.above(np.zeros(8, np.float32))) == 0
    assert len(empty.first(5)) == 0


@given(frames())
def test_a_pasted_mask_is_that_of_the_slow_way(case: tuple[NDArray[np.uint8], tuple[int, int], Region]) -> None:
    mask, size_hw, region = case
    x1, y1, x2, y2 = region
    pasted = paste_mask(mask, region, size_hw)
    values = np.array([[slow_value(mask, x, y, size_hw) for x in range(x1, x2)] for y in range(y1, y2)])
    clear = np.abs(values - (MASK_CUT - 0.5)) > 1
    assert pasted.shape == (y2 - y1, x2 - x1)
    np.testing.assert_array_equal(pasted[clear], (values >= MASK_CUT)[clear])


@given(frames())
def test_a_region_is_cut_from_the_whole(case: tuple[NDArray[np.uint8], tuple[int, int], Region]) -> None:
    mask, size_hw, region = case
    x1, y1, x2, y2 = region
    whole = paste_mask(mask, (0, 0, size_hw[1], size_hw[0]), size_hw)
    clear = np.array(
        [[abs(slow_value(mask, x, y, size_hw) - (MASK_CUT - 0.5)) > 1 for x in range(x1, x2)] for y in range(y1, y2)]
    )
    np.testing.assert_array_equal(paste_mask(mask, region, size_hw)[clear], whole[y1:y2, x1:x2][clear])


def test_a_mask_of_the_frames_size_is_cut_at_128() -> None:
    mask = np.array([[0, 127, 128, 255]], np.uint8)
    assert paste_mask(mask, (0, 0, 4, 1), (1, 4)).tolist() == [[0, 0, 1, 1]]


def test_instances_come_best_first_in_pixels_of_the_frame() -> None:
    masks = np.full((2, 5, 10), 255, np.uint8)
    found = list(instances_on_frame(detections([[0.1, 0.2, 0.5, 0.6], [0, 0, 1, 1]], masks, [3, 7]), (50, 100)))
    first = found[0]
    assert first.box_xyxy == pytest.approx((10, 10, 50, 30), rel=1e-5)
    assert first.score == pytest.approx(0.9)
    assert first.mask_score == pytest.approx(0.81)
    assert [one.class_index for one in found] == [3, 7]
    assert found[1].mask_xy == (0, 0)
    assert found[1].area == 5000


@given(st.lists(st.floats(-0.5, 1.5), min_size=4, max_size=4), st.tuples(st.integers(1, 60), st.integers(1, 60)))
def test_a_mask_covers_its_box_and_never_leaves_the_frame(box: list[float], size_hw: tuple[int, int]) -> None:
    box = [*np.minimum(box[:2], box[2:]), *np.maximum(box[:2], box[2:])]
    one = next(instances_on_frame(detections([box], np.full((1, 4, 4), 255, np.uint8)), size_hw))
    (x, y), (h, w) = one.mask_xy, one.mask.shape
    assert 0 <= x < x + w <= size_hw[1]
    assert 0 <= y < y + h <= size_hw[0]
    assert one.full_mask(size_hw).sum() == one.area == h * w
    x1, y1, x2, y2 = one.box_xyxy
    assert x <= max(x1, 0) or w == 1
    assert y <= max(y1, 0) or h == 1
    assert x + w >= min(x2, size_hw[1])
    assert y + h >= min(y2, size_hw[0])


def test_masks_are_resized_within_their_boxes_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a 4K frame a hundred small objects cost the pixels of their boxes, never those of the frame."""
    size_hw, resized = (2160, 3840), list[int]()
    warp = cv2.warpAffine

    def counted(*arguments: Any, **options: Any) -> NDArray[np.uint8]:
        found: NDArray[np.uint8] = warp(*arguments, **options)
        resized.append(found.size)
        return found

    monkeypatch.setattr(cv2, "warpAffine", counted)
    corners = np.random.default_rng(3).uniform(0, 0.95, (100, 2))
    boxes = np.hstack([corners, corners + 0.05]).tolist()
    rows = detections(boxes, np.full((100, 96, 192), 255, np.uint8))
    tracemalloc.start()
    found = list(instances_on_frame(rows, size_hw))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    reached = [(0.05 * 2160 + 2 + 4 * 2160 / 96) * (0.05 * 3840 + 2 + 4 * 3840 / 192)] * 100
    assert len(found) == len(resized) == 100
    assert all(size <= most for size, most in zip(resized, reached, strict=True))
    assert sum(one.mask.size for one in found) == sum(resized)
    assert peak < 1.5 * sum(reached)
    assert sum(reached) < 2160 * 3840, "all of them together less than one mask of the frame's size"


def test_a_full_mask_lies_at_its_place() -> None:
    one = Instance(0, 0.5, 0.5, (2, 1, 4, 3), (2, 1), np.array([[1, 0], [1, 1]], np.uint8))
    assert one.full_mask((3, 5)).tolist() == [[0, 0, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 1, 1, 0]]


def test_all_full_masks_are_each_ones_full_mask() -> None:
    masks = np.random.default_rng(1).integers(0, 256, (3, 5, 10), np.uint8)
    found = detections([[0.1, 0.2, 0.5, 0.6], [0, 0, 1, 1], [0.5, 0.5, 0.5, 0.5]], masks)
    together = full_masks(found, (50, 100))
    assert together.dtype == np.uint8
    expected = [one.full_mask((50, 100)) for one in instances_on_frame(found, (50, 100))]
    np.testing.assert_array_equal(together, np.stack(expected))


def test_rows_above_each_classs_threshold_stay() -> None:
    three = detections([[0, 0, 1, 1]] * 3, np.zeros((3, 4, 4), np.uint8), [0, 1, 1])
    assert three.scores.tolist() == pytest.approx([0.9, 0.5, 0.1])
    assert three.above(np.array([0.95, 0.5], np.float32)).scores.tolist() == pytest.approx([0.5])
    assert three.first(2).scores.tolist() == pytest.approx([0.9, 0.5])
    assert three.first(2).masks.shape == (2, 4, 4)


@given(st.integers(1, 20), st.integers(1, 20), st.floats(0, 1), st.integers(0, 999))
def test_run_lengths_go_round(height: int, width: int, share: float, seed: int) -> None:
    mask = (np.random.default_rng(seed).random((height, width)) < share).astype(np.uint8)
    encoded = encode_rle(mask)
    assert encoded["size"] == [height, width]
    assert isinstance(encoded["counts"], str)
    np.testing.assert_array_equal(decode_rle(encoded), mask)
    assert coco_mask.area(encoded) == mask.sum()


def test_renumbered_rows_have_other_classes_or_are_left_out() -> None:
    rows = Detections(
        boxes_xyxy=np.zeros((3, 4), np.float32),
        scores=np.array([0.9, 0.8, 0.7], np.float32),
        mask_scores=np.array([0.5, 0.4, 0.3], np.float32),
        classes=np.array([2, 0, 1], np.int32),
        masks=np.zeros((3, 2, 2), np.uint8),
    )
    found = rows.renumbered(np.array([5, -1, 0], np.int32))
    assert found.classes.tolist() == [0, 5]
    assert found.scores.tolist() == rows.scores[:2].tolist()
    assert len(rows.renumbered(np.full(3, -1, np.int32))) == 0
