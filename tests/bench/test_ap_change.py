"""AP of pictures drawn anew: COCO's own on all of them, and intervals that hold what they should."""

import json

import numpy as np
import pytest

from bench.ap_change import KINDS, Matches, ap_change
from scene.classes import STREET_CLASSES, coco_categories
from training.data.coco import CocoDataset
from training.data.run_lengths import crop_rle
from training.evaluate import score_predictions
from training.predictions import Prediction

SIZE_HW = (48, 64)
PICTURES = 30


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> CocoDataset:
    """A car of 20 x 10 on each of 30 pictures."""
    path = tmp_path_factory.mktemp("cars") / "instances.json"
    height, width = SIZE_HW
    images = [{"id": n, "file_name": f"{n}.jpg", "height": height, "width": width} for n in range(1, PICTURES + 1)]
    square = {"counts": crop_rle(np.ones((10, 20), np.uint8), (5, 5), SIZE_HW)["counts"].decode(), "size": [*SIZE_HW]}
    rows = [
        {"id": n, "image_id": n, "category_id": 3, "iscrowd": 0, "bbox": [5, 5, 20, 10], "area": 200}
        | {"segmentation": square}
        for n in range(1, PICTURES + 1)
    ]
    path.write_text(json.dumps({"images": images, "annotations": rows, "categories": coco_categories(STREET_CLASSES)}))
    return CocoDataset(path)


def found(shift: int, pictures: range) -> list[Prediction]:
    """The car of each picture, so many pixels too far right."""
    rle = crop_rle(np.ones((10, 20), np.uint8), (5 + shift, 5), SIZE_HW)
    return [Prediction(n, 2, 0.9 - n / 100, 0.9 - n / 100, (5.0 + shift, 5.0, 20.0, 10.0), rle) for n in pictures]


def test_nothing_found_has_no_ap(dataset: CocoDataset) -> None:
    for kind in KINDS:
        nothing = Matches([], dataset, kind)
        assert nothing.ap() == 0
        assert ap_change(nothing, nothing, 50).points == 0


def test_ap_of_all_pictures_is_that_of_evaluation(dataset: CocoDataset) -> None:
    rows = found(0, range(1, 12)) + found(3, range(12, 20)) + found(15, range(20, 25))
    expected = score_predictions(rows, dataset)
    assert 0.1 < expected.box.ap < 0.9
    assert Matches(rows, dataset, "box").ap() == pytest.approx(expected.box.ap, abs=1e-9)
    assert Matches(rows, dataset, "mask").ap() == pytest.approx(expected.mask.ap, abs=1e-9)


def test_pictures_can_be_drawn_several_times(dataset: CocoDataset) -> None:
    matches = Matches(found(0, range(1, 11)), dataset, "box")
    assert matches.ap(np.arange(30) % 10) == pytest.approx(1)
    assert matches.ap(np.zeros(30, np.int64)) == pytest.approx(1)
    assert matches.ap(10 + np.arange(30) % 20) == 0
    assert matches.ap() == pytest.approx(0.337, abs=0.01), "a third of the recalls"


def test_the_interval_of_a_change_holds_it_and_tells_a_clear_one(dataset: CocoDataset) -> None:
    for kind in KINDS:
        whole, part = Matches(found(0, range(1, 31)), dataset, kind), Matches(found(0, range(1, 16)), dataset, kind)
        worse, same = ap_change(part, whole, 100), ap_change(whole, whole, 100)
        assert worse.low < worse.points < worse.high < 0
        assert same.low == same.points == same.high == 0


def test_the_draws_are_the_same_for_every_way(dataset: CocoDataset) -> None:
    first, other = (Matches(found(0, range(1, 11)), dataset, "box") for _ in range(2))
    np.testing.assert_array_equal(first.redrawn(20), other.redrawn(20))
    assert len(set(first.redrawn(20).tolist())) > 5
