from dataclasses import replace

import numpy as np
import pytest

from export.agreement import Agreement, compare_detections, summarise
from model.detect import DetectSettings
from scene.errors import ArtifactError
from scene.instances import Detections

FULL = DetectSettings(max_detections=5)
ROOMY = DetectSettings(max_detections=100)


def rows(scores: list[float], seed: int = 0) -> Detections:
    """One detection a score, in places far from each other."""
    rng = np.random.default_rng(seed)
    count = len(scores)
    corners = np.array([[0.1 * row, 0.05 * row] for row in range(count)], np.float32).reshape(-1, 2)
    return Detections(
        boxes_xyxy=np.concatenate([corners, corners + np.float32(0.2)], axis=1),
        scores=np.array(scores, np.float32),
        mask_scores=np.array(scores, np.float32) * np.float32(0.9),
        classes=np.arange(count, dtype=np.int32) % 3,
        masks=rng.integers(2, 253, (count, 6, 8)).astype(np.uint8),
    )


def taken(detections: Detections, order: list[int]) -> Detections:
    return Detections(*(field[order] for field in detections.__dict__.values()))


FIVE = rows([0.9, 0.7, 0.6, 0.4, 0.3])


def assert_refused(agreement: Agreement, match: str) -> None:
    with pytest.raises(ArtifactError, match=match):
        agreement.require()


def test_nothing_agrees_with_nothing() -> None:
    found = compare_detections(rows([]), rows([]), ROOMY)
    assert found == Agreement(1, 0, 0, 0.0, 0.0, 0.0, 0)
    found.require()


@pytest.mark.parametrize(("ours", "theirs"), [(FIVE, rows([])), (rows([]), FIVE)])
def test_something_does_not_agree_with_nothing(ours: Detections, theirs: Detections) -> None:
    found = compare_detections(ours, theirs, ROOMY)
    assert found.unmatched == 5
    assert_refused(found, "have no partner")


@pytest.mark.parametrize("settings", [FULL, ROOMY])
def test_the_same_agrees_with_itself(settings: DetectSettings) -> None:
    found = compare_detections(FIVE, FIVE, settings)
    assert found == Agreement(1, 5, 0, 0.0, 0.0, 0.0, 0)
    found.require()


def test_ties_may_stand_in_any_order() -> None:
    tied = rows([0.9, 0.5, 0.5, 0.5, 0.3])
    found = compare_detections(tied, taken(tied, [0, 3, 1, 2, 4]), ROOMY)
    assert found == Agreement(1, 5, 0, 0.0, 0.0, 0.0, 0)


@pytest.mark.parametrize("missing", range(5))
@pytest.mark.parametrize("swap", [False, True])
def test_one_missing_is_told_wherever_it_stood(missing: int, swap: bool) -> None:
    fewer = taken(FIVE, [row for row in range(5) if row != missing])
    pair = (fewer, FIVE) if swap else (FIVE, fewer)
    found = compare_detections(*pair, settings=ROOMY)
    assert found.unmatched == 1
    assert_refused(found, "1 of [45] detections have no partner")


def test_all_but_the_first_missing_is_told() -> None:
    assert compare_detections(FIVE, taken(FIVE, [0]), ROOMY).unmatched == 4


@pytest.mark.parametrize("row", range(5))
def test_another_class_is_another_detection(row: int) -> None:
    classes = FIVE.classes.copy()
    classes[row] += 1
    found = compare_detections(FIVE, replace(FIVE, classes=classes), ROOMY)
    assert found.unmatched == 1
    assert_refused(found, "have no partner")


@pytest.mark.parametrize("swap", [False, True])
def test_a_row_at_the_threshold_may_be_missing(swap: bool) -> None:
    ours, theirs = rows([0.9, 0.5, 0.05005]), rows([0.9, 0.5])
    theirs = replace(theirs, masks=ours.masks[:2])
    pair = (theirs, ours) if swap else (ours, theirs)
    found = compare_detections(*pair, settings=ROOMY)
    assert found.unmatched == 0
    found.require()


def test_a_row_may_lose_a_tie_for_the_last_place_only_where_places_are_full() -> None:
    six = rows([0.9, 0.8, 0.7, 0.6, 0.5, 0.5])
    ours, theirs = taken(six, [0, 1, 2, 3, 4]), taken(six, [0, 1, 2, 3, 5])
    assert compare_detections(ours, theirs, FULL).unmatched == 0
    assert compare_detections(ours, theirs, ROOMY).unmatched == 1


def test_two_rows_cannot_share_one_partner() -> None:
    twice = taken(FIVE, [0, 0, 1, 2, 3])
    assert compare_detections(twice, FIVE, ROOMY).unmatched == 1
    assert compare_detections(FIVE, twice, ROOMY).unmatched == 1


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"masks": FIVE.masks + np.uint8(2)}, "masks by 2 levels"),
        ({"scores": FIVE.scores - np.float32(1e-3)}, "scores differ by 1.0e-03"),
        ({"mask_scores": FIVE.mask_scores + np.float32(1e-3)}, "scores differ by 1.0e-03"),
        ({"boxes_xyxy": FIVE.boxes_xyxy + np.float32(1e-3)}, "boxes by 1.0e-03"),
        ({"scores": FIVE.scores - np.float32(0.02)}, "5 of 5 detections have no partner"),
        ({"boxes_xyxy": FIVE.boxes_xyxy + np.float32(0.02)}, "5 of 5 detections have no partner"),
    ],
)
def test_what_is_too_far_off_is_refused(change: dict[str, np.ndarray], match: str) -> None:
    assert_refused(compare_detections(FIVE, replace(FIVE, **change), ROOMY), match)


def test_a_level_and_a_rounding_are_allowed() -> None:
    near = replace(FIVE, masks=FIVE.masks - np.uint8(1), scores=FIVE.scores + np.float32(5e-5))
    found = compare_detections(FIVE, near, ROOMY)
    assert found.masks == 1
    assert found.scores == pytest.approx(5e-5, rel=0.01)
    found.require()


def test_pictures_add_up_and_the_worst_counts() -> None:
    parts = [Agreement(1, 3, 1, 0.1, 0.0, 0.3, 4), Agreement(1, 5, 2, 0.0, 0.2, 0.1, 7)]
    assert summarise(parts) == Agreement(2, 8, 3, 0.1, 0.2, 0.3, 7)


def test_a_mask_that_rounding_cropped_otherwise_is_not_compared() -> None:
    """A box's edge of 3.0000002 rows and one of 3: the mask has a row more."""
    boxes = FIVE.boxes_xyxy.copy()
    boxes[0] = (0.1, 0.5, 0.3, 0.7)
    ours, theirs = (replace(FIVE, boxes_xyxy=boxes.copy()) for _ in range(2))
    ours.boxes_xyxy[0, 1] = np.nextafter(np.float32(0.5), np.float32(1))
    masks, mask_scores = theirs.masks.copy(), theirs.mask_scores.copy()
    masks[0, 2], mask_scores[0] = 0, 0.1
    theirs = replace(theirs, masks=masks, mask_scores=mask_scores)
    found = compare_detections(ours, theirs, ROOMY)
    assert (found.cropped_otherwise, found.masks, found.mask_scores) == (1, 0, 0.0)
    found.require()
    inside = replace(ours, boxes_xyxy=theirs.boxes_xyxy)
    assert_refused(compare_detections(inside, theirs, ROOMY), "masks by")
