from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from scene.image import network_input
from tests.training.coco_on_disk import disc, rectangle
from training.data.sample import Sample, Window
from training.transforms import (
    CROP_AS_PUBLISHED,
    LARGE_SCALE_JITTER,
    NO_AUGMENTATION,
    Augmentation,
    augment,
    cropped_window,
    draw_distortion,
    expanded_window,
    jittered_window,
    look_through,
    mirror,
)

SSD = Augmentation()
JITTERED = Augmentation(jitter=LARGE_SCALE_JITTER)
CHAINS = st.sampled_from([SSD, JITTERED, Augmentation(crop_min_iou=CROP_AS_PUBLISHED)])
SIZES = st.tuples(st.integers(16, 60), st.integers(16, 60))
SEEDS = st.integers(0, 2**32 - 1)


def one(mask: NDArray[np.uint8], crowd: bool = False) -> Sample:
    """A white object on a black picture, so that the picture tells where the mask should be."""
    image = np.repeat(mask[..., None] * np.uint8(255), 3, axis=2)
    return Sample.from_masks(image, np.array([0]), mask[None], np.array([crowd]))


@st.composite
def samples(draw: st.DrawFn) -> Sample:
    """Up to five overlapping discs and rectangles, numbered by class; some are crowds."""
    size_hw = draw(SIZES)
    rng = np.random.default_rng(draw(SEEDS))
    masks = []
    for number in range(draw(st.integers(0, 5))):
        x, y = int(rng.integers(size_hw[1])), int(rng.integers(size_hw[0]))
        w, h = (int(side) for side in rng.integers(1, 20, 2))
        masks.append(rectangle(size_hw, (x, y, x + w, y + h)) if number % 2 else disc(size_hw, (x, y), w))
    stacked = np.stack(masks) if masks else np.zeros((0, *size_hw), np.uint8)
    image = rng.integers(0, 256, (*size_hw, 3), np.uint8)
    return Sample.from_masks(image, np.arange(len(masks)), stacked, rng.random(len(masks)) < 0.2)


def literal_box(mask: NDArray[np.uint8]) -> list[int]:
    ys, xs = np.nonzero(mask)
    return [int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1]


def assert_equal(left: Sample, right: Sample) -> None:
    for name in ("image", "boxes_xyxy", "classes", "masks", "crowds"):
        np.testing.assert_array_equal(getattr(left, name), getattr(right, name), err_msg=name)


@pytest.mark.parametrize("seed", range(8))
def test_an_empty_picture_stays_empty(seed: int) -> None:
    sample = Sample.empty(np.full((20, 40, 3), 77, np.uint8))
    out = augment(sample, SSD, (24, 48), np.random.default_rng(seed)).check()
    assert len(out) == 0
    assert out.size_hw == (24, 48)


@given(samples(), CHAINS, SIZES, SEEDS)
def test_a_box_stays_the_tight_box_of_its_mask_within_the_picture(
    sample: Sample, settings: Augmentation, size_hw: tuple[int, int], seed: int
) -> None:
    out = augment(sample, settings, size_hw, np.random.default_rng(seed)).check()
    assert out.size_hw == size_hw
    assert set(np.unique(out.masks)) <= {0, 1}
    assert out.boxes_xyxy.tolist() == [literal_box(mask) for mask in out.masks]


@given(samples(), CHAINS, SIZES, SEEDS)
def test_no_instance_appears_and_none_changes_its_kind(
    sample: Sample, settings: Augmentation, size_hw: tuple[int, int], seed: int
) -> None:
    out = augment(sample, settings, size_hw, np.random.default_rng(seed))
    assert np.all(np.diff(out.classes) > 0)
    np.testing.assert_array_equal(out.crowds, sample.crowds[out.classes])


@given(SIZES, SIZES, CHAINS, SEEDS)
def test_masks_go_where_the_pixels_go(
    size_hw: tuple[int, int], to_hw: tuple[int, int], chain: Augmentation, seed: int
) -> None:
    sample = one(disc(size_hw, (size_hw[1] // 2, size_hw[0] // 3), 9))
    settings = replace(chain, photometric=False, fill_rgb=(0, 0, 0), min_side=1, min_remaining=0)
    out = augment(sample, settings, to_hw, np.random.default_rng(seed))
    level = out.image[..., 0].astype(int)
    clear = np.abs(level - 127) > 8
    np.testing.assert_array_equal(out.masks.sum(axis=0)[clear], (level > 127)[clear])


@given(samples())
def test_mirror_twice_is_identity(sample: Sample) -> None:
    once = mirror(sample).check()
    np.testing.assert_array_equal(once.masks, sample.masks[..., ::-1])
    assert_equal(mirror(once), sample)


@given(samples(), SEEDS)
def test_settings_that_change_nothing_change_nothing(sample: Sample, seed: int) -> None:
    visible = sample.rows(np.flatnonzero(sample.masks.sum(axis=(1, 2))))
    assert_equal(augment(visible, NO_AUGMENTATION, sample.size_hw, np.random.default_rng(seed)), visible)


@given(samples(), SIZES)
def test_a_picture_that_is_only_resized_is_what_inference_sees(sample: Sample, size_hw: tuple[int, int]) -> None:
    resized = augment(sample, NO_AUGMENTATION, size_hw, np.random.default_rng(0)).check()
    np.testing.assert_array_equal(resized.image, network_input(sample.image, size_hw))


@pytest.mark.parametrize("settings", [SSD, JITTERED])
def test_the_generator_alone_decides(settings: Augmentation) -> None:
    sample = one(disc((40, 80), (30, 20), 12))
    runs = [augment(sample, settings, (32, 64), np.random.default_rng(seed)) for seed in (5, 5, 6)]
    assert_equal(runs[0], runs[1])
    assert not np.array_equal(runs[0].image, runs[2].image)


@pytest.mark.parametrize(("columns", "kept"), [(1, 0), (2, 1)])
def test_an_instance_of_which_too_little_remains_is_dropped(columns: int, kept: int) -> None:
    window: Window = (20 - columns, 0, 40, 40)
    mask = rectangle((40, 40), (10, 5, 20, 15))
    assert len(look_through(one(mask), window, (80, 80), SSD)) == kept
    assert len(look_through(one(mask, crowd=True), window, (80, 80), SSD)) == 1


@pytest.mark.parametrize(("side", "kept"), [(3, 0), (4, 1)])
def test_an_instance_too_small_for_the_network_is_dropped(side: int, kept: int) -> None:
    sample = one(rectangle((40, 40), (10, 10, 12, 10 + side)))
    assert len(look_through(sample, (0, 0, 40, 40), (40, 40), SSD)) == kept


@pytest.mark.parametrize("window", [(-50, 0, -10, 40), (40, 0, 90, 40), (0, -40, 40, -1), (0, 41, 40, 60)])
def test_a_window_beside_the_picture_shows_the_fill(window: Window) -> None:
    out = look_through(one(disc((40, 40), (20, 20), 9)), window, (10, 10), SSD).check()
    assert len(out) == 0
    assert np.unique(out.image.reshape(-1, 3), axis=0).tolist() == [list(SSD.fill_rgb)]


@given(SIZES, st.floats(1, 4), SEEDS)
def test_an_expanded_window_holds_the_picture(size_hw: tuple[int, int], ratio: float, seed: int) -> None:
    x1, y1, x2, y2 = expanded_window(size_hw, ratio, np.random.default_rng(seed))
    assert x1 <= 0 <= size_hw[1] <= x2
    assert y1 <= 0 <= size_hw[0] <= y2
    assert x2 - x1 <= ratio * size_hw[1]
    assert y2 - y1 <= ratio * size_hw[0]


def test_half_of_the_windows_are_expanded() -> None:
    rng = np.random.default_rng(0)
    expanded = sum(expanded_window((40, 40), 4.0, rng) != (0, 0, 40, 40) for _ in range(400))
    assert 160 < expanded < 240


@given(SIZES, st.tuples(st.integers(-40, 40), st.integers(-40, 40)), SIZES, SIZES, SEEDS)
def test_distorting_what_is_seen_is_seeing_what_was_distorted(
    size_hw: tuple[int, int], start: tuple[int, int], window_hw: tuple[int, int], to_hw: tuple[int, int], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    sample = Sample.empty(rng.integers(0, 256, (*size_hw, 3), np.uint8))
    distortion = draw_distortion(SSD, rng)
    window: Window = (*start, start[0] + window_hw[1], start[1] + window_hw[0])
    seen = look_through(sample, window, to_hw, SSD, distortion)
    before = replace(sample, image=distortion.of(sample.image))
    assert_equal(seen, look_through(before, window, to_hw, SSD))


@given(SIZES, SIZES, st.tuples(st.integers(0, 60), st.integers(0, 60)), SIZES)
def test_around_the_picture_is_fill_and_in_it_what_a_filled_canvas_shows(
    size_hw: tuple[int, int], margins: tuple[int, int], place: tuple[int, int], to_hw: tuple[int, int]
) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*size_hw, 3), np.uint8)
    top, left = (min(at, margin) for at, margin in zip(place, margins, strict=True))
    canvas = np.full((size_hw[0] + margins[0], size_hw[1] + margins[1], 3), SSD.fill_rgb, np.uint8)
    canvas[top : top + size_hw[0], left : left + size_hw[1]] = image
    window: Window = (-left, -top, canvas.shape[1] - left, canvas.shape[0] - top)
    out = look_through(Sample.empty(image), window, to_hw, SSD).image.astype(int)
    # places are rounded to 32nds of a pixel, so between random pixels up to 255 / 64 levels in each direction
    assert np.abs(out - network_input(canvas, to_hw)).max() <= 9


@given(SIZES, SEEDS)
def test_a_jittered_window_lies_in_the_picture_or_the_picture_in_it(size_hw: tuple[int, int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    scale = rng.uniform(0.1, 2.0)
    x1, y1, x2, y2 = jittered_window(size_hw, (scale, scale), rng)
    assert (y2 - y1, x2 - x1) == tuple(round(side / scale) for side in size_hw)
    for low, high, side in ((x1, x2, size_hw[1]), (y1, y2, size_hw[0])):
        assert (low >= 0 and high <= side) if scale >= 1 else (low <= 0 and high >= side)


def test_jitter_reaches_both_ends_and_every_place() -> None:
    rng = np.random.default_rng(0)
    windows = np.array([jittered_window((100, 200), LARGE_SCALE_JITTER, rng) for _ in range(600)])
    scales = 200 / (windows[:, 2] - windows[:, 0])
    assert scales.min() < 0.15
    assert scales.max() > 1.95
    assert np.count_nonzero(scales < 1) / 600 == pytest.approx(0.9 / 1.9, abs=0.08)
    small = windows[scales < 0.5]
    shares = -small[:, 0] / (small[:, 2] - small[:, 0] - 200)
    assert shares.min() < 0.1
    assert shares.max() > 0.9


def test_as_published_five_of_six_pictures_are_cropped_and_by_the_rule_fewer_of_small_things() -> None:
    boxes = np.array([[50, 50, 54, 54]], np.float32)
    window: Window = (0, 0, 400, 200)
    counts = []
    for options in (CROP_AS_PUBLISHED, SSD.crop_min_iou):
        rng, settings = np.random.default_rng(1), replace(SSD, crop_min_iou=options)
        counts.append(sum(cropped_window(window, boxes, settings, rng) != window for _ in range(300)))
    assert counts[0] / 300 == pytest.approx(5 / 6, abs=0.07)
    assert counts[1] / 300 == pytest.approx(1 / 2, abs=0.09)


def iou(part: Window, box: list[float]) -> float:
    """By the book, for one pair."""
    width = max(min(part[2], box[2]) - max(part[0], box[0]), 0)
    height = max(min(part[3], box[3]) - max(part[1], box[1]), 0)
    areas = [(r[2] - r[0]) * (r[3] - r[1]) for r in (part, box)]
    return width * height / (sum(areas) - width * height)


@pytest.mark.parametrize("least", [0.0, 0.1, 0.3, 0.7, 0.9])
@pytest.mark.parametrize("seed", range(10))
def test_a_crop_keeps_the_rule_of_ssd(least: float, seed: int) -> None:
    window: Window = (-10, 0, 90, 60)
    boxes = [[5.0, 5.0, 80.0, 55.0], [60.0, 40.0, 65.0, 50.0]]
    settings = replace(SSD, crop_min_iou=(least,))
    part = cropped_window(window, np.array(boxes, np.float32), settings, np.random.default_rng(seed))
    if least <= 0.3:
        assert part != window
    if part != window:
        x1, y1, x2, y2 = part
        assert window[0] <= x1 < x2 <= window[2]
        assert window[1] <= y1 < y2 <= window[3]
        assert 0.45 <= ((y2 - y1) / 60) / ((x2 - x1) / 100) <= 2.2
        assert max(iou(part, box) for box in boxes) >= least - 1e-6
        assert any(x1 < (b[0] + b[2]) / 2 < x2 and y1 < (b[1] + b[3]) / 2 < y2 for b in boxes)


def test_without_boxes_or_with_none_chosen_the_window_stays() -> None:
    rng, window = np.random.default_rng(0), (0, 0, 50, 50)
    assert cropped_window(window, np.zeros((0, 4), np.float32), SSD, rng) == window
    boxes = np.array([[5, 5, 40, 40]], np.float32)
    assert cropped_window(window, boxes, replace(SSD, crop_min_iou=(None,)), rng) == window


def test_brightness_and_contrast_are_levels() -> None:
    image = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)
    settings = replace(SSD, contrast=(1.5, 1.5), brightness=0.0, saturation=(1.0, 1.0), hue_degrees=0.0)
    expected = {image.tobytes(), np.clip(image * 1.5, 0, 255).round().astype(np.uint8).tobytes()}
    seen = {draw_distortion(settings, np.random.default_rng(seed)).of(image).tobytes() for seed in range(20)}
    assert seen == expected


def test_hue_turns_the_colours_and_saturation_takes_them() -> None:
    image = np.full((4, 4, 3), (200, 40, 40), np.uint8)
    neutral = replace(SSD, contrast=(1.0, 1.0), brightness=0.0, saturation=(1.0, 1.0), hue_degrees=0.0)
    grey = replace(neutral, saturation=(0.0, 0.0))
    seen = {tuple(draw_distortion(grey, np.random.default_rng(seed)).of(image)[0, 0].tolist()) for seed in range(20)}
    assert seen == {(200, 40, 40), (200, 200, 200)}
    turned = replace(neutral, hue_degrees=18.0)
    pixels = np.array([draw_distortion(turned, np.random.default_rng(seed)).of(image)[0, 0] for seed in range(60)], int)
    assert pixels[:, 0].min() >= 198
    assert 80 <= pixels[:, 1].max() <= 92
    assert 80 <= pixels[:, 2].max() <= 92
    assert (np.minimum(pixels[:, 1], pixels[:, 2]) <= 43).all()


def test_settings_without_strength_leave_the_colours() -> None:
    image = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    still = replace(SSD, brightness=0.0, contrast=(1.0, 1.0), saturation=(1.0, 1.0), hue_degrees=0.0)
    for seed in range(10):
        np.testing.assert_array_equal(draw_distortion(still, np.random.default_rng(seed)).of(image), image)
