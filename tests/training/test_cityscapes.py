import copy
import json
import pickle
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from pycocotools.coco import COCO

from scene.classes import COCO_CLASSES
from scene.errors import DataError
from tests.training.cityscapes_on_disk import SIZE, block, frame_of, write_ids, write_picture, write_polygons
from tests.training.coco_on_disk import rectangle, rle
from training.data.cityscapes import CityscapesDataset
from training.data.sample import EVERY_CLASS, tight_boxes
from training.evaluate import score_predictions
from training.feed import to_targets
from training.matching import NEUTRAL, match
from training.predictions import Prediction

CAR, PERSON = 2, 0
PREDICTED_ON = (50, 10, 70, 30)


def dataset(root: Path, objects: list[dict[str, Any]], **more: Any) -> CityscapesDataset:
    write_polygons(frame_of(root), objects)
    return CityscapesDataset(root, "train", **more)


def test_a_split_without_pictures_is_refused(tmp_path: Path) -> None:
    write_polygons(frame_of(tmp_path), [])
    with pytest.raises(DataError, match=r"no pictures of the split 'val'.*the splits there are train"):
        CityscapesDataset(tmp_path, "val")


def test_a_picture_without_objects_is_an_empty_sample(tmp_path: Path) -> None:
    sample = dataset(tmp_path, [])[0].check()
    assert len(sample) == 0
    assert sample.masks.shape == (0, *SIZE)
    assert sample.image.shape == (*SIZE, 3)


def test_the_label_map(tmp_path: Path) -> None:
    """Sorted by id: the instances of eight labels are the eight classes in their order; the rest is not there."""
    labels = ["bicycle", "car", "person", "rider", "truck", "bus", "train", "motorcycle", "road", "sky", "pole"]
    sample = dataset(tmp_path, [block(label, (9 * n, 4, 9 * n + 8, 30)) for n, label in enumerate(labels)])[0]
    assert sample.check().classes.tolist() == list(range(8))
    assert sample.boxes_xyxy[:, 0].tolist() == [18, 27, 9, 36, 45, 54, 63, 0]
    assert not sample.crowds.any()


def test_boxes_are_tight_and_one_label_can_be_cut_out(tmp_path: Path) -> None:
    objects = [
        block("car", (2, 20, 60, 50)),
        block("pole", (30, 0, 33, 60)),
        block("persongroup", (70, 5, 90, 20)),
        block("caravan", (70, 30, 95, 58)),
    ]
    cars = dataset(tmp_path, objects)
    sample = cars[0].check()
    np.testing.assert_array_equal(sample.boxes_xyxy, tight_boxes(sample.masks))
    assert cars.classes_on(0) == [(label.class_index, label.ignored) for label in cars.labels(0)]
    assert sorted(cars.classes_on(0)) == [(EVERY_CLASS, True), (PERSON, True), (CAR, False)]
    for row, mask in enumerate(sample.masks):
        cut, (x1, y1, x2, y2) = cars.cut_mask(0, row)
        np.testing.assert_array_equal(cut, mask[y1:y2, x1:x2])
        assert cut.sum() == mask.sum()


def test_picked_pictures_come_in_the_order_asked_for(tmp_path: Path) -> None:
    for number in range(3):
        write_polygons(frame_of(tmp_path, number), [block("car", (5, 5, 20 + number, 30))])
    picked = CityscapesDataset(tmp_path, "train").pick([2, 0])
    assert [picked[index].boxes_xyxy[0, 2] for index in range(len(picked))] == [22, 20]


def test_both_forms_say_the_same(tmp_path: Path) -> None:
    """The second car covers the first, which is cut in two by a pole; the region of interest ends at the left."""
    objects = [
        block("road", (0, 0, 100, 60)),
        block("car", (2, 20, 60, 50)),
        block("pole", (30, 0, 33, 60)),
        block("car", (50, 25, 80, 45)),
        block("person", (5, 5, 15, 15), deleted=1),
        block("license plate", (60, 40, 66, 44)),
        block("out of roi", (0, 0, 5, 60)),
    ]
    ids = np.full(SIZE, 7, np.uint16)
    for value, (x1, y1, x2, y2) in (
        (26000, (2, 20, 60, 50)),
        (17, (30, 0, 33, 60)),
        (26001, (50, 25, 80, 45)),
        (3, (0, 0, 5, 60)),
    ):
        ids[y1:y2, x1:x2] = value
    drawn = dataset(tmp_path / "polygons", objects)[0].check()
    write_ids(frame_of(tmp_path / "ids"), ids)
    stored = CityscapesDataset(tmp_path / "ids", "train")[0].check()
    assert drawn.classes.tolist() == stored.classes.tolist() == [CAR, CAR]
    np.testing.assert_array_equal(drawn.masks, stored.masks)
    np.testing.assert_array_equal(drawn.masks, [ids == 26000, ids == 26001])
    assert drawn.boxes_xyxy.tolist() == [[5, 20, 60, 50], [50, 25, 80, 45]]


def test_instance_ids_are_taken_where_both_are_there(tmp_path: Path) -> None:
    frame = write_polygons(frame_of(tmp_path), [block("car", (0, 0, 10, 10))])
    write_ids(frame, np.full(SIZE, 24000, np.uint16))
    assert CityscapesDataset(tmp_path, "train")[0].classes.tolist() == [PERSON]


def test_what_others_hide_does_not_appear(tmp_path: Path) -> None:
    sample = dataset(tmp_path, [block("person", (10, 10, 20, 20)), block("building", (5, 5, 40, 40))])[0]
    assert len(sample.check()) == 0


def test_groups_are_regions_to_be_ignored_one_for_each_part(tmp_path: Path) -> None:
    """Two groups of cars far apart have one id: as one region, their box would be as wide as the street."""
    objects = [block("cargroup", (0, 10, 20, 30)), block("cargroup", (80, 10, 100, 30)), block("car", (40, 10, 50, 30))]
    sample = dataset(tmp_path, objects)[0].check()
    assert sample.crowds.tolist() == [True, True, False]
    assert sample.classes.tolist() == [CAR] * 3
    assert sample.boxes_xyxy.tolist() == [[0, 10, 20, 30], [80, 10, 100, 30], [40, 10, 50, 30]]


@pytest.mark.parametrize("label", ["caravan", "trailer", "caravangroup", "trailergroup"])
def test_caravans_and_trailers_are_ignored_for_every_class(tmp_path: Path, label: str) -> None:
    sample = dataset(tmp_path, [block(label, (10, 10, 40, 30)), block("person", (20, 15, 30, 25))])[0].check()
    rows = sorted(zip(sample.classes.tolist(), sample.crowds.tolist(), strict=True))
    assert rows == [(EVERY_CLASS, True), (PERSON, False)]


@pytest.mark.parametrize("label", ["caravan", "cargroup"])
def test_what_is_ignored_is_no_background_to_the_matching(tmp_path: Path, label: str) -> None:
    anchors = torch.tensor([[0.6, 20 / 60, 0.1, 0.1], [0.1, 0.8, 0.1, 0.1]])
    targets = to_targets(dataset(tmp_path, [block(label, PREDICTED_ON)])[0])
    assert match(anchors, targets).labels.tolist() == [NEUTRAL, 0]


@pytest.mark.parametrize(
    ("label", "class_index", "precision"),
    [
        ("caravan", CAR, 1.0),
        ("caravan", PERSON, 1.0),
        ("cargroup", CAR, 1.0),
        ("cargroup", PERSON, 0.5),
        ("pole", CAR, 0.5),
    ],
)
def test_what_is_found_there_is_no_mistake(tmp_path: Path, label: str, class_index: int, precision: float) -> None:
    """A better score on the ignored region than on the object: counted, it halves the precision at every recall."""
    name = "car" if class_index == CAR else "person"
    data = dataset(tmp_path, [block(name, (5, 5, 25, 45)), block(label, PREDICTED_ON)])
    found = [predicted((5, 5, 25, 45), class_index, 0.5), predicted(PREDICTED_ON, class_index, 0.9)]
    result = score_predictions(found, data)
    assert (result.box.ap, result.mask.ap) == pytest.approx((precision, precision))
    assert result.instances == 1


def predicted(box_xyxy: tuple[int, int, int, int], class_index: int, score: float) -> Prediction:
    x1, y1, x2, y2 = box_xyxy
    mask = rle(rectangle(SIZE, box_xyxy))
    return Prediction(1, class_index, score, score, (x1, y1, x2 - x1, y2 - y1), mask)


def test_the_ground_truth_is_a_coco_file(tmp_path: Path) -> None:
    objects = [block("car", (5, 5, 25, 45)), block("trailer", (50, 10, 70, 30)), block("persongroup", (80, 0, 99, 9))]
    data = dataset(tmp_path, objects)
    coco = COCO()
    coco.dataset = copy.deepcopy(data.ground_truth)
    coco.createIndex()
    (car,) = (row for row in coco.anns.values() if not row["iscrowd"])
    assert (car["category_id"], car["bbox"], car["area"]) == (3, [5, 5, 20, 40], 800)
    np.testing.assert_array_equal(coco.annToMask(car), rectangle(SIZE, (5, 5, 25, 45)))
    crowds = [row["category_id"] for row in coco.anns.values() if row["iscrowd"]]
    assert sorted(crowds) == [1, 1, 2, 3, 4, 5, 6, 7, 8]
    assert data.ground_truth["images"] == [{"id": 1, "height": 60, "width": 100}]


def test_masks_are_where_the_ids_stand(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    ids = np.full((72, 144), 7, np.uint16)
    for number in range(12):
        cv2.circle(ids, (int(rng.integers(144)), int(rng.integers(72))), int(rng.integers(4, 20)), 26000 + number, -1)
    write_ids(frame_of(tmp_path), ids)
    sample = CityscapesDataset(tmp_path, "train")[0].check()
    seen = [value for value in range(26000, 26012) if (ids == value).any()]
    np.testing.assert_array_equal(sample.masks, np.stack([ids == value for value in seen]))


def test_classes_are_numbered_as_asked(tmp_path: Path) -> None:
    """COCO's 80 have no rider, and the bicycle second."""
    objects = [block("rider", (0, 0, 9, 9)), block("bicycle", (20, 0, 29, 9)), block("trailer", (40, 0, 49, 9))]
    sample = dataset(tmp_path, objects, class_names=COCO_CLASSES)[0]
    assert sorted(sample.classes.tolist()) == [EVERY_CLASS, 1]
    with pytest.raises(DataError, match=r"labels none of \['zebra'\]"):
        CityscapesDataset(tmp_path, "train", class_names=("zebra",))


def test_pictures_are_sorted_by_city_and_first_keeps_some(tmp_path: Path) -> None:
    for city, number in (("ulm", 0), ("aachen", 1), ("aachen", 0)):
        write_polygons(frame_of(tmp_path, number, city=city), [block("car", (0, 0, 10 + number, 10))])
    data = CityscapesDataset(tmp_path, "train")
    assert [data.frame(index).name for index in range(3)] == [
        "aachen_000000_000019",
        "aachen_000001_000019",
        "ulm_000000_000019",
    ]
    part = data.first(2)
    assert [part.image_id(index) for index in range(len(part))] == [1, 2]
    assert part.size_hw(1) == SIZE
    assert len(part.ground_truth["annotations"]) == 2
    assert data.description == f"train of {tmp_path.name} (Cityscapes' layout)"


def test_a_worker_gets_the_samples_but_not_the_ground_truth(tmp_path: Path) -> None:
    data = dataset(tmp_path, [block("car", (0, 0, 10, 10))])
    before = len(pickle.dumps(data))
    assert data.ground_truth["annotations"]
    there = pickle.loads(pickle.dumps(data))
    assert len(pickle.dumps(data)) == before
    np.testing.assert_array_equal(there[0].masks, data[0].masks)


def test_ground_truth_without_its_picture_is_named(tmp_path: Path) -> None:
    frame = write_polygons(frame_of(tmp_path), [])
    frame.picture.unlink()
    with pytest.raises(
        DataError, match=r"aachen_000000_000019_gtFine_polygons\.json has no picture: expected .*8bit\.png"
    ):
        CityscapesDataset(tmp_path, "train")


def test_a_picture_without_ground_truth_is_named(tmp_path: Path) -> None:
    write_picture(frame_of(tmp_path))
    with pytest.raises(
        DataError, match=r"aachen_000000_000019_leftImg8bit\.png has no ground truth: expected .*Ids\.png"
    ):
        CityscapesDataset(tmp_path, "train")


@pytest.mark.parametrize("cut", [0, 20, -30])
def test_truncated_pictures_are_named(tmp_path: Path, cut: int) -> None:
    frame = write_polygons(frame_of(tmp_path), [])
    frame.picture.write_bytes(frame.picture.read_bytes()[:cut])
    with pytest.raises(DataError, match=r"leftImg8bit\.png is (truncated|no picture)"):
        _ = CityscapesDataset(tmp_path, "train")[0]


@pytest.mark.parametrize("cut", [0, 20, -30])
def test_truncated_instance_ids_are_named(tmp_path: Path, cut: int) -> None:
    frame = write_ids(frame_of(tmp_path), np.zeros(SIZE, np.uint16))
    frame.instance_ids.write_bytes(frame.instance_ids.read_bytes()[:cut])
    with pytest.raises(DataError, match=r"instanceIds\.png is (truncated|no picture)"):
        _ = CityscapesDataset(tmp_path, "train")[0]


@pytest.mark.parametrize("form", ["polygons", "instance_ids"])
def test_sizes_that_disagree_are_named(tmp_path: Path, form: str) -> None:
    frame = frame_of(tmp_path)
    if form == "polygons":
        write_polygons(frame, [])
    else:
        write_ids(frame, np.zeros(SIZE, np.uint16))
    write_picture(frame, (30, 50))
    data = CityscapesDataset(tmp_path, "train")
    for read in (lambda: data[0], lambda: data.picture(0)):
        with pytest.raises(DataError, match=r"leftImg8bit\.png is no picture of \(60, 100\).* but of \(30, 50\)"):
            read()


@pytest.mark.parametrize("value", [34, 255, 1000, 23005, 34000])
def test_unknown_instance_ids_are_named(tmp_path: Path, value: int) -> None:
    write_ids(frame_of(tmp_path), np.full(SIZE, value, np.uint16))
    with pytest.raises(DataError, match=rf"instanceIds\.png has the instance ids \[{value}\]"):
        _ = CityscapesDataset(tmp_path, "train")[0]


def test_instance_ids_in_colour_are_named(tmp_path: Path) -> None:
    frame = write_ids(frame_of(tmp_path), np.zeros(SIZE, np.uint16))
    cv2.imwrite(str(frame.instance_ids), np.zeros((*SIZE, 3), np.uint8))
    with pytest.raises(DataError, match=r"instanceIds\.png should hold 16-bit instance ids"):
        _ = CityscapesDataset(tmp_path, "train")[0]


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "no polygons of Cityscapes"),
        ("[]", "no polygons of Cityscapes"),
        (json.dumps({"imgHeight": 60, "imgWidth": 100}), "objects"),
        (json.dumps({"imgHeight": 60, "imgWidth": 100, "objects": [block("tank", (0, 0, 9, 9))]}), "no label 'tank'"),
        (json.dumps({"imgHeight": 60, "imgWidth": 100, "objects": [{"label": "car", "polygon": []}]}), "0 points"),
        (json.dumps({"imgHeight": 60, "imgWidth": 100, "objects": [{"label": "car", "polygon": [[1]]}]}), "polygon"),
    ],
)
def test_broken_polygons_are_named(tmp_path: Path, content: str, sentence: str) -> None:
    frame = write_polygons(frame_of(tmp_path), [])
    frame.polygons.write_text(content)
    with pytest.raises(DataError, match=rf"polygons\.json.*{sentence}"):
        _ = CityscapesDataset(tmp_path, "train")[0]
