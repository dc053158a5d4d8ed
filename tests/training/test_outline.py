import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.training.coco_on_disk import disc, rectangle
from training.data.cityscapes_truth import PolygonObject, paint
from training.data.outline import outline


def drawn(mask: NDArray[np.uint8], holes: bool = False) -> NDArray[np.bool_]:
    points = [(x, y) for x, y in outline(mask, holes).tolist()]
    assert len(points) >= 3
    return paint([PolygonObject("car", points)], (mask.shape[0], mask.shape[1])) > 0


def test_one_pixel() -> None:
    mask = rectangle((5, 6), (2, 3, 3, 4))
    np.testing.assert_array_equal(drawn(mask), mask)


def test_one_part_is_drawn_with_its_holes_filled() -> None:
    whole = disc((80, 90), (40, 40), 30)
    np.testing.assert_array_equal(drawn(whole - disc((80, 90), (35, 40), 10)), whole)


def test_holes_are_left_out_where_asked() -> None:
    mask = rectangle((40, 60), (5, 5, 50, 30)) - rectangle((40, 60), (10, 10, 20, 25))
    np.testing.assert_array_equal(drawn(mask, holes=True), mask)


def test_parts_are_joined_by_one_line() -> None:
    """From (19, 10) to (30, 10), the nearest corner."""
    mask = rectangle((40, 60), (5, 5, 20, 11)) + rectangle((40, 60), (30, 10, 50, 20))
    more = drawn(mask) > mask
    np.testing.assert_array_equal(more, rectangle((40, 60), (20, 10, 30, 11)))


@given(st.integers(0, 10**6), st.floats(0.02, 0.98))
def test_no_pixel_of_the_mask_is_missing(seed: int, share: float) -> None:
    """Noise: parts, holes, islands in holes and corners that touch."""
    mask = (np.random.default_rng(seed).random((12, 15)) < share).astype(np.uint8)
    if mask.any():
        assert not (drawn(mask) < mask).any()
