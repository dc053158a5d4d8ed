import copy
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from scene.errors import DataError
from scene.image import RgbImage
from scene.instances import Detections, Instance, instances_on_frame
from tests.training.coco_on_disk import annotation, disc, rectangle, rle, write_coco
from training.data.coco import CocoDataset
from training.evaluate import (
    DEFAULT_THRESHOLD,
    Predict,
    Prediction,
    best_thresholds,
    collect_predictions,
    evaluate,
    frame_rle,
    score_predictions,
)

SIZE = (48, 64)
NOTHING = Detections(
    np.zeros((0, 4), np.float32),
    np.zeros(0, np.float32),
    np.zeros(0, np.float32),
    np.zeros(0, np.int32),
    np.zeros((0, 12, 16), np.uint8),
)


def silent(frames: list[RgbImage]) -> list[Detections]:
    return [NOTHING for _ in frames]


def truth_teller(dataset: CocoDataset) -> Predict:
    """Answers the data set's own instances, as soft masks at full resolution."""
    indices = iter(range(len(dataset)))

    def predict(frames: list[RgbImage]) -> list[Detections]:
        return [answer(dataset, next(indices)) for _ in frames]

    return predict


def answer(dataset: CocoDataset, index: int) -> Detections:
    sample = dataset[index]
    objects = sample.rows(~sample.crowds)
    scores = np.linspace(0.9, 0.5, len(objects), dtype=np.float32)
    scale = np.array([*sample.size_hw[::-1]] * 2, np.float32)
    return Detections(
        objects.boxes_xyxy / scale, scores, scores, objects.classes.astype(np.int32), objects.masks * np.uint8(255)
    )


def prediction(mask: NDArray[np.uint8], score: float, mask_score: float, class_index: int = 2) -> Prediction:
    encoded = coco_mask.encode(np.asfortranarray(mask))
    x, y, w, h = (float(side) for side in coco_mask.toBbox(encoded))
    return Prediction(1, class_index, score, mask_score, (x, y, w, h), encoded)


def random_scene(folder: Path, seed: int) -> tuple[CocoDataset, list[Prediction]]:
    """Five pictures with crowds, and predictions that are shifted truths and inventions."""
    rng = np.random.default_rng(seed)
    size_hw = (150, 200)
    rows, predictions = [], []
    for image_id in range(1, 6):
        for _ in range(12):
            centre = int(rng.integers(200)), int(rng.integers(150))
            mask = disc(size_hw, centre, int(rng.integers(2, 60)))
            category = int(rng.integers(1, 5))
            rows.append(annotation(image_id, rle(mask), category, int(rng.random() < 0.15)))
            moved = np.roll(mask, rng.integers(-3, 4, 2), (0, 1))
            encoded = coco_mask.encode(np.asfortranarray(moved))
            box = coco_mask.toBbox(encoded) + rng.normal(0, 1, 4)
            score, mask_score = (float(score) for score in rng.random(2))
            guess = category if rng.random() < 0.8 else int(rng.integers(1, 9))
            xywh = (float(box[0]), float(box[1]), max(float(box[2]), 1.0), max(float(box[3]), 1.0))
            predictions.append(Prediction(image_id, guess - 1, score, mask_score, xywh, encoded))
    return CocoDataset(write_coco(folder, size_hw, 5, rows)), predictions


def test_no_predictions_score_nothing(tmp_path: Path) -> None:
    dataset = CocoDataset(write_coco(tmp_path, SIZE, 2, [annotation(1, rle(disc(SIZE, (20, 20), 8)))]))
    result = evaluate(silent, dataset)
    assert (result.box.ap, result.mask.ap, result.mask.ap50) == (0, 0, 0)
    assert result.mask.by_class == {"car": 0}
    assert (result.images, result.instances) == (2, 1)
    assert best_thresholds([], dataset).tolist() == pytest.approx([DEFAULT_THRESHOLD] * 8)


def test_nothing_to_find_is_nan_and_none_in_json(tmp_path: Path) -> None:
    dataset = CocoDataset(write_coco(tmp_path, SIZE, 1, []))
    result = score_predictions([prediction(disc(SIZE, (20, 20), 8), 0.9, 0.9)], dataset)
    assert math.isnan(result.mask.ap)
    assert result.mask.by_class == {}
    assert len(result.absent_classes) == 8
    assert json.loads(json.dumps(result.as_dict(), allow_nan=False))["mask"]["ap"] is None


def test_the_truth_itself_scores_one(tmp_path: Path) -> None:
    rows = [
        annotation(1, rle(disc(SIZE, (20, 20), 9)), 1),
        annotation(1, rle(rectangle(SIZE, (30, 5, 60, 40))), 3),
        annotation(2, rle(disc(SIZE, (40, 30), 14)), 8),
        annotation(3, rle(disc(SIZE, (40, 30), 20)), 3, iscrowd=1),
    ]
    dataset = CocoDataset(write_coco(tmp_path, SIZE, 3, rows))
    result = evaluate(truth_teller(dataset), dataset, batch_size=2)
    assert result.box.ap == pytest.approx(1)
    assert result.mask.ap == pytest.approx(1)
    assert result.mask.by_class == pytest.approx({"person": 1, "car": 1, "bicycle": 1})
    assert result.absent_classes == ("rider", "truck", "bus", "train", "motorcycle")
    assert (result.images, result.instances) == (3, 3)
    assert math.isnan(result.mask.large)
    assert result.as_dict()["box"]["ap50"] == pytest.approx(1)


def test_boxes_rank_by_scores_and_masks_by_mask_scores(tmp_path: Path) -> None:
    """One of two cars found and one invented: 51 of 101 recall points, at precision 1 or, ranked second, 1/2."""
    cars = [rectangle(SIZE, (2, 2, 20, 20)), rectangle(SIZE, (30, 30, 60, 44))]
    dataset = CocoDataset(write_coco(tmp_path, SIZE, 1, [annotation(1, rle(mask)) for mask in cars]))
    invented = rectangle(SIZE, (40, 2, 60, 20))
    result = score_predictions([prediction(cars[0], 0.9, 0.5), prediction(invented, 0.8, 0.95)], dataset)
    assert result.box.ap == pytest.approx(51 / 101)
    assert result.box.ap50 == pytest.approx(51 / 101)
    assert result.mask.ap == pytest.approx(51 / 101 / 2)
    assert result.mask.small == pytest.approx(51 / 101 / 2)


@pytest.mark.parametrize("seed", range(3))
def test_the_figures_are_those_of_pycocotools(tmp_path: Path, seed: int) -> None:
    dataset, predictions = random_scene(tmp_path, seed)
    result = score_predictions(predictions, dataset)
    for kind, ours in (("bbox", result.box), ("segm", result.mask)):
        stats = reference(dataset, predictions, kind)
        figures = [ours.ap, ours.ap50, ours.ap75, ours.small, ours.medium, ours.large]
        assert 0.05 < ours.ap < 0.95
        assert figures == pytest.approx(stats, abs=1e-6, nan_ok=True)


def reference(dataset: CocoDataset, predictions: list[Prediction], kind: str) -> list[float]:
    """pycocotools' first six figures."""
    truth = COCO()
    truth.dataset = copy.deepcopy(dataset.ground_truth)
    truth.createIndex()
    rows = []
    for row in predictions:
        shape = {"bbox": list(row.box_xywh)} if kind == "bbox" else {"segmentation": row.rle}
        score = row.score if kind == "bbox" else row.mask_score
        rows.append({"image_id": row.image_id, "category_id": row.class_index + 1, "score": score, **shape})
    scorer = COCOeval(truth, truth.loadRes(rows), kind)
    scorer.evaluate()
    scorer.accumulate()
    scorer.summarize()
    return [float(figure) if figure > -1 else math.nan for figure in scorer.stats[:6]]


@given(st.data())
def test_run_lengths_from_the_crop_are_those_of_the_frame(data: st.DataObject) -> None:
    height, width = data.draw(st.integers(1, 20)), data.draw(st.integers(1, 20))
    y, x = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    h, w = data.draw(st.integers(1, height - y)), data.draw(st.integers(1, width - x))
    share = data.draw(st.sampled_from([0.0, 0.3, 0.9, 1.0]))
    mask = (np.random.default_rng(data.draw(st.integers(0, 999))).random((h, w)) < share).astype(np.uint8)
    instance = Instance(0, 0.5, 0.5, (0.0, 0.0, 1.0, 1.0), (x, y), mask)
    plain = coco_mask.encode(np.asfortranarray(instance.full_mask((height, width))))
    assert frame_rle(instance, (height, width)) == plain


def test_predictions_lie_where_serving_lays_them(tmp_path: Path) -> None:
    dataset = CocoDataset(write_coco(tmp_path, SIZE, 1, [annotation(1, rle(disc(SIZE, (20, 20), 8)))]))
    soft = np.random.default_rng(0).integers(0, 256, (2, 12, 16), np.uint8)
    boxes = np.array([[0.1, 0.2, 0.7, 0.9], [0, 0, 1, 1]], np.float32)
    scores = np.array([0.8, 0.3], np.float32)
    detections = Detections(boxes, scores, np.array([0.4, 0.15], np.float32), np.array([4, 1], np.int32), soft)
    found = collect_predictions(lambda frames: [detections], dataset)
    for ours, served in zip(found, instances_on_frame(detections, SIZE), strict=True):
        np.testing.assert_array_equal(coco_mask.decode(ours.rle), served.full_mask(SIZE))
        assert (ours.class_index, ours.score, ours.mask_score) == (served.class_index, served.score, served.mask_score)
    assert found[0].box_xywh == pytest.approx((6.4, 9.6, 38.4, 33.6), rel=1e-5)


def test_the_floor_and_the_limit_keep_the_best(tmp_path: Path) -> None:
    rows = [annotation(1, rle(disc(SIZE, (10 + 5 * number, 20), 4))) for number in range(5)]
    dataset = CocoDataset(write_coco(tmp_path, SIZE, 1, rows))
    assert [row.score for row in collect_predictions(truth_teller(dataset), dataset, max_instances=2)] == pytest.approx(
        [0.9, 0.8]
    )
    assert len(collect_predictions(truth_teller(dataset), dataset, score_floor=0.75)) == 2
    assert len(collect_predictions(truth_teller(dataset), dataset)) == 5


def test_whole_pictures_come_in_order_and_in_batches(tmp_path: Path) -> None:
    dataset = CocoDataset(write_coco(tmp_path, SIZE, 5, []), scale_to_hw=(16, 16))
    seen: list[list[RgbImage]] = []

    def predict(frames: list[RgbImage]) -> list[Detections]:
        seen.append(frames)
        return silent(frames)

    collect_predictions(predict, dataset, batch_size=2)
    assert [len(frames) for frames in seen] == [2, 2, 1]
    np.testing.assert_array_equal(
        np.stack([frame for frames in seen for frame in frames]),
        np.stack([dataset.picture(index) for index in range(5)]),
    )


def test_a_model_of_more_classes_is_refused(tmp_path: Path) -> None:
    dataset = CocoDataset(write_coco(tmp_path, SIZE, 1, []))
    one = np.ones(1, np.float32)
    detections = Detections(
        np.ones((1, 4), np.float32), one, one, np.array([8], np.int32), np.zeros((1, 4, 4), np.uint8)
    )
    with pytest.raises(DataError, match=r"class 8.*8 classes"):
        collect_predictions(lambda frames: [detections], dataset)


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
