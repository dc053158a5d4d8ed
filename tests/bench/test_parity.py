"""How nearly two sides answer alike, every row counted."""

from dataclasses import replace

import numpy as np

from bench.parity import parity_report
from scene.instances import Detections

BOXES = np.array([[0, 0, 0.5, 0.5], [0.5, 0.5, 1, 1], [0, 0.5, 0.5, 1]], np.float32)
SCORES = np.array([0.3, 0.2, 0.1], np.float32)
MASKS = np.full((3, 4, 4), 255, np.uint8)
THREE = Detections(BOXES, SCORES, SCORES, np.zeros(3, np.int32), MASKS)
NONE = THREE.first(0)


def test_nothing_on_both_sides_is_no_share() -> None:
    report = parity_report([NONE], [NONE], 2)
    assert report == {"instances": 0, "matched": None, "mask_iou": None, "score_error": 0.0}


def test_the_same_answer_matches_wholly() -> None:
    report = parity_report([THREE, THREE], [THREE, THREE], 2)
    assert (report["matched"], report["mask_iou"], report["score_error"]) == (1, 1, 0)


def test_a_row_of_another_class_has_no_partner_and_the_last_row_may_be_another() -> None:
    other = replace(THREE, classes=np.array([0, 1, 0], np.int32))
    assert parity_report([THREE], [other], 2)["matched"] == round(2 * 1 / (2 * 1 + 1), 5)
    tied = replace(THREE, classes=np.array([0, 0, 1], np.int32))
    assert parity_report([THREE], [tied], 2)["matched"] == 1


def test_errors_are_those_of_rows_that_match() -> None:
    half = MASKS.copy()
    half[0, :2] = 0
    moved = replace(THREE, scores=SCORES + np.float32(0.01), masks=half)
    report = parity_report([THREE], [moved], 2)
    assert abs(report["score_error"] - 0.01) < 1e-6
    assert report["mask_iou"] < 1
