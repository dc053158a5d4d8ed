from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from scene.errors import DataError
from scene.image import RgbImage
from scene.instances import Detections, Instance, instances_on_frame
from tests.training.answers import silent
from tests.training.coco_on_disk import annotation, disc, rle, write_coco
from training.data.coco import CocoDataset
from training.predictions import MAX_DETECTIONS, frame_rle, predictions_by_picture, together

SIZE = (48, 64)


def test_nothing_is_nothing(tmp_path: Path) -> None:
    dataset = CocoDataset(write_coco(tmp_path, SIZE, 2, []))
    assert list(predictions_by_picture(silent, dataset)) == [[], []]
    assert together([[], []]) == []


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
    found = together(predictions_by_picture(lambda frames: [detections], dataset))
    for ours, served in zip(found, instances_on_frame(detections, SIZE), strict=True):
        np.testing.assert_array_equal(coco_mask.decode(ours.rle), served.full_mask(SIZE))
        assert (ours.class_index, ours.score, ours.mask_score) == (served.class_index, served.score, served.mask_score)
    assert found[0].box_xywh == pytest.approx((6.4, 9.6, 38.4, 33.6), rel=1e-5)


def test_only_the_best_count(tmp_path: Path) -> None:
    dataset = CocoDataset(write_coco(tmp_path, SIZE, 1, []))
    count = MAX_DETECTIONS + 5
    scores = np.linspace(0.9, 0.1, count, dtype=np.float32)
    boxes = np.tile(np.array([0, 0, 0.5, 0.5], np.float32), (count, 1))
    many = Detections(boxes, scores, scores, np.zeros(count, np.int32), np.zeros((count, 4, 4), np.uint8))
    (found,) = predictions_by_picture(lambda frames: [many], dataset)
    assert [row.score for row in found] == scores[:MAX_DETECTIONS].tolist()


def test_whole_pictures_come_in_order_and_in_batches(tmp_path: Path) -> None:
    dataset = CocoDataset(write_coco(tmp_path, SIZE, 5, []))
    seen: list[list[RgbImage]] = []

    def predict(frames: list[RgbImage]) -> list[Detections]:
        seen.append(frames)
        return silent(frames)

    assert list(predictions_by_picture(predict, dataset, batch_size=2)) == [[]] * 5
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
        list(predictions_by_picture(lambda frames: [detections], dataset))
