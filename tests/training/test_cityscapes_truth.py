"""Instance ids from polygons, and the regions found in them, against slow oracles."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from scene.errors import DataError
from training.data.cityscapes_labels import LABEL_IDS, is_known, split_label
from training.data.cityscapes_truth import PolygonObject, paint, regions

VALUES = [0, 7, 23, 24, 26, 29, 26000, 26001, 24000, 29003, 33999]


def test_nothing_is_unlabeled() -> None:
    ids = paint([], (4, 5))
    assert ids.dtype == np.uint16
    assert ids.tolist() == [[0] * 5] * 4
    assert regions(ids) == []


@given(st.data())
def test_regions_are_what_looking_at_every_pixel_finds(data: st.DataObject) -> None:
    height, width = data.draw(st.integers(1, 9)), data.draw(st.integers(1, 9))
    rng = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    ids = rng.choice(np.array(VALUES, np.uint16), (height, width))
    expected = sorted(each for value in VALUES for each in slow_regions(ids, value))
    whole = ids.copy()
    found = regions(ids)
    assert sorted((*each[1:],) for each in found) == expected
    for region in found:
        mask = ids == region.value
        assert set(whole[mask].tolist()) == {region.label_id if region.is_group else region.value}
        assert box_of(mask) == region.box_xyxy


def slow_regions(ids: NDArray[np.uint16], value: int) -> list[tuple[int, bool, tuple[int, int, int, int]]]:
    """(label id, group?, box) of one value: nothing, one object, or each part of a group, joined pixel by pixel."""
    mask = ids == value
    if value < 24 or not mask.any():
        return []
    if value >= 1000:
        return [(value // 1000, False, box_of(mask))]
    left, found = {(int(y), int(x)) for y, x in np.argwhere(mask)}, []
    while left:
        part, edge = set(), [left.pop()]
        while edge:
            y, x = edge.pop()
            part.add((y, x))
            near = {(y + dy, x + dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1)} & left
            left -= near
            edge += near
        pixels = np.zeros(ids.shape, np.bool_)
        pixels[tuple(np.array(sorted(part)).T)] = True
        found.append((value, True, box_of(pixels)))
    return found


def box_of(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def test_more_objects_than_ids_tell_apart_are_refused() -> None:
    line = [(0.0, 0.0), (3.0, 0.0)]
    assert paint([PolygonObject("car", line)] * 1000, (2, 5)).max() == 26999
    with pytest.raises(DataError, match="more than 1000 objects of car"):
        paint([PolygonObject("car", line)] * 1001, (2, 5))


def test_labels() -> None:
    assert split_label("car") == (26, False)
    assert split_label("cargroup") == (26, True)
    assert split_label("polegroup") == (18, False)
    assert len(LABEL_IDS) == 35
    assert [value for value in range(40) if is_known(value)] == list(range(34))
    assert not is_known(999)
    assert is_known(29999)
