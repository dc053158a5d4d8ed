from pathlib import Path

import numpy as np
import pytest

from scene.image import RgbImage
from scene.instances import Detections, Instance
from tests.training.coco_on_disk import annotation, rectangle, rle, write_coco
from training.data.coco import CocoDataset
from training.data.sample import EVERY_CLASS, Sample
from training.validation_pictures import PANEL_WIDTH, Canvas, colour_of, drawn_pictures, side_by_side

SIZE = (48, 96)
GREY = np.full((*SIZE, 3), 100, np.uint8)
NAMES = ("car", "person")


def nothing(frames: list[RgbImage]) -> list[Detections]:
    rows = np.zeros(0, np.float32)
    return [Detections(rows.reshape(0, 4), rows, rows, rows.astype(np.int32), np.zeros((0, 4, 8), np.uint8))] * len(
        frames
    )


def one_car(frames: list[RgbImage]) -> list[Detections]:
    """A sure one in the left half and an unsure one everywhere."""
    scores = np.array([0.9, 0.1], np.float32)
    boxes = np.array([[0, 0, 0.5, 1], [0, 0, 1, 1]], np.float32)
    masks = np.full((2, 4, 8), 255, np.uint8)
    return [Detections(boxes, scores, scores, np.zeros(2, np.int32), masks)] * len(frames)


def test_a_picture_of_nothing_is_drawn_twice_as_it_is() -> None:
    drawn = side_by_side(GREY, Sample.empty(GREY), [], NAMES)
    assert np.array_equal(drawn, np.hstack([GREY, GREY]))


def test_the_truth_stands_left_and_what_is_found_right() -> None:
    mask = rectangle(SIZE, (10, 10, 30, 40))
    truth = Sample.from_masks(GREY, np.array([1]), mask[None], np.array([False]))
    found = Instance(0, 0.87, 0.8, (60.0, 20.0, 90.0, 45.0), (60, 20), np.ones((25, 30), np.uint8))
    before = GREY.copy()
    drawn = side_by_side(GREY, truth, [found], NAMES)
    assert np.array_equal(GREY, before)
    left, right = drawn[:, :96], drawn[:, 96:]
    tint = 0.55 * 100 + 0.45 * np.array([colour_of(1, 2), colour_of(0, 2)])
    np.testing.assert_allclose(left[35, 20], tint[0], atol=1)
    np.testing.assert_allclose(right[40, 75], tint[1], atol=1)
    assert np.array_equal(left[45:, 50:], GREY[45:, 50:])
    assert np.array_equal(right[:, :50], GREY[:, :50])


def test_a_crowd_is_grey_whatever_its_class() -> None:
    canvas = Canvas(np.zeros((*SIZE, 3), np.uint8), NAMES)
    canvas.draw(np.ones((10, 3), np.uint8), (20, 20), (20, 20, 22, 29), 1, "crowd")
    assert len(set(canvas.pixels[25, 21].tolist())) == 1


def test_what_every_class_ignores_is_called_no_class(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    monkeypatch.setattr(Canvas, "_label", lambda _, text, *where: written.append(text))
    canvas = Canvas(np.zeros((*SIZE, 3), np.uint8), NAMES)
    for class_index in (EVERY_CLASS, 1):
        canvas.draw(np.ones((10, 30), np.uint8), (20, 20), (20, 20, 50, 30), class_index, "crowd")
    assert written == ["crowd", "person crowd"]


def test_a_label_at_the_border_stays_on_the_picture() -> None:
    grey = np.full((320, 640, 3), 100, np.uint8)
    canvas = Canvas(grey, NAMES)
    canvas.draw(np.ones((5, 40), np.uint8), (600, 0), (600, 0, 640, 5), 0, "0.99")
    columns = np.flatnonzero((canvas.pixels != grey).any(axis=(0, 2)))
    assert columns[0] < 600, "moved to the left"
    assert columns[-1] == 639


def test_wide_pictures_are_narrowed() -> None:
    picture = np.zeros((720, 1280, 3), np.uint8)
    assert side_by_side(picture, Sample.empty(picture), [], NAMES).shape == (360, 2 * PANEL_WIDTH, 3)


@pytest.mark.parametrize(("pictures", "drawn"), [(1, 1), (4, 4), (9, 4)])
def test_a_few_pictures_are_drawn_with_what_is_found_for_sure(tmp_path: Path, pictures: int, drawn: int) -> None:
    rows = [annotation(1, rle(rectangle(SIZE, (5, 6, 40, 28))))]
    held_out = CocoDataset(write_coco(tmp_path, SIZE, pictures, rows))
    empty, found = (list(drawn_pictures(predict, held_out)) for predict in (nothing, one_car))
    assert len(empty) == len(found) == drawn
    for without, with_car in zip(empty, found, strict=True):
        assert without.shape == (48, 192, 3)
        assert not np.array_equal(with_car[20, 120], without[20, 120])
        assert np.array_equal(with_car[20, 170:], without[20, 170:]), "drawn though unsure"


@pytest.mark.parametrize("classes", [8, 80])
def test_every_class_has_a_colour_of_its_own(classes: int) -> None:
    assert len({colour_of(index, classes) for index in range(classes)}) == classes
