from dataclasses import FrozenInstanceError, replace

import pytest

from model.anchors import level_sizes
from model.config import PRESETS, PUBLISHED, STREET, STREET_NANO, AnchorConfig, octave_scales, preset_like
from scene.classes import COCO_CLASSES, PASCAL_CLASSES, STREET_CLASSES


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


def test_published_anchors_are_the_originals() -> None:
    scales = {name: config.anchors.scales_px for name, config in PUBLISHED.items()}
    assert scales["yolact-base"] == ((24.0,), (48.0,), (96.0,), (192.0,), (384.0,))
    assert scales["yolact-im400"] == ((17.0,), (34.0,), (69.0,), (139.0,), (279.0,))
    assert scales["yolact-im700"] == ((30.0,), (61.0,), (122.0,), (244.0,), (488.0,))
    assert scales["yolact-resnet50-pascal"] == ((32.0,), (64.0,), (128.0,), (256.0,), (512.0,))
    assert scales["yolact-plus-base"][0] == pytest.approx((24.0, 30.2381, 38.0976), abs=1e-4)
    square = {name for name, config in PUBLISHED.items() if config.anchors.square}
    assert square == {"yolact-resnet50", "yolact-base", "yolact-im400", "yolact-im700", "yolact-darknet53"}


def test_published_class_names_are_of_their_data_sets() -> None:
    counts = {name: config.class_count for name, config in PUBLISHED.items()}
    assert counts.pop("yolact-resnet50-pascal") == len(set(PASCAL_CLASSES)) == 20
    assert set(counts.values()) == {len(set(COCO_CLASSES))} == {80}
    assert [COCO_CLASSES[index] for index in (0, 1, 2, 7, 9, 39, 79)] == [
        *("person", "bicycle", "car", "truck", "traffic light", "bottle", "toothbrush"),
    ]


def test_darknet_sees_pictures_of_0_to_1() -> None:
    darknet = PUBLISHED["yolact-darknet53"]
    assert (darknet.mean_rgb, darknet.std_rgb) == ((0, 0, 0), (255, 255, 255))


def test_half_scales_are_one_replacement_away() -> None:
    half = replace(PUBLISHED["yolact-base"], anchors=PUBLISHED["yolact-base"].anchors.scaled(0.5))
    assert half.anchors.scales_px == ((12.0,), (24.0,), (48.0,), (96.0,), (192.0,))
    assert half.anchors.square


@pytest.mark.parametrize("name", STREET)
def test_street_networks_are_the_published_ones_for_eight_classes(name: str) -> None:
    config = STREET[name]
    assert config.class_names == STREET_CLASSES
    height, width = config.size_hw
    assert (height, width) == ((384, 768) if name.endswith("-wide") else (550, 550))
    assert abs(height * width / 550**2 - 1) < 0.03, "as many pixels either way"
    assert bool(config.rescoring_channels) == any(config.backbone.deformable) == ("plus" in name)


def test_a_network_like_no_preset() -> None:
    assert preset_like(replace(STREET_NANO, prototypes=1)) is None


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_like_itself_whatever_its_anchors_sides_and_scoring(name: str) -> None:
    preset = PRESETS[name]
    assert preset_like(preset) == name
    assert preset_like(replace(preset, anchors=preset.anchors.scaled(0.5), scoring="sigmoid")) == name


def test_other_classes_make_a_variant_of_the_published_network_where_there_is_one() -> None:
    for street, likeliest in (
        ("street-yolact-plus-resnet50", "yolact-plus-resnet50"),
        ("street-yolact-resnet18", "street-yolact-resnet18"),
    ):
        assert preset_like(replace(PRESETS[street], class_names=("a", "b"))) == likeliest


def test_other_anchors_a_cell_are_no_variant() -> None:
    config = PRESETS["yolact-plus-resnet50"]
    assert preset_like(replace(config, anchors=replace(config.anchors, ratios=(1.0,)))) is None
    assert preset_like(replace(config, anchors=replace(config.anchors, square=True))) is None
