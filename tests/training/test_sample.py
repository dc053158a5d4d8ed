from dataclasses import replace

import numpy as np
import pytest

from scene.errors import DataError
from tests.training.coco_on_disk import rectangle
from training.data.sample import EVERY_CLASS, Sample, tight_boxes

IMAGE = np.zeros((20, 30, 3), np.uint8)


def one() -> Sample:
    masks = rectangle((20, 30), (3, 4, 10, 6))[None]
    return Sample.from_masks(IMAGE, np.array([2]), masks, np.array([False]))


def test_an_empty_sample_is_valid() -> None:
    sample = Sample.empty(IMAGE).check()
    assert len(sample) == 0
    assert sample.size_hw == (20, 30)
    assert len(sample.rows(np.zeros(0, np.bool_))) == 0


def test_boxes_are_tight_and_end_exclusive() -> None:
    assert one().check().boxes_xyxy.tolist() == [[3, 4, 10, 6]]
    assert tight_boxes(np.zeros((1, 5, 5), np.uint8)).tolist() == [[0, 0, 0, 0]]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("image", IMAGE[..., 0]),
        ("boxes_xyxy", np.zeros((1, 4))),
        ("classes", np.zeros(2, np.int64)),
        ("masks", np.zeros((1, 5, 5), np.uint8)),
        ("crowds", np.zeros(1, np.uint8)),
        ("boxes_xyxy", np.array([[0, 0, 31, 5]], np.float32)),
        ("boxes_xyxy", np.array([[-1, 0, 3, 5]], np.float32)),
    ],
)
def test_what_disagrees_is_refused(field: str, value: object) -> None:
    with pytest.raises(DataError, match=r"sample's|leaves the picture"):
        replace(one(), **{field: value}).check()  # type: ignore[arg-type]


def test_only_a_crowd_is_of_every_class() -> None:
    ignored = replace(one(), classes=np.array([EVERY_CLASS]), crowds=np.array([True]))
    assert ignored.check() is ignored
    for wrong in (replace(ignored, crowds=np.array([False])), replace(ignored, classes=np.array([-2]))):
        with pytest.raises(DataError, match="a sample's classes start at 0"):
            wrong.check()
