"""What is written in Cityscapes' layout is read again: from instance ids exactly, from polygons nearly."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from scene.errors import DataError
from tests.training.cityscapes_on_disk import SIZE, block, frame_of, write_polygons
from tests.training.coco_on_disk import annotation, disc, rectangle, rle, write_coco
from training.data.cityscapes import CityscapesDataset
from training.data.cityscapes_truth import read_truth
from training.data.cityscapes_writer import write_cityscapes
from training.data.coco import CocoDataset
from training.data.sample import EVERY_CLASS, Sample
from training.data.synthetic import SceneSettings, write_dataset

CAR = 3


def written(tmp_path: Path, rows: list[dict[str, object]]) -> tuple[CityscapesDataset, int]:
    source = CocoDataset(write_coco(tmp_path / "coco", SIZE, 1, rows))
    lost = write_cityscapes(source, tmp_path / "city", "val")
    return CityscapesDataset(tmp_path / "city", "val"), lost


def keys(sample: Sample) -> set[tuple[int, bool, bytes]]:
    return {
        (int(number), bool(crowd), mask.tobytes())
        for number, crowd, mask in zip(sample.classes, sample.crowds, sample.masks, strict=True)
    }


def iou(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    return float((a & b).sum() / (a | b).sum())


def test_a_picture_without_instances(tmp_path: Path) -> None:
    data, lost = written(tmp_path, [])
    assert (len(data), len(data[0]), lost) == (1, 0, 0)
    frame = data.frame(0)
    assert set(read_truth(frame.polygons).ravel().tolist()) == {7}, "void would hide what is found wrongly"


def test_smaller_masks_lie_on_larger_ones_and_hidden_ones_are_counted(tmp_path: Path) -> None:
    small, large = disc(SIZE, (40, 30), 8), rectangle(SIZE, (10, 5, 80, 55))
    rows = [annotation(1, rle(small), 1), annotation(1, rle(large)), annotation(1, rle(small), 8)]
    data, lost = written(tmp_path, rows)
    assert lost == 1
    sample = data[0].check()
    assert sample.classes.tolist() == [2, 7]
    np.testing.assert_array_equal(sample.masks, [large - small, small])


@pytest.mark.parametrize("form", ["instance_ids", "polygons"])
def test_groups_and_what_every_class_ignores_stay_so(tmp_path: Path, form: str) -> None:
    objects = [
        block("cargroup", (0, 0, 20, 20)),
        block("cargroup", (70, 0, 90, 20)),
        block("caravan", (0, 30, 40, 50)),
        block("person", (10, 25, 20, 55)),
    ]
    write_polygons(frame_of(tmp_path / "first"), objects)
    first = CityscapesDataset(tmp_path / "first", "train")
    assert write_cityscapes(first, tmp_path / "second", "train") == 0
    second = CityscapesDataset(tmp_path / "second", "train")
    assert second.frame(0).name == first.frame(0).name
    if form == "polygons":
        second.frame(0).instance_ids.unlink()
        second = CityscapesDataset(tmp_path / "second", "train")
    classes = sorted(second[0].classes.tolist())
    assert classes == [EVERY_CLASS, EVERY_CLASS, 0, 2, 2]
    assert sum(second[0].crowds.tolist()) == 4
    np.testing.assert_array_equal(second[0].masks.max(axis=0), first[0].masks.max(axis=0))


def test_parts_and_holes_survive_in_polygons(tmp_path: Path) -> None:
    """A person in two parts before a car, and a ring of a bicycle before it, through which the background is seen."""
    disk = disc(SIZE, (25, 30), 15)
    ring = disk - disc(SIZE, (25, 30), 10)
    person = rectangle(SIZE, (45, 5, 50, 55)) - rectangle(SIZE, (45, 20, 50, 30))
    car = rectangle(SIZE, (20, 10, 90, 50)) * (1 - disk) * (1 - person)
    rows = [annotation(1, rle(mask), number) for mask, number in ((car, CAR), (ring, 8), (person, 1))]
    data, lost = written(tmp_path, rows)
    assert lost == 0
    np.testing.assert_array_equal(read_truth(data.frame(0).polygons), read_truth(data.frame(0).instance_ids))
    assert sorted(data[0].classes.tolist()) == [0, 2, 7]


def test_what_is_seen_through_each_other_survives_in_polygons(tmp_path: Path) -> None:
    """A part of the car lies within the bicycle's ring: covering that hole would lose it."""
    ring = disc(SIZE, (25, 30), 15) - disc(SIZE, (25, 30), 10)
    car = rectangle(SIZE, (20, 10, 90, 50)) * (1 - ring)
    data, _ = written(tmp_path, [annotation(1, rle(car)), annotation(1, rle(ring), 8)])
    np.testing.assert_array_equal(read_truth(data.frame(0).polygons), read_truth(data.frame(0).instance_ids))


def test_png_pictures_are_copied_and_ids_name_the_frames(tmp_path: Path) -> None:
    data, _ = written(tmp_path, [annotation(1, rle(disc(SIZE, (40, 30), 8)))])
    assert data.frame(0).name == "streets_000000_000001"
    assert data.picture_path(0).read_bytes() == (tmp_path / "coco/images/1.png").read_bytes()


def test_nothing_is_written_over(tmp_path: Path) -> None:
    written(tmp_path, [])
    with pytest.raises(DataError, match=r"leftImg8bit\.png is there already"):
        written(tmp_path, [])


def test_classes_that_cityscapes_does_not_know_are_refused(tmp_path: Path) -> None:
    path = write_coco(tmp_path, SIZE, 1, [])
    source = CocoDataset(path, class_names=("car", "zebra"))
    with pytest.raises(DataError, match="no labels for zebra"):
        write_cityscapes(source, tmp_path / "city", "val")


def test_more_instances_than_ids_are_refused(tmp_path: Path) -> None:
    size_hw = (40, 60)
    rows = [annotation(1, rle(rectangle(size_hw, (n % 60, n // 60, n % 60 + 1, n // 60 + 1)))) for n in range(1001)]
    source = CocoDataset(write_coco(tmp_path / "coco", size_hw, 1, rows))
    with pytest.raises(DataError, match="more than 1000 instances"):
        write_cityscapes(source, tmp_path / "city", "val")


def round_trip(tmp_path: Path, scenes: int, settings: SceneSettings) -> tuple[int, NDArray[np.float64], float]:
    """Instances, their IoU from polygons, and the share of pixels on which the two forms agree."""
    source = CocoDataset(write_dataset(tmp_path / "coco", scenes, seed=3, settings=settings))
    assert write_cityscapes(source, tmp_path / "city", "train") == 0
    exact = CityscapesDataset(tmp_path / "city", "train")
    ids = [read_truth(exact.frame(index).instance_ids) for index in range(scenes)]
    for index in range(scenes):
        assert keys(exact[index].check()) == keys(source[index])
        np.testing.assert_array_equal(exact.picture(index), source.picture(index))
        exact.frame(index).instance_ids.unlink()
    drawn = CityscapesDataset(tmp_path / "city", "train")
    overlaps, agree = list[float](), 0
    for index in range(scenes):
        nearly = read_truth(drawn.frame(index).polygons)
        values = np.unique(ids[index][ids[index] >= 1000]).tolist()
        overlaps += [
            iou((nearly == value).astype(np.uint8), (ids[index] == value).astype(np.uint8)) for value in values
        ]
        agree += int((nearly == ids[index]).sum())
    return (
        sum(len(source[index]) for index in range(scenes)),
        np.array(overlaps),
        agree / sum(each.size for each in ids),
    )


def test_generated_scenes_come_back(tmp_path: Path) -> None:
    count, overlaps, agreement = round_trip(tmp_path, 2, SceneSettings(height=128, width=256))
    assert count == len(overlaps) > 10
    assert overlaps.min() > 0.6
    assert agreement > 0.999


@pytest.mark.slow
def test_thousands_of_instances_come_back(tmp_path: Path) -> None:
    """From instance ids exactly; from polygons with an IoU of 0.95 and more but for one in fifty."""
    count, overlaps, agreement = round_trip(tmp_path, 150, SceneSettings())
    assert count == len(overlaps) > 2000
    assert overlaps.min() > 0.5
    assert (overlaps > 0.95).mean() > 0.98
    assert agreement > 0.9999


def test_a_broken_picture_is_named(tmp_path: Path) -> None:
    source = CocoDataset(write_coco(tmp_path / "coco", SIZE, 1, []))
    picture = tmp_path / "coco/images/1.png"
    picture.write_bytes(picture.read_bytes()[:100])
    with pytest.raises(DataError, match=r"1\.png is truncated"):
        write_cityscapes(source, tmp_path / "city", "val")
