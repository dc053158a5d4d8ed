"""Instances drawn on frames."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from scene.classes import STREET_CLASSES
from streetmask.drawing import COLOURS, Painter, _has_room, _run_lengths, label_of, painter_for
from tests.streetmask.conftest import answered, found

GREY = np.full((720, 1280, 3), 90, np.uint8)


def colour(index: int) -> np.ndarray:
    return np.array([int(COLOURS[index][place : place + 2], 16) for place in (1, 3, 5)])


def test_an_answer_without_instances_leaves_the_frame_as_it_was() -> None:
    painted = painter_for((720, 1280)).paint(GREY, answered())
    assert np.array_equal(painted, GREY)
    assert painted is not GREY


def test_every_street_class_has_a_colour_of_its_own() -> None:
    assert len(set(COLOURS)) == len(COLOURS) == len(STREET_CLASSES)


@pytest.mark.parametrize("class_index", range(8))
def test_a_mask_is_tinted_in_its_class_s_colour(class_index: int) -> None:
    painted = Painter((720, 1280)).paint(GREY, answered(found(class_index, (400, 300, 600, 500))))
    expected = 0.45 * colour(class_index) + 0.55 * 90
    assert np.abs(painted[450, 550] - expected).max() <= 1
    assert np.array_equal(painted[100, 100], GREY[100, 100])


def test_an_older_answer_is_drawn_paler() -> None:
    answer = answered(found(0, (400, 300, 600, 500)))
    painter = Painter((720, 1280))
    fresh, faded = (np.abs(painter.paint(GREY, answer, old)[450, 550] - 90.0).sum() for old in (False, True))
    assert 0 < faded < 0.75 * fresh


def test_the_source_frame_is_not_drawn_upon() -> None:
    before = GREY.copy()
    Painter((720, 1280)).paint(GREY, answered(found(0, (400, 300, 600, 500))))
    assert np.array_equal(GREY, before)


def test_only_boxes_with_room_get_a_label() -> None:
    large, small = found(0, (400, 300, 600, 500)), found(0, (400, 300, 420, 330))
    assert _has_room(large, 720)
    assert not _has_room(small, 720)
    painter = Painter((720, 1280))
    above = slice(280, 299)
    assert (painter.paint(GREY, answered(large))[above] != 90).any()
    assert not (painter.paint(GREY, answered(small))[280:295] != 90).any()


def test_a_label_tells_the_id_of_an_instance_that_has_one_and_else_its_score() -> None:
    car = found(2, (400, 300, 600, 500), score=0.876)
    assert label_of(car) == "class2 0.88"
    assert label_of(replace(car, track_id=7)) == "class2 7"
    painter = Painter((720, 1280))
    scored, tracked = (painter.paint(GREY, answered(each)) for each in (car, replace(car, track_id=7)))
    changed = (scored != tracked).any(axis=2)
    assert changed[280:301].any()
    assert not changed[301:].any()


def test_instances_without_masks_get_boxes_only() -> None:
    painted = Painter((720, 1280)).paint(GREY, answered(found(0, (400, 300, 600, 500), masked=False)))
    assert np.array_equal(painted[450, 550], GREY[450, 550])
    assert (painted[400, 398:403] != 90).any()


def test_instances_at_the_frame_s_corners_are_drawn() -> None:
    corners = [found(each, box) for each, box in enumerate([(0, 0, 9, 9), (1270, 0, 1280, 9), (1200, 650, 1280, 720)])]
    painted = Painter((720, 1280)).paint(GREY, answered(*corners))
    for y, x in ((4, 4), (4, 1275), (700, 1240)):
        assert not np.array_equal(painted[y, x], GREY[y, x])


def test_a_note_is_written_into_the_corner() -> None:
    noted = painter_for((720, 1280)).note(GREY.copy(), "frame 7 dropped")
    changed = (noted != GREY).any(axis=2)
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    assert rows.min() > 600
    assert 0 <= columns.min() < columns.max() < 500


@given(arrays(np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.integers(0, 1)))
def test_run_lengths_spell_the_mask_column_by_column(mask: np.ndarray) -> None:
    runs = _run_lengths(mask)
    assert runs.sum() == mask.size
    spelt = np.concatenate([np.full(length, number % 2) for number, length in enumerate(runs)])
    assert np.array_equal(spelt, mask.ravel(order="F"))
