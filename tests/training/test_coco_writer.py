import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scene.errors import DataError
from tests.training.cityscapes_on_disk import block, frame_of, write_polygons
from tests.training.coco_on_disk import annotation, counted, disc, rle, write_coco
from training.data.cityscapes import CityscapesDataset
from training.data.coco import CocoDataset
from training.data.coco_writer import write_coco as write
from training.data.sample import EVERY_CLASS

SIZE = (40, 60)
POLYGON = [[5.0, 5.0, 30.5, 8.0, 20.0, 30.0], [40.0, 20.0, 55.0, 20.0, 50.0, 38.0]]


def content(path: Path) -> Any:
    return json.loads(path.read_text())


def test_pictures_without_annotations(tmp_path: Path) -> None:
    path = write(CocoDataset(write_coco(tmp_path / "a", SIZE, 2, [])), tmp_path / "b")
    assert content(path)["annotations"] == []
    assert len(CocoDataset(path)) == 2


def test_polygons_run_lengths_and_crowds_survive(tmp_path: Path) -> None:
    shapes = [POLYGON, rle(disc(SIZE, (20, 20), 9)), counted(disc(SIZE, (30, 20), 9))]
    rows = [annotation(1, shape, category_id=number + 2) for number, shape in enumerate(shapes)]
    rows.append(annotation(2, counted(disc(SIZE, (30, 20), 12)), 1, iscrowd=1))
    source = CocoDataset(write_coco(tmp_path / "a", SIZE, 2, rows))
    path = write(source, tmp_path / "b")
    kept = content(path)["annotations"]
    assert [row["segmentation"] for row in kept] == [row["segmentation"] for row in rows]
    assert [(row["category_id"], row["iscrowd"]) for row in kept] == [(2, 0), (3, 0), (4, 0), (1, 1)]
    assert [row["id"] for row in kept] == [1, 2, 3, 4]
    again = CocoDataset(path)
    for index in range(2):
        np.testing.assert_array_equal(again[index].masks, source[index].masks)
        assert again.picture_path(index).read_bytes() == source.picture_path(index).read_bytes()
    assert again.ground_truth == source.ground_truth


def test_what_every_class_ignores_is_a_crowd_of_each_and_one_region_again(tmp_path: Path) -> None:
    write_polygons(frame_of(tmp_path / "a"), [block("trailer", (10, 10, 40, 30)), block("car", (50, 10, 60, 20))])
    source = CityscapesDataset(tmp_path / "a", "train")
    path = write(source, tmp_path / "b")
    rows = content(path)["annotations"]
    assert sorted(row["category_id"] for row in rows if row["iscrowd"]) == list(range(1, 9))
    again = CocoDataset(path)
    assert again[0].check().classes.tolist() == [2, EVERY_CLASS]
    assert again[0].crowds.tolist() == [False, True]
    assert [row["iscrowd"] for row in again.ground_truth["annotations"]] == [0] + [1] * 8


def test_nothing_is_written_over(tmp_path: Path) -> None:
    source = CocoDataset(write_coco(tmp_path / "a", SIZE, 1, []))
    with pytest.raises(DataError, match=r"instances\.json is there already"):
        write(source, tmp_path / "a")


def test_pictures_of_one_name_are_refused(tmp_path: Path) -> None:
    path = write_coco(tmp_path / "a", SIZE, 2, [])
    images = content(path)["images"]
    images[1]["file_name"] = "more/1.png"
    path.write_text(json.dumps({**content(path), "images": images}))
    with pytest.raises(DataError, match=r"more/1\.png has the name of another picture"):
        write(CocoDataset(path), tmp_path / "b")


def test_a_missing_picture_is_named(tmp_path: Path) -> None:
    source = CocoDataset(write_coco(tmp_path / "a", SIZE, 1, []))
    source.picture_path(0).unlink()
    with pytest.raises(DataError, match=r"expected a picture at .*1\.png"):
        write(source, tmp_path / "b")
    assert not (tmp_path / "b/instances.json").exists()
