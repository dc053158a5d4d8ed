"""Each kind of thing that can be wrong in a COCO JSON, found and named, and nothing found where nothing is wrong."""

import json
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from tests.training.coco_on_disk import annotation, disc, rectangle, rle, write_coco
from training.data.census import Census, Fault
from training.data.coco import CocoDataset
from training.data.coco_census import coco_census

SIZE = (120, 160)
BOX = (40, 30, 100, 90)


def good() -> dict[str, Any]:
    return {**annotation(1, rle(rectangle(SIZE, BOX))), "bbox": [40, 30, 60, 60], "area": 3600}


def edited(path: Path, **changes: Any) -> Path:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    return path


def faults(census: Census) -> list[Fault]:
    return [finding.fault for finding in census.findings]


def test_no_pictures_and_no_instances(tmp_path: Path) -> None:
    path = write_coco(tmp_path, SIZE, 1, [])
    assert faults(coco_census(path)) == [Fault.EMPTY]
    census = coco_census(edited(path, images=[]))
    assert (census.pictures, faults(census), census.errors) == (0, [Fault.EMPTY], 1)


def test_a_good_set_is_counted_by_class_and_size(tmp_path: Path) -> None:
    rows = [
        good(),
        annotation(1, rle(rectangle(SIZE, (0, 0, 31, 33))), 1),
        annotation(1, rle(rectangle(SIZE, (0, 0, 32, 32))), 1),
        annotation(2, rle(rectangle(SIZE, (0, 0, 96, 96))), 8),
        annotation(2, rle(disc(SIZE, (40, 40), 20)), 8, iscrowd=1),
        annotation(2, [[5.0, 5.0, 30.5, 8.0, 20.0, 30.0]], 2),
    ]
    census = coco_census(write_coco(tmp_path, SIZE, 2, rows))
    assert (census.pictures, census.findings, census.errors) == (2, [], 0)
    assert dict(census.instances) == {
        ("car", "medium"): 1, ("person", "small"): 1, ("person", "medium"): 1, ("bicycle", "large"): 1,
        ("rider", "small"): 1,
    }  # fmt: skip
    assert dict(census.ignored) == {"bicycle": 1}


@pytest.mark.parametrize(
    ("changes", "fault", "words"),
    [
        ({"image_id": 9}, Fault.UNKNOWN_PICTURE, "picture 9"),
        ({"category_id": 99}, Fault.UNKNOWN_CATEGORY, "category 99"),
        ({"segmentation": rle(disc((10, 10), (5, 5), 3))}, Fault.WRONG_SIZE, r"\(10, 10\)"),
        ({"segmentation": {"size": list(SIZE), "counts": "zz"}}, Fault.BROKEN_LABELS, "run lengths"),
        ({"segmentation": [[1.0, 1.0, 9.0, 9.0, 1.0, 9.0, 5.0]]}, Fault.BROKEN_LABELS, "odd"),
        ({"segmentation": 7}, Fault.BROKEN_LABELS, "segmentation"),
        ({"bbox": [40, 30, 0, 60]}, Fault.DEGENERATE, "is empty"),
        ({"bbox": [40, 30, 60, -60]}, Fault.DEGENERATE, "is empty"),
        ({"segmentation": []}, Fault.DEGENERATE, "no pixel"),
        ({"segmentation": rle(np.zeros(SIZE, np.uint8))}, Fault.DEGENERATE, "no pixel"),
        ({"bbox": [43, 30, 60, 60]}, Fault.BOX_DIFFERS, "not its mask's"),
        (
            {"segmentation": [[100.0, 20.0, 170.0, 20.0, 170.0, 50.0]], "bbox": [100, 20, 70, 30]},
            Fault.OUTSIDE,
            "10 pixels beyond",
        ),
    ],
)
def test_what_is_wrong_with_an_annotation(tmp_path: Path, changes: dict[str, Any], fault: Fault, words: str) -> None:
    path = write_coco(tmp_path, SIZE, 1, [good(), {**good(), **changes}])
    census = coco_census(path)
    assert faults(census) == [fault]
    (finding,) = census.findings
    assert finding.hurts
    assert re.search(words, finding.what)
    assert str(path) in finding.place
    assert "2" in finding.place or "annotations[1]" in finding.place
    assert census.instances["car", "medium"] + census.instances["car", "small"] >= 1


def test_roundings_are_no_finding(tmp_path: Path) -> None:
    rows = [{**good(), "bbox": [41.5, 30, 58.6, 61]}, {**good(), "segmentation": [], "bbox": [3, 3, 1, 0]}]
    census = coco_census(write_coco(tmp_path, SIZE, 1, rows))
    assert census.errors == 0
    assert faults(census) == [Fault.DEGENERATE]


def test_broken_pictures_are_all_named(tmp_path: Path) -> None:
    path = write_coco(tmp_path, SIZE, 5, [good()])
    picture = [tmp_path / f"images/{number}.png" for number in range(6)]
    picture[2].unlink()
    picture[3].write_bytes(picture[3].read_bytes()[:-40])
    picture[4].write_bytes(b"no picture")
    cv2.imwrite(str(picture[5]), np.zeros((20, 30, 3), np.uint8))
    census = coco_census(path)
    assert faults(census) == [
        Fault.MISSING_PICTURE, Fault.BROKEN_PICTURE, Fault.BROKEN_PICTURE, Fault.WRONG_SIZE,
    ]  # fmt: skip
    assert [finding.place for finding in census.findings] == [str(path) for path in picture[2:]]
    assert census.errors == 4


def test_a_truncated_jpeg_is_found_though_opencv_reads_it(tmp_path: Path) -> None:
    path = write_coco(tmp_path, SIZE, 1, [good()])
    noise = np.random.default_rng(0).integers(0, 256, (*SIZE, 3), np.uint8)
    _, data = cv2.imencode(".jpg", noise)
    (tmp_path / "images/1.jpg").write_bytes(data.tobytes()[: len(data) // 2])
    images = json.loads(path.read_text())["images"]
    edited(path, images=[{**images[0], "file_name": "images/1.jpg"}])
    assert cv2.imread(str(tmp_path / "images/1.jpg")) is not None
    assert faults(coco_census(path)) == [Fault.BROKEN_PICTURE]


def test_duplicate_ids(tmp_path: Path) -> None:
    path = write_coco(tmp_path, SIZE, 2, [good(), good()])
    content = json.loads(path.read_text())
    for rows in (content["images"], content["annotations"]):
        rows[1]["id"] = 1
    content["categories"].append({"id": 8, "name": "tram"})
    edited(path, **content)
    census = coco_census(path)
    assert faults(census) == [Fault.DUPLICATE_ID] * 3
    assert [finding.what for finding in census.findings] == [
        "two categories have the id 8: bicycle and tram",
        "two pictures have the id 1: images/1.png and images/2.png",
        "another annotation has this id",
    ]


def test_other_classes_are_a_note(tmp_path: Path) -> None:
    path = write_coco(tmp_path, SIZE, 1, [good(), {**good(), "category_id": 90}])
    edited(path, categories=[{"id": 3, "name": "car"}, {"id": 90, "name": "toothbrush"}])
    census = coco_census(path)
    assert (faults(census), census.errors) == ([Fault.OTHER_CLASS], 0)
    assert "1 annotations of toothbrush" in census.findings[0].what
    assert len(CocoDataset(path)[0]) == 1


@pytest.mark.parametrize("content", ["", "[]", "{", '{"images": []}'])
def test_a_file_that_is_no_coco_json(tmp_path: Path, content: str) -> None:
    path = tmp_path / "instances.json"
    path.write_text(content)
    assert faults(coco_census(path)) == [Fault.BROKEN_LABELS, Fault.EMPTY]


def test_entries_that_are_malformed(tmp_path: Path) -> None:
    path = write_coco(tmp_path, SIZE, 1, [good()])
    content = json.loads(path.read_text())
    edited(path, **{name: [*content[name], {"id": "x"}] for name in ("images", "annotations", "categories")})
    census = coco_census(path)
    assert faults(census) == [Fault.BROKEN_LABELS] * 3
    assert [finding.place.split(", ")[1] for finding in census.findings] == [
        "categories[8]",
        "images[1]",
        "annotations[1]",
    ]
