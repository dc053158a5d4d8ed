"""Each kind of thing that can be wrong in Cityscapes' layout, found and named."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scene.errors import DataError
from tests.training.cityscapes_on_disk import SIZE, block, frame_of, write_ids, write_picture, write_polygons
from training.data.census import Census, Fault
from training.data.cityscapes_census import cityscapes_census

CAR = block("car", (5, 5, 50, 40))


def census_of(root: Path) -> Census:
    return cityscapes_census(root, ("train",))


def test_a_split_without_anything(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no pictures of the split"):
        census_of(tmp_path)


def test_no_instance(tmp_path: Path) -> None:
    write_polygons(frame_of(tmp_path), [block("road", (0, 0, 100, 60))])
    assert [finding.fault for finding in census_of(tmp_path).findings] == [Fault.EMPTY]


def test_a_good_set_is_counted(tmp_path: Path) -> None:
    objects = [
        CAR,
        block("persongroup", (60, 0, 70, 9)),
        block("trailer", (80, 0, 99, 9)),
        block("rider", (0, 50, 9, 59)),
    ]
    write_polygons(frame_of(tmp_path, 0), objects)
    write_ids(frame_of(tmp_path, 1, "val"), np.full(SIZE, 33007, np.uint16))
    census = cityscapes_census(tmp_path, ("train", "val"))
    assert (census.pictures, census.findings) == (2, [])
    assert dict(census.instances) == {("car", "medium"): 1, ("rider", "small"): 1, ("bicycle", "medium"): 1}
    assert dict(census.ignored) == {"person": 1, "trailer": 1}


@pytest.mark.parametrize(
    ("item", "fault", "words"),
    [
        (block("tank", (0, 0, 9, 9)), Fault.UNKNOWN_CATEGORY, "no label 'tank'"),
        ({"label": "car", "polygon": [[1, 1], [5, 5]]}, Fault.DEGENERATE, "2 points"),
        (block("bus", (80, 20, 120, 40)), Fault.OUTSIDE, "19 pixels beyond"),
    ],
)
def test_what_is_wrong_with_a_polygon(tmp_path: Path, item: dict[str, Any], fault: Fault, words: str) -> None:
    frame = write_polygons(frame_of(tmp_path), [CAR, item])
    census = census_of(tmp_path)
    (finding,) = census.findings
    assert (finding.fault, finding.place) == (fault, f"{frame.polygons}, objects[1]")
    assert words in finding.what
    assert census.instances["car", "medium"] == 1


def test_files_that_are_missing_or_broken_are_all_named(tmp_path: Path) -> None:
    frames = [write_polygons(frame_of(tmp_path, number), [CAR]) for number in range(6)]
    frames[0].picture.unlink()
    frames[1].polygons.unlink()
    frames[2].polygons.write_text("{")
    frames[3].picture.write_bytes(frames[3].picture.read_bytes()[:50])
    write_picture(frames[4], (30, 50))
    write_ids(frames[5], np.full(SIZE, 999, np.uint16))
    census = census_of(tmp_path)
    assert [(finding.fault, finding.place) for finding in census.findings] == [
        (Fault.MISSING_PICTURE, str(frames[0].picture)),
        (Fault.MISSING_LABELS, str(frames[1].picture)),
        (Fault.BROKEN_LABELS, str(frames[2].polygons)),
        (Fault.BROKEN_PICTURE, str(frames[3].picture)),
        (Fault.WRONG_SIZE, str(frames[4].polygons)),
        (Fault.UNKNOWN_CATEGORY, str(frames[5].instance_ids)),
    ]
    assert (census.pictures, census.errors) == (6, 6)
    assert census.instances.total() == 4


def test_instances_of_both_forms_are_counted_once(tmp_path: Path) -> None:
    frame = write_polygons(frame_of(tmp_path), [CAR])
    write_ids(frame, np.full(SIZE, 26000, np.uint16))
    assert dict(census_of(tmp_path).instances) == {("car", "medium"): 1}
