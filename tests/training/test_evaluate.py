import copy
import json
import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from scene.classes import STREET_CLASSES
from tests.training.answers import prediction, silent, truth_teller
from tests.training.coco_on_disk import annotation, disc, rectangle, rle, write_coco
from training.data.coco import CocoDataset
from training.evaluate import Figures, evaluate, score_predictions
from training.predictions import Prediction

SIZE = (48, 64)
FOUND = ("person", "car", "bicycle")


def random_scene(folder: Path, seed: int) -> tuple[CocoDataset, list[Prediction]]:
    """180 truths of four classes, some of them crowds, on 15 pictures; as many predictions, shifted or invented, of all
    eight. Sizes are on both sides of COCO's borders; scores have ties."""
    rng = np.random.default_rng(seed)
    size_hw = (150, 200)
    rows, predictions = [], []
    for image_id in range(1, 16):
        for _ in range(12):
            centre = int(rng.integers(200)), int(rng.integers(150))
            mask = disc(size_hw, centre, int(rng.integers(2, 70)))
            category = int(rng.integers(1, 5))
            rows.append(annotation(image_id, rle(mask), category, int(rng.random() < 0.15)))
            moved = np.roll(mask, rng.integers(-3, 4, 2), (0, 1))
            encoded = coco_mask.encode(np.asfortranarray(moved))
            box = coco_mask.toBbox(encoded) + rng.normal(0, 1, 4)
            score, mask_score = (round(float(score), 2) for score in rng.random(2))
            guess = category if rng.random() < 0.8 else int(rng.integers(1, 9))
            xywh = (float(box[0]), float(box[1]), max(float(box[2]), 1.0), max(float(box[3]), 1.0))
            predictions.append(Prediction(image_id, guess - 1, score, mask_score, xywh, encoded))
    return CocoDataset(write_coco(folder, size_hw, 15, rows)), predictions


def test_no_predictions_score_nothing(tmp_path: Path) -> None:
    dataset = CocoDataset(write_coco(tmp_path, SIZE, 2, [annotation(1, rle(disc(SIZE, (20, 20), 8)))]))
    result = evaluate(silent, dataset)
    assert (result.box.ap, result.mask.ap, result.mask.ap50) == (0, 0, 0)
    assert result.cityscapes.ap == result.cityscapes.ap50 == 0
    assert {name: figures.ap for name, figures in result.mask.by_class.items()} == {"car": 0}
    assert (result.images, result.instances) == (2, 1)


def test_nothing_to_find_is_nan_and_none_in_json(tmp_path: Path) -> None:
    dataset = CocoDataset(write_coco(tmp_path, SIZE, 1, []))
    result = score_predictions([prediction(disc(SIZE, (20, 20), 8), 0.9, 0.9)], dataset)
    assert math.isnan(result.mask.ap)
    assert math.isnan(result.cityscapes.ap)
    assert result.mask.by_class == {}
    assert result.cityscapes.by_class == {}
    assert len(result.absent_classes) == 8
    plain = json.loads(json.dumps(result.as_dict(), allow_nan=False))
    assert plain["mask"]["ap"] is plain["cityscapes"]["ap50"] is None


def test_the_truth_itself_scores_one(tmp_path: Path) -> None:
    rows = [
        annotation(1, rle(disc(SIZE, (20, 20), 9)), 1),
        annotation(1, rle(rectangle(SIZE, (30, 5, 60, 40))), 3),
        annotation(2, rle(disc(SIZE, (40, 30), 14)), 8),
        annotation(3, rle(disc(SIZE, (40, 30), 20)), 3, iscrowd=1),
    ]
    dataset = CocoDataset(write_coco(tmp_path, SIZE, 3, rows))
    result = evaluate(truth_teller(dataset), dataset)
    assert result.box.ap == pytest.approx(1)
    assert result.mask.ap == pytest.approx(1)
    assert result.cityscapes.ap == pytest.approx(1)
    for precision in (result.box, result.mask, result.cityscapes):
        assert {name: round(figures.ap, 9) for name, figures in precision.by_class.items()} == dict.fromkeys(FOUND, 1)
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


@pytest.mark.parametrize("seed", range(2))
def test_all_figures_are_those_of_pycocotools(tmp_path: Path, seed: int) -> None:
    dataset, predictions = random_scene(tmp_path, seed)
    result = score_predictions(predictions, dataset)
    assert result.absent_classes == STREET_CLASSES[4:]
    for kind, ours in (("bbox", result.box), ("segm", result.mask)):
        scorer = reference(dataset, predictions, kind)
        assert 0.05 < ours.ap < 0.95
        assert six(ours) == pytest.approx(summary(scorer, range(1, 9)), rel=0, abs=1e-9)
        assert list(ours.by_class) == list(STREET_CLASSES[:4])
        for number, figures in enumerate(ours.by_class.values(), start=1):
            assert six(figures) == pytest.approx(summary(scorer, [number]), rel=0, abs=1e-9, nan_ok=True)


def six(figures: Figures) -> list[float]:
    return [figures.ap, figures.ap50, figures.ap75, figures.small, figures.medium, figures.large]


def reference(dataset: CocoDataset, predictions: list[Prediction], kind: str) -> COCOeval:
    truth = COCO()
    truth.dataset = copy.deepcopy(dataset.ground_truth)
    truth.createIndex()
    rows = []
    for row in predictions:
        shape = {"bbox": list(row.box_xywh)} if kind == "bbox" else {"segmentation": row.rle}
        score = row.score if kind == "bbox" else row.mask_score
        rows.append({"image_id": row.image_id, "category_id": row.class_index + 1, "score": score, **shape})
    return COCOeval(truth, truth.loadRes(rows), kind)


def summary(scorer: COCOeval, category_ids: Iterable[int]) -> list[float]:
    """pycocotools' first six figures, of these categories alone."""
    scorer.params.catIds = list(category_ids)
    scorer.evaluate()
    scorer.accumulate()
    scorer.summarize()
    return [float(figure) if figure > -1 else math.nan for figure in scorer.stats[:6]]


def test_a_crowd_excuses_its_own_class_alone(tmp_path: Path) -> None:
    """A false positive before the hit halves the precision, on a crowd of another class too."""
    crowd, car = rectangle(SIZE, (0, 0, 30, 40)), rectangle(SIZE, (40, 0, 60, 20))
    rows = [annotation(1, rle(car)), annotation(1, rle(crowd), iscrowd=1), annotation(1, rle(car), category_id=4)]
    dataset = CocoDataset(write_coco(tmp_path, SIZE, 1, rows))
    on_crowd = rectangle(SIZE, (5, 5, 25, 25))
    found = [prediction(mask, score, score, kind) for kind in (2, 3) for mask, score in ((on_crowd, 0.9), (car, 0.5))]
    result = score_predictions(found, dataset)
    for precision in (result.box, result.mask, result.cityscapes):
        assert precision.by_class["car"].ap == pytest.approx(1)
    assert result.box.by_class["truck"].ap == result.mask.by_class["truck"].ap == pytest.approx(0.5)
    assert result.cityscapes.by_class["truck"].ap == pytest.approx(0.25)
