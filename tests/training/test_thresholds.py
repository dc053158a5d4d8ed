from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.training.answers import prediction
from tests.training.coco_on_disk import annotation, rectangle, rle, write_coco
from training.data.coco import CocoDataset
from training.thresholds import DEFAULT_THRESHOLD, best_thresholds


def test_no_predictions_leave_the_default(tmp_path: Path) -> None:
    assert thresholds_of(tmp_path, [], []).tolist() == pytest.approx([DEFAULT_THRESHOLD] * 8)
    dataset = CocoDataset(write_coco(tmp_path, (20, 20), 1, []))
    assert best_thresholds([], dataset).tolist() == pytest.approx([DEFAULT_THRESHOLD] * 8)


def thresholds_of(tmp_path: Path, hits: list[float], misses: list[float], objects: int = 12) -> NDArray[np.float32]:
    """Thresholds on one picture of a row of cars, of which the first are found at these scores."""
    size_hw = (20, 400)
    cars = [rectangle(size_hw, (20 * number, 2, 20 * number + 15, 18)) for number in range(objects)]
    crowd = rectangle(size_hw, (350, 0, 400, 20))
    rows = [annotation(1, rle(mask)) for mask in cars] + [annotation(1, rle(crowd), iscrowd=1)]
    dataset = CocoDataset(write_coco(tmp_path, size_hw, 1, rows))
    predictions = [prediction(mask, score, 0.5) for mask, score in zip(cars, hits, strict=False)]
    predictions += [prediction(cars[0], score, 0.5) for score in misses]
    on_crowd = [prediction(rectangle(size_hw, (360, 5, 380, 15)), 0.99, 0.5)] * 50
    return best_thresholds(predictions + on_crowd, dataset)


def test_the_threshold_is_the_score_of_the_best_f1(tmp_path: Path) -> None:
    """Kept down to 0.5: 10 hits of 12, F1 20/22; the six doubles below it and two more hits give 24/30."""
    hits = [0.9] * 9 + [0.5] + [0.2] * 2
    thresholds = thresholds_of(tmp_path, hits, [0.3] * 6)
    assert thresholds.dtype == np.float32
    assert thresholds[2] == pytest.approx(0.5)
    assert np.delete(thresholds, 2).tolist() == pytest.approx([DEFAULT_THRESHOLD] * 7)


@pytest.mark.parametrize(("score", "threshold"), [(0.95, 0.7), (0.01, 0.3)])
def test_thresholds_stay_in_their_range(tmp_path: Path, score: float, threshold: float) -> None:
    assert thresholds_of(tmp_path, [score] * 12, [])[2] == pytest.approx(threshold)


def test_too_few_objects_or_no_hit_leave_the_default(tmp_path: Path) -> None:
    assert thresholds_of(tmp_path, [0.6] * 9, [], objects=9)[2] == pytest.approx(DEFAULT_THRESHOLD)
    assert thresholds_of(tmp_path, [], [])[2] == pytest.approx(DEFAULT_THRESHOLD)
