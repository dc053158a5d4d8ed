"""What is drawn on both sides, by cases small enough to be counted by hand."""

from dataclasses import replace

import numpy as np
import pytest

from export.parity import COMPARED, Error, Parity, box_ious, compare_drawn, error_of, mask_ious, pair_up, total
from scene.instances import Detections

THRESHOLDS = np.array([0.3, 0.5], np.float32)


def rows(*scored: tuple[int, float], left: float = 0.1) -> Detections:
    """A row for each class and score, one below the other; masks of 4 x 5 of which one column is the object's."""
    count = len(scored)
    boxes = np.array([[left, 0.1 * row, left + 0.2, 0.1 * row + 0.1] for row in range(count)], np.float32)
    masks = np.zeros((count, 4, 5), np.uint8)
    masks[:, :, 1] = 200
    scores = np.array([score for _, score in scored], np.float32)
    classes = np.array([index for index, _ in scored], np.int32)
    return Detections(boxes.reshape(-1, 4), scores, scores * np.float32(0.5), classes, masks)


def test_nothing_matches_nothing_and_says_so() -> None:
    found = compare_drawn(rows(), rows(), THRESHOLDS, 0.0)
    assert found == Parity(pictures=1)
    assert (found.matched, found.mask_iou) == (None, None)


def test_what_is_below_its_class_threshold_is_not_drawn() -> None:
    found = compare_drawn(rows((0, 0.29), (1, 0.49)), rows(), THRESHOLDS, 0.0)
    assert (found.instances, found.alone, found.matched, found.num) == (0, 0, None, 2)


def test_the_same_matches_itself_without_an_error() -> None:
    ours = rows((0, 0.9), (1, 0.6))
    found = compare_drawn(ours, ours, THRESHOLDS, 0.0)
    assert (found.instances, found.pairs, found.alone, found.matched, found.mask_iou) == (2, 2, 0, 1.0, 1.0)
    assert all(found.errors[name].largest == 0 for name in COMPARED)
    assert [found.errors[name].count for name in COMPARED] == [8, 2, 2, 40]


@pytest.mark.parametrize("swap", [False, True])
def test_one_that_the_other_lacks_counts_in_both_directions(swap: bool) -> None:
    pair = [rows((0, 0.9), (0, 0.8)), rows((0, 0.9))]
    ours, theirs = pair[::-1] if swap else pair
    found = compare_drawn(ours, theirs, THRESHOLDS, 0.0)
    assert (found.pairs, found.alone) == (1, 1)
    assert found.matched == pytest.approx(2 / 3)


def test_another_class_is_no_partner() -> None:
    found = compare_drawn(rows((0, 0.9)), rows((1, 0.9)), THRESHOLDS, 0.0)
    assert (found.pairs, found.alone, found.matched, found.mask_iou) == (0, 2, 0.0, None)


@pytest.mark.parametrize(("shift", "pairs"), [(0.01, 1), (0.012, 0)])
def test_boxes_of_one_object_overlap_by_nine_tenths(shift: float, pairs: int) -> None:
    """0.2 wide and moved by 0.01: 0.19 / 0.21 is 0.905; by 0.012: 0.188 / 0.212 is 0.887."""
    found = compare_drawn(rows((0, 0.9)), rows((0, 0.9), left=0.1 + shift), THRESHOLDS, 0.0)
    assert (found.pairs, found.alone) == (pairs, 2 - 2 * pairs)


@pytest.mark.parametrize("swap", [False, True])
@pytest.mark.parametrize(("score", "excused"), [(0.52, 1), (0.54, 0)])
def test_one_at_its_threshold_is_excused_on_the_side_that_lacks_it(score: float, excused: int, swap: bool) -> None:
    pair = [rows((0, 0.9), (1, score)), rows((0, 0.9), (1, 0.49))]
    ours, theirs = pair[::-1] if swap else pair
    found = compare_drawn(ours, theirs, THRESHOLDS, 0.03)
    assert (found.pairs, found.excused, found.alone) == (1, excused, 1 - excused)
    assert (found.matched == 1.0) is bool(excused)


def test_two_rows_cannot_share_a_partner_and_the_nearer_has_it() -> None:
    ours = rows((0, 0.9), (0, 0.8))
    ours.boxes_xyxy[1] = ours.boxes_xyxy[0] + np.array([0.005, 0, 0.005, 0], np.float32)
    assert pair_up(ours, rows((0, 0.7))) == [(0, 0)]
    theirs = rows((0, 0.7), left=0.105)
    assert pair_up(ours, theirs) == [(1, 0)]


def test_errors_are_those_of_the_pairs_alone() -> None:
    ours, theirs = rows((0, 0.9), (1, 0.9)), rows((0, 0.8), (0, 0.9))
    masks = theirs.masks.copy()
    masks[0, 0, 0] = 10
    found = compare_drawn(ours, replace(theirs, masks=masks), THRESHOLDS, 0.0)
    assert found.pairs == 1
    assert found.errors["scores"].largest == pytest.approx(0.1)
    assert found.errors["mask_scores"].mean == pytest.approx(0.05)
    assert (found.errors["masks"].largest, found.errors["masks"].mean) == (10, 0.5)


def test_masks_overlap_where_both_reach_the_cut() -> None:
    ours, theirs = np.zeros((3, 2, 2), np.uint8), np.zeros((3, 2, 2), np.uint8)
    ours[0], theirs[0, 0] = 128, 255  # four pixels and two
    ours[1], theirs[1] = 128, 127
    assert mask_ious(ours, theirs).tolist() == [0.5, 0.0, 1.0]


def test_boxes_without_an_area_overlap_nothing() -> None:
    flat = np.array([[0.1, 0.1, 0.1, 0.5]], np.float32)
    assert box_ious(flat, flat).tolist() == [[0.0]]
    assert box_ious(flat[:0], flat).shape == (0, 1)


def test_an_error_of_nothing_is_nothing() -> None:
    nothing = np.zeros((0, 4), np.float32)
    assert error_of(nothing, nothing) == Error()
    assert Error().mean == 0


def test_pictures_add_up_and_the_worst_of_them_counts() -> None:
    ours = rows((0, 0.9), (0, 0.8))
    parts = [compare_drawn(ours, rows((0, 0.9)), THRESHOLDS, 0.0), compare_drawn(ours, rows((0, 0.4)), THRESHOLDS, 0.0)]
    found = total(parts)
    assert (found.pictures, found.instances, found.pairs, found.alone, found.num) == (2, 4, 2, 2, 1)
    assert found.errors["scores"].largest == pytest.approx(0.5)
    assert found.errors["scores"].mean == pytest.approx(0.25)
    assert total([]) == Parity()
