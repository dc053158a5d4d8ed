from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from scene.errors import DataError
from tests.training.coco_on_disk import annotation, disc, rectangle, rle, write_coco
from training.data.coco import CocoDataset
from training.data.mixing import PasteSettings
from training.data.pasting import InstanceDonor, paste_instances
from training.data.sample import Sample, tight_boxes

SIZE = (60, 90)
BACKGROUND = (0, 255, 0)
COLOURS = {1: (255, 0, 0), 3: (0, 0, 255), 5: (255, 0, 255)}
"""By category id; none has green, and the background has nothing else."""
FEW = PasteSettings(count=(1, 4), scale=(0.5, 1.2), smallest_side=6, tries=10)
EXACT = PasteSettings(count=(1, 1), scale=(1.0, 1.0), mirror=False, inset=0, feather=0.0, smallest_side=1)
SEEDS = st.integers(0, 2**32 - 1)
Rows = list[tuple[int, NDArray[np.uint8], int]]
"""Category id, mask and ``iscrowd``."""


def hook() -> NDArray[np.uint8]:
    """A shape that no mirror turns into itself."""
    return rectangle(SIZE, (20, 10, 26, 40)) | rectangle(SIZE, (20, 34, 50, 40))


def source(folder: Path, pictures: list[Rows]) -> CocoDataset:
    """Pictures, ids from 1, of evenly coloured things on a green ground."""
    rows = [
        annotation(number, rle(mask), category_id=category, iscrowd=crowd)
        for number, things in enumerate(pictures, start=1)
        for category, mask, crowd in things
    ]
    path = write_coco(folder, SIZE, len(pictures), rows)
    for number, things in enumerate(pictures, start=1):
        image = np.full((*SIZE, 3), BACKGROUND, np.uint8)
        for category, mask, _ in things:
            image[mask > 0] = COLOURS[category]
        cv2.imwrite(str(folder / "images" / f"{number}.png"), image[..., ::-1])
    return CocoDataset(path)


@pytest.fixture(scope="module")
def donor(tmp_path_factory: pytest.TempPathFactory) -> InstanceDonor:
    things: list[Rows] = [
        [(1, disc(SIZE, (30, 30), 12), 0)],
        [(3, rectangle(SIZE, (10, 20, 50, 40)), 0), (5, disc(SIZE, (70, 30), 8), 0)],
        [(1, hook(), 0)],
    ]
    return InstanceDonor(source(tmp_path_factory.mktemp("source"), things), FEW, seed=1)


def grey(size_hw: tuple[int, int] = SIZE, level: int = 90) -> Sample:
    """A picture of one level with nothing on it."""
    return Sample.empty(np.full((*size_hw, 3), level, np.uint8))


@st.composite
def samples(draw: st.DrawFn) -> Sample:
    """Up to four grey things and crowds on a darker ground, at several sizes."""
    size_hw = draw(st.sampled_from([(60, 90), (90, 60), (128, 256), (30, 40)]))
    rng = np.random.default_rng(draw(SEEDS))
    corners = [
        (int(rng.integers(size_hw[1] - 8)), int(rng.integers(size_hw[0] - 8))) for _ in range(draw(st.integers(0, 4)))
    ]
    masks = [rectangle(size_hw, (x, y, x + int(rng.integers(4, 40)), y + int(rng.integers(4, 30)))) for x, y in corners]
    stacked = np.stack(masks) if masks else np.zeros((0, *size_hw), np.uint8)
    level = np.where(stacked.any(axis=0), 190, 90).astype(np.uint8)
    image = np.repeat(level[..., None], 3, axis=2)
    return Sample.from_masks(image, np.arange(len(masks)) % 8, stacked, rng.random(len(masks)) < 0.3)


def test_a_source_without_instances_has_none_to_give(tmp_path: Path) -> None:
    crowd: Rows = [(1, disc(SIZE, (30, 30), 12), 1)]
    with pytest.raises(DataError, match=r"instances\.json has no instance to paste"):
        InstanceDonor(source(tmp_path, [[], crowd]), FEW, seed=1)


@pytest.mark.parametrize(
    "mask",
    [
        rectangle(SIZE, (1, 10, 20, 30)),
        rectangle(SIZE, (10, 30, 30, 60)),
        rectangle(SIZE, (10, 10, 14, 14)),
        rectangle(SIZE, (10, 10, 20, 20)) | rectangle(SIZE, (40, 10, 50, 20)),
    ],
    ids=["cut at the left", "cut below", "small", "in pieces"],
)
def test_what_is_cut_small_or_in_pieces_is_not_pasted(tmp_path: Path, mask: NDArray[np.uint8]) -> None:
    poor = InstanceDonor(source(tmp_path, [[(1, mask, 0)]]), FEW, seed=1)
    sample = grey()
    assert poor.draw(np.random.default_rng(0)) is None
    assert paste_instances(sample, poor, FEW, np.random.default_rng(0)) is sample


def test_no_instances_asked_for_leave_the_sample(donor: InstanceDonor) -> None:
    sample = grey()
    assert paste_instances(sample, donor, replace(FEW, count=(0, 0)), np.random.default_rng(0)) is sample


def test_nothing_is_pasted_where_all_is_taken(donor: InstanceDonor) -> None:
    sample = grey()
    full = Sample.from_masks(sample.image, np.array([0]), np.ones((1, *SIZE), np.uint8), np.array([True]))
    assert paste_instances(full, donor, FEW, np.random.default_rng(0)) is full


@given(samples(), SEEDS)
def test_what_stood_there_stays_and_what_comes_touches_nothing(donor: InstanceDonor, sample: Sample, seed: int) -> None:
    before = sample.image.copy()
    out = paste_instances(sample, donor, FEW, np.random.default_rng(seed)).check()
    count = len(sample)
    np.testing.assert_array_equal(sample.image, before)
    for name in ("boxes_xyxy", "classes", "masks", "crowds"):
        np.testing.assert_array_equal(getattr(out, name)[:count], getattr(sample, name))
    assert count <= len(out) <= count + 4
    assert not out.crowds[count:].any()
    taken = sample.masks.any(axis=0)
    np.testing.assert_array_equal(out.image[taken], before[taken])
    assert (taken + out.masks[count:].sum(axis=0, dtype=int)).max(initial=0) <= 1
    np.testing.assert_array_equal(out.boxes_xyxy, tight_boxes(out.masks))
    assert set(np.unique(out.masks)) <= {0, 1}


@given(samples(), SEEDS)
def test_a_pasted_thing_has_its_classs_colour_and_nothing_of_its_ground(
    donor: InstanceDonor, sample: Sample, seed: int
) -> None:
    out = paste_instances(sample, donor, FEW, np.random.default_rng(seed))
    for class_index, mask in zip(out.classes[len(sample) :], out.masks[len(sample) :], strict=True):
        inside = cv2.erode(mask, np.ones((7, 7), np.uint8)) > 0
        assert (np.abs(out.image[inside].astype(int) - COLOURS[int(class_index) + 1]) <= 1).all()
    changed = (out.image != sample.image).any(axis=2)
    assert (out.image[changed][:, 1] <= 90).all()


@given(SEEDS)
def test_a_mask_is_where_its_thing_outweighs_the_picture(donor: InstanceDonor, seed: int) -> None:
    settings = replace(FEW, count=(1, 1))
    out = paste_instances(grey(level=0), donor, settings, np.random.default_rng(seed))
    level = out.image.max(axis=2).astype(int)
    np.testing.assert_array_equal(out.masks.sum(axis=0)[level != 127], (level > 127)[level != 127])
    if len(out):
        assert np.count_nonzero((level > 20) & (level < 235)) > 20


def test_at_its_own_size_without_fading_every_pixel_is_the_sources(tmp_path: Path) -> None:
    dataset = source(tmp_path, [[(1, hook(), 0)]])
    out = paste_instances(grey(), InstanceDonor(dataset, EXACT, 1), EXACT, np.random.default_rng(3))
    x1, y1, x2, y2 = (int(side) for side in out.boxes_xyxy[0])
    shown = hook()[10:40, 20:50]
    np.testing.assert_array_equal(out.masks[0, y1:y2, x1:x2], shown)
    expected = np.full((*SIZE, 3), 90, np.uint8)
    expected[y1:y2, x1:x2][shown > 0] = COLOURS[1]
    np.testing.assert_array_equal(out.image, expected)
    assert out.classes.tolist() == [0]


def test_an_inset_takes_a_rim_of_its_own_pixels(tmp_path: Path) -> None:
    dataset = source(tmp_path, [[(1, rectangle(SIZE, (10, 10, 30, 40)), 0)]])
    settings = replace(EXACT, inset=2)
    out = paste_instances(grey(), InstanceDonor(dataset, settings, 1), settings, np.random.default_rng(3))
    assert out.masks[0].sum() == 16 * 26


@pytest.mark.parametrize(("size_hw", "scale"), [((120, 90), 1.0), ((120, 400), 1.0), ((60, 90), 0.5), ((60, 90), 1.5)])
def test_its_share_of_the_height_is_kept_times_the_scale_and_so_is_its_shape(
    tmp_path: Path, size_hw: tuple[int, int], scale: float
) -> None:
    dataset = source(tmp_path, [[(1, rectangle(SIZE, (10, 10, 30, 40)), 0)]])
    settings = replace(EXACT, scale=(scale, scale))
    out = paste_instances(grey(size_hw), InstanceDonor(dataset, settings, 1), settings, np.random.default_rng(3))
    x1, y1, x2, y2 = out.boxes_xyxy[0]
    factor = scale * size_hw[0] / SIZE[0]
    assert (x2 - x1, y2 - y1) == (20 * factor, 30 * factor)


def test_what_does_not_fit_the_picture_is_left_out(tmp_path: Path) -> None:
    dataset = source(tmp_path, [[(1, rectangle(SIZE, (5, 10, 85, 40)), 0)]])
    sample = grey((60, 70))
    assert paste_instances(sample, InstanceDonor(dataset, EXACT, 1), EXACT, np.random.default_rng(0)) is sample


def test_half_are_mirrored_pixels_and_mask(tmp_path: Path) -> None:
    dataset = source(tmp_path, [[(1, hook(), 0)]])
    settings = replace(EXACT, mirror=True)
    mirrored = 0
    for seed in range(60):
        out = paste_instances(grey(), InstanceDonor(dataset, settings, 1), settings, np.random.default_rng(seed))
        x1, y1, x2, y2 = (int(side) for side in out.boxes_xyxy[0])
        cut, shown = out.masks[0, y1:y2, x1:x2], hook()[10:40, 20:50]
        flipped = not np.array_equal(cut, shown)
        np.testing.assert_array_equal(cut, shown[:, ::-1] if flipped else shown)
        np.testing.assert_array_equal((out.image != 90).any(axis=2), out.masks[0] > 0)
        mirrored += flipped
    assert 18 < mirrored < 42


@pytest.mark.parametrize(("balanced", "share"), [(False, 0.1), (True, 0.5)])
def test_instances_or_classes_are_as_likely_as_each_other(tmp_path: Path, balanced: bool, share: float) -> None:
    many: list[Rows] = [[(3, disc(SIZE, (30, 30), 12), 0)] for _ in range(9)]
    settings = replace(EXACT, balanced=balanced)
    donor = InstanceDonor(source(tmp_path, [*many, [(5, disc(SIZE, (30, 30), 12), 0)]]), settings, seed=1)
    rng = np.random.default_rng(0)
    drawn = [found.class_index for found in (donor.draw(rng) for _ in range(300)) if found is not None]
    assert len(drawn) == 300
    assert set(drawn) == {2, 4}
    assert drawn.count(4) / 300 == pytest.approx(share, abs=0.08)


def test_a_crowd_beside_a_single_thing_is_not_pasted(tmp_path: Path) -> None:
    things: Rows = [(5, rectangle(SIZE, (10, 10, 30, 40)), 1), (3, disc(SIZE, (60, 30), 12), 0)]
    donor = InstanceDonor(source(tmp_path, [things]), EXACT, seed=1)
    rng = np.random.default_rng(0)
    assert {found.class_index for found in (donor.draw(rng) for _ in range(30)) if found is not None} == {2}


def test_the_pool_limits_the_pictures_and_the_seed_chooses_them(tmp_path: Path) -> None:
    dataset = source(tmp_path, [[(3, disc(SIZE, (30, 30), 12), 0)] for _ in range(8)])
    pools = [InstanceDonor(dataset, replace(EXACT, pool=3), seed).source for seed in (1, 1, 2)]
    chosen = [[pool.image_id(index) for index in range(len(pool))] for pool in pools]
    assert chosen[0] == chosen[1] != chosen[2]
    assert [len(each) for each in chosen] == [3, 3, 3]


def test_the_generator_alone_decides(donor: InstanceDonor) -> None:
    runs = [paste_instances(grey(), donor, FEW, np.random.default_rng(seed)) for seed in (5, 5, 6)]
    np.testing.assert_array_equal(runs[0].image, runs[1].image)
    np.testing.assert_array_equal(runs[0].masks, runs[1].masks)
    assert not np.array_equal(runs[0].image, runs[2].image)
