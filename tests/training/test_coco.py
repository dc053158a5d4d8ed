import copy
import json
import pickle
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from pycocotools.coco import COCO

from scene.errors import DataError
from tests.training.coco_on_disk import annotation, counted, disc, rectangle, rle, write_coco
from training.data.coco import CocoDataset
from training.data.sample import tight_boxes

SIZE = (40, 60)


def random_masks(size_hw: tuple[int, int], seed: int) -> list[NDArray[np.uint8]]:
    """Noise, blobs, the whole frame, single corner pixels, and shapes that touch two borders."""
    rng = np.random.default_rng(seed)
    height, width = size_hw
    masks = [(rng.random(size_hw) < share).astype(np.uint8) for share in (0.01, 0.5, 0.99)]
    for _ in range(10):
        masks.append(disc(size_hw, (int(rng.integers(width)), int(rng.integers(height))), int(rng.integers(1, 25))))
    masks += [
        rectangle(size_hw, box) for box in ((0, 0, width, height), (0, 0, 1, 1), (width - 1, height - 1, width, height))
    ]
    masks += [rectangle(size_hw, (10, 0, 30, height)), rectangle(size_hw, (0, 5, width, 9))]
    return masks


def edited(path: Path, **changes: Any) -> Path:
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, **changes}))
    return path


def test_a_picture_without_annotations_is_an_empty_sample(tmp_path: Path) -> None:
    dataset = CocoDataset(write_coco(tmp_path, SIZE, 1, []))
    sample = dataset[0].check()
    assert len(dataset) == 1
    assert len(sample) == 0
    assert sample.masks.shape == (0, *SIZE)


@pytest.mark.parametrize("form", [rle, counted])
def test_masks_are_those_of_pycocotools(tmp_path: Path, form: Any) -> None:
    masks = random_masks(SIZE, seed=1)
    path = write_coco(tmp_path, SIZE, 1, [annotation(1, form(mask)) for mask in masks])
    coco = COCO(str(path))
    sample = CocoDataset(path)[0].check()
    np.testing.assert_array_equal(sample.masks, np.stack([coco.annToMask(row) for row in coco.imgToAnns[1]]))
    np.testing.assert_array_equal(sample.masks, np.stack(masks))


def test_boxes_are_the_tight_boxes_of_the_masks(tmp_path: Path) -> None:
    rows = [annotation(1, rle(mask)) for mask in random_masks(SIZE, seed=5)]
    sample = CocoDataset(write_coco(tmp_path, SIZE, 1, rows))[0].check()
    assert len(sample) > 10
    np.testing.assert_array_equal(sample.boxes_xyxy, tight_boxes(sample.masks))


def test_one_instance_can_be_cut_out_and_the_classes_told_without_masks(tmp_path: Path) -> None:
    masks = random_masks(SIZE, seed=6)
    rows = [annotation(2, rle(mask), category_id=1 + n % 8, iscrowd=n % 2) for n, mask in enumerate(masks)]
    rows.append(annotation(2, rle(np.zeros(SIZE, np.uint8))))
    dataset = CocoDataset(write_coco(tmp_path, SIZE, 2, rows))
    assert dataset.size_hw(1) == SIZE
    assert dataset.classes_on(0) == []
    assert dataset.classes_on(1) == [(n % 8, n % 2 == 1) for n in range(len(masks))] + [(2, False)]
    for number, mask in enumerate(masks):
        cut, (x1, y1, x2, y2) = dataset.cut_mask(1, number)
        np.testing.assert_array_equal(cut, mask[y1:y2, x1:x2])
        assert cut.sum() == mask.sum()
    assert dataset.cut_mask(1, len(masks))[0].shape == (0, 0)


def test_picked_pictures_come_in_the_order_asked_for_and_alone(tmp_path: Path) -> None:
    rows = [annotation(number, rle(disc(SIZE, (20, 20), number + 3))) for number in (1, 2, 3, 4)]
    dataset = CocoDataset(write_coco(tmp_path, SIZE, 4, rows))
    part = dataset.pick([3, 1])
    assert [part.image_id(index) for index in range(len(part))] == [4, 2]
    np.testing.assert_array_equal(part[0].masks, dataset[3].masks)
    assert len(part.ground_truth["annotations"]) == 2
    assert len(pickle.dumps(part)) < len(pickle.dumps(dataset))
    assert len(dataset.pick([])) == 0


def test_polygons_and_crowds_are_those_of_pycocotools(tmp_path: Path) -> None:
    polygons = [
        [[5.0, 5.0, 30.5, 8.0, 20.0, 30.0]],
        [[1.0, 1.0, 10.0, 1.0, 10.0, 12.0], [40.0, 20.0, 55.0, 20.0, 50.0, 38.0]],
    ]
    rows = [annotation(1, shape) for shape in polygons] + [
        annotation(1, counted(disc(SIZE, (30, 20), 9)), 1, iscrowd=1)
    ]
    path = write_coco(tmp_path, SIZE, 1, rows)
    coco = COCO(str(path))
    sample = CocoDataset(path)[0].check()
    np.testing.assert_array_equal(sample.masks, np.stack([coco.annToMask(row) for row in coco.imgToAnns[1]]))
    assert sample.crowds.tolist() == [False, False, True]
    assert sample.classes.tolist() == [2, 2, 0]


def test_instances_without_a_pixel_do_not_appear(tmp_path: Path) -> None:
    rows = [annotation(1, rle(np.zeros(SIZE, np.uint8))), annotation(1, [[1.0, 1.0, 2.0, 2.0]]), annotation(1, [])]
    sample = CocoDataset(write_coco(tmp_path, SIZE, 1, [*rows, annotation(1, rle(disc(SIZE, (9, 9), 3)))]))[0]
    assert len(sample.check()) == 1


def test_classes_are_found_by_name_and_other_names_left_out(tmp_path: Path) -> None:
    mask = rle(disc(SIZE, (20, 20), 5))
    path = write_coco(tmp_path, SIZE, 1, [annotation(1, mask, 17), annotation(1, mask, 90), annotation(1, mask, 90)])
    edited(path, categories=[{"id": 17, "name": "bicycle"}, {"id": 90, "name": "toothbrush"}])
    dataset = CocoDataset(path)
    assert dataset[0].classes.tolist() == [7]
    assert [label.class_index for label in dataset.labels(0)] == [7]


def test_the_ground_truth_is_a_coco_file(tmp_path: Path) -> None:
    masks = random_masks(SIZE, seed=3)
    rows = [annotation(1 + number % 2, rle(mask)) for number, mask in enumerate(masks)]
    dataset = CocoDataset(write_coco(tmp_path, SIZE, 2, rows))
    coco = COCO()
    coco.dataset = copy.deepcopy(dataset.ground_truth)
    coco.createIndex()
    assert min(coco.anns) == 1
    assert [row["area"] for row in coco.imgToAnns[1]] == [int(mask.sum()) for mask in masks[::2]]
    np.testing.assert_array_equal(coco.annToMask(coco.imgToAnns[2][0]), masks[1])
    assert coco.imgToAnns[1][0]["bbox"][2] > 0
    assert {row["category_id"] for row in coco.anns.values()} == {3}


def test_a_worker_gets_the_samples_but_not_the_ground_truth(tmp_path: Path) -> None:
    dataset = CocoDataset(write_coco(tmp_path, SIZE, 2, [annotation(2, rle(disc(SIZE, (9, 9), 5)))]))
    before = len(pickle.dumps(dataset))
    assert dataset.ground_truth["annotations"]
    data = pickle.dumps(dataset)
    there = pickle.loads(data)
    assert len(data) == before
    np.testing.assert_array_equal(there[1].masks, dataset[1].masks)


def test_first_keeps_whole_pictures(tmp_path: Path) -> None:
    dataset = CocoDataset(write_coco(tmp_path, SIZE, 3, [annotation(3, rle(disc(SIZE, (9, 9), 5)))]))
    part = dataset.first(2)
    assert [part.image_id(index) for index in range(len(part))] == [1, 2]
    assert part.ground_truth["annotations"] == []
    assert len(dataset.ground_truth["annotations"]) == 1


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.json, found none; .*streetmask data synth"):
        CocoDataset(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("", "no COCO instance file"),
        ("{", "no COCO instance file"),
        ("[]", "no COCO instance file"),
        ('{"images": [], "annotations": []}', "categories"),
        ('{"images": [], "annotations": [], "categories": []}', "no pictures"),
        ('{"images": [{"id": "x"}], "annotations": [], "categories": []}', r"images\[0\]\.id"),
    ],
)
def test_a_malformed_file_says_where(tmp_path: Path, content: str, sentence: str) -> None:
    path = tmp_path / "instances.json"
    path.write_text(content)
    with pytest.raises(DataError, match=sentence):
        CocoDataset(path)


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        (annotation(5, [[1.0, 1.0, 5.0, 5.0, 1.0, 5.0]]), "picture 5, which it does not list"),
        (annotation(1, [[1.0, 1.0, 5.0, 5.0, 1.0, 5.0]], category_id=99), "category 99"),
        (annotation(1, rle(np.ones((4, 4), np.uint8))), r"mask of \(4, 4\)"),
    ],
)
def test_an_annotation_that_fits_nothing_is_named(tmp_path: Path, row: dict[str, Any], sentence: str) -> None:
    path = write_coco(tmp_path, SIZE, 1, [row])
    with pytest.raises(DataError, match=sentence):
        CocoDataset(path)


def test_a_file_of_other_classes_only_is_refused(tmp_path: Path) -> None:
    path = edited(write_coco(tmp_path, SIZE, 1, []), categories=[{"id": 1, "name": "zebra"}])
    with pytest.raises(DataError, match=r"zebra.*none of which"):
        CocoDataset(path)


@pytest.mark.parametrize("counts", ["", "o", "04", "zz", [3], [2400, 7], "T"])
def test_broken_run_lengths_are_named(tmp_path: Path, counts: Any) -> None:
    path = write_coco(tmp_path, SIZE, 1, [annotation(1, {"size": list(SIZE), "counts": counts})])
    with pytest.raises(DataError, match="run lengths"):
        _ = CocoDataset(path)[0]


def test_pictures_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    dataset = CocoDataset(write_coco(tmp_path, SIZE, 1, []))
    picture = tmp_path / "images/1.png"
    for content in (b"", b"no picture"):
        picture.write_bytes(content)
        with pytest.raises(DataError, match=r"1\.png"):
            _ = dataset[0]
    cv2.imwrite(str(picture), np.zeros((30, 60, 3), np.uint8))
    with pytest.raises(DataError, match=r"1\.png is no picture of \(40, 60\)"):
        _ = dataset[0]
    picture.unlink()
    with pytest.raises(DataError, match=r"expected a picture at .*1\.png"):
        _ = dataset[0]


@pytest.mark.parametrize("counts", [[-1, 2401], [2**40], [0, 2**40]])
def test_counts_beyond_the_picture_are_a_sentence(tmp_path: Path, counts: list[int]) -> None:
    shape = {"size": list(SIZE), "counts": counts}
    dataset = CocoDataset(write_coco(tmp_path, SIZE, 1, [annotation(1, shape)]))
    for read in (lambda: dataset[0], lambda: dataset.ground_truth):
        with pytest.raises(
            DataError, match=r"picture images/1\.png: a mask's run lengths do not fill its \d+x\d+ pixels"
        ):
            read()


def test_a_polygon_from_afar_is_a_sentence(tmp_path: Path) -> None:
    dataset = CocoDataset(write_coco(tmp_path, SIZE, 1, [annotation(1, [[0.0, 0.0, 1e9, 5.0, 10.0, 9.0]])]))
    with pytest.raises(DataError, match=r"a polygon has a point more than 1048576 pixels away"):
        _ = dataset[0]
