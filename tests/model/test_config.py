from dataclasses import FrozenInstanceError

import pytest

from model.anchors import level_sizes
from model.config import PRESETS, STREET_NANO, AnchorConfig, octave_scales
from scene.classes import STREET_CLASSES


def test_no_sides_have_no_scales() -> None:
    assert octave_scales((), 3) == ()


def test_an_octave_is_divided_evenly() -> None:
    scales = octave_scales((24.0, 48.0), steps=3)
    assert [len(level) for level in scales] == [3, 3]
    assert scales[0] == pytest.approx((24.0, 30.2381, 38.0976), abs=1e-4)
    assert scales[1][0] == 48.0
    assert scales[0][2] * 2 ** (1 / 3) == pytest.approx(scales[1][0])


def test_anchors_per_cell_are_scales_times_ratios() -> None:
    assert AnchorConfig(((8.0, 10.0),) * 5).per_cell == 6
    assert AnchorConfig(((8.0,),) * 5, ratios=(1.0,)).per_cell == 1


def test_the_bundled_network_is_the_streets() -> None:
    assert PRESETS["street-nano"] is STREET_NANO
    assert STREET_NANO.class_names == STREET_CLASSES
    assert STREET_NANO.class_count == 8
    height, width = STREET_NANO.size_hw
    assert width == 2 * height


def test_the_bundled_network_is_all_of_yolact_plus_plus() -> None:
    assert STREET_NANO.backbone.deformable[:2] == (0, 0)
    assert STREET_NANO.backbone.deformable[2:] == STREET_NANO.backbone.blocks[2:]
    assert STREET_NANO.rescoring_channels
    assert len(STREET_NANO.anchors.scales_px) == 5


def test_the_rescoring_network_has_a_pixel_left_of_the_bundled_prototypes() -> None:
    sides = [2 * side for side in level_sizes(STREET_NANO.size_hw, 1)[0]]
    for _ in STREET_NANO.rescoring_channels:
        sides = [(side - 3) // 2 + 1 for side in sides]
    assert min(sides) >= 1


def test_a_configuration_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        STREET_NANO.prototypes = 4  # type: ignore[misc]
