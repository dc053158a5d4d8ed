from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from scene.errors import ConfigurationError, DataError
from tests.training.coco_on_disk import annotation, rectangle, rle, write_coco
from training.data.coco import CocoDataset
from training.data.mixing import PasteSettings, SourceRule
from training.data.sample import Sample
from training.feed import AugmentedPictures, Batch, feed, to_targets
from training.matching import Targets
from training.recipes import Recipe
from training.transforms import NO_AUGMENTATION

SIZE = (32, 64)
RECIPE = Recipe(steps=6, batch=2)
PLAIN = replace(RECIPE, augmentation=NO_AUGMENTATION)


def dataset(folder: Path, pictures: int, category: int | None = 3) -> CocoDataset:
    """Pictures with one rectangle each, or with nothing."""
    rows: list[dict[str, Any]] = []
    if category is not None:
        rows = [
            annotation(number, rle(rectangle(SIZE, (5, 6, 40 + number, 28))), category)
            for number in range(1, pictures + 1)
        ]
    return CocoDataset(write_coco(folder, SIZE, pictures, rows))


@pytest.fixture
def pictures(tmp_path: Path) -> AugmentedPictures:
    target, source = dataset(tmp_path / "target", 3), dataset(tmp_path / "source", 2, category=8)
    return AugmentedPictures([target], source, replace(RECIPE, source_share=0.3), (24, 48), seed=4)


def numbered(batches: list[Batch]) -> list[tuple[torch.Tensor, Targets]]:
    """The batches' pictures, one after the other."""
    return [pair for batch in batches for pair in zip(batch.images, batch.targets, strict=True)]


def assert_same(left: tuple[torch.Tensor, Targets], right: tuple[torch.Tensor, Targets]) -> None:
    assert torch.equal(left[0], right[0])
    for ours, theirs in zip(left[1], right[1], strict=True):
        assert torch.equal(ours, theirs)


def test_a_picture_of_nothing_has_no_targets(tmp_path: Path) -> None:
    pictures = AugmentedPictures([dataset(tmp_path, 1, category=None)], None, RECIPE, (24, 48), seed=1)
    image, targets = pictures[0]
    assert image.shape == (24, 48, 3)
    assert targets.boxes_xyxy.shape == (0, 4)
    assert targets.crowds_xyxy.shape == (0, 4)
    assert targets.masks.shape == (0, 24, 48)
    assert len(targets.classes) == 0


def test_a_finished_run_is_fed_nothing(pictures: AugmentedPictures) -> None:
    assert list(feed(pictures, first_step=RECIPE.steps, workers=0)) == []


def test_a_batch_holds_so_many_pictures_until_the_last_step(pictures: AugmentedPictures) -> None:
    batches = list(feed(pictures, first_step=2, workers=0))
    assert len(batches) == 4
    for batch in batches:
        assert batch.images.shape == (2, 24, 48, 3)
        assert batch.images.dtype == torch.uint8
        assert len(batch.targets) == 2


def test_a_picture_is_the_same_in_any_batch_and_from_any_start(pictures: AugmentedPictures) -> None:
    alone = [(torch.from_numpy(image), targets) for image, targets in (pictures[number] for number in range(12))]
    for number, pair in enumerate(numbered(list(feed(pictures, first_step=0, workers=0)))):
        assert_same(pair, alone[number])
    for number, pair in enumerate(numbered(list(feed(pictures, first_step=4, workers=0))), start=8):
        assert_same(pair, alone[number])
    pictures.recipe = replace(pictures.recipe, batch=3, steps=4)
    for number, pair in enumerate(numbered(list(feed(pictures, first_step=1, workers=0))), start=3):
        assert_same(pair, alone[number])


def test_a_picture_is_the_same_from_a_process_of_its_own(pictures: AugmentedPictures) -> None:
    here = numbered(list(feed(pictures, first_step=3, workers=0)))
    there = numbered(list(feed(pictures, first_step=3, workers=1)))
    assert len(here) == len(there) == 6
    for ours, theirs in zip(here, there, strict=True):
        assert_same(ours, theirs)


def test_pictures_differ_and_so_do_seeds(pictures: AugmentedPictures) -> None:
    first = [pictures[number][0] for number in range(4)]
    assert not np.array_equal(first[0], first[1])
    pictures.seed += 1
    assert not all(np.array_equal(image, pictures[number][0]) for number, image in enumerate(first))


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_the_source_gives_its_share(tmp_path: Path, share: float) -> None:
    target, source = dataset(tmp_path / "target", 2, category=3), dataset(tmp_path / "source", 1, category=8)
    pictures = AugmentedPictures([target], source, replace(PLAIN, source_share=share), SIZE, seed=0)
    classes = [int(pictures[number][1].classes[0]) for number in range(200)]
    assert set(classes) <= {2, 7}
    assert classes.count(7) / 200 == pytest.approx(share, abs=0.0 if share in (0.0, 1.0) else 0.08)


def test_an_epoch_shows_every_picture_of_all_targets_once_and_each_in_its_own_order(tmp_path: Path) -> None:
    targets = [dataset(tmp_path / "one", 1, category=1), dataset(tmp_path / "three", 3, category=2)]
    pictures = AugmentedPictures(targets, None, PLAIN, SIZE, seed=0)
    seen = [
        (int(truth.classes[0]), round(float(truth.boxes_xyxy[0, 2]) * SIZE[1]))
        for truth in (pictures[number][1] for number in range(40))
    ]
    epochs = [tuple(seen[first : first + 4]) for first in range(0, 40, 4)]
    assert {tuple(sorted(epoch)) for epoch in epochs} == {((0, 41), (1, 41), (1, 42), (1, 43))}
    assert len(set(epochs)) > 5


def mixed(folder: Path, recipe: Recipe) -> AugmentedPictures:
    """Three pictures of a car to train for, and a source of eight of a bicycle."""
    target, source = dataset(folder / "target", 3, category=3), dataset(folder / "source", 8, category=8)
    return AugmentedPictures([target], source, recipe, SIZE, seed=0)


PASTING = PasteSettings(count=(1, 1), scale=(0.2, 0.3), feather=0.0, tries=100, smallest_side=4)


@pytest.mark.parametrize("recipe", [replace(PLAIN, mixing=SourceRule()), replace(PLAIN, pasting=PASTING)])
def test_a_recipe_that_needs_a_source_is_told_where_none_came(tmp_path: Path, recipe: Recipe) -> None:
    with pytest.raises(ConfigurationError, match=r"for the recipe's (mixing|pasting)"):
        AugmentedPictures([dataset(tmp_path, 1)], None, recipe, SIZE, seed=0)


def test_chosen_source_pictures_are_as_likely_as_any_other(tmp_path: Path) -> None:
    pictures = mixed(tmp_path, replace(PLAIN, mixing=SourceRule(count=2)))
    times = Counter(
        (int(targets.classes[0]), round(float(targets.boxes_xyxy[0, 2]) * SIZE[1]))
        for _, targets in (pictures[number] for number in range(400))
    )
    assert sum(class_index == 7 for class_index, _ in times) == 2
    assert len(times) == 5
    for count in times.values():
        assert count / 400 == pytest.approx(1 / 5, abs=0.08)


def test_instances_are_pasted_into_the_targets_pictures_alone(tmp_path: Path) -> None:
    pictures = mixed(tmp_path, replace(PLAIN, mixing=SourceRule(count=2), pasting=PASTING))
    classes = [tuple(pictures[number][1].classes.tolist()) for number in range(100)]
    assert set(classes) == {(2, 7), (7,)}
    assert classes.count((2, 7)) > 40


def test_a_mixed_and_pasted_picture_is_the_same_from_any_start_and_process(tmp_path: Path) -> None:
    recipe = replace(RECIPE, mixing=SourceRule(count=2), pasting=PASTING)
    pictures = mixed(tmp_path, recipe)
    alone = [(torch.from_numpy(image), targets) for image, targets in (pictures[number] for number in range(12))]
    again = mixed(tmp_path, recipe)
    for number, pair in enumerate(numbered(list(feed(again, first_step=3, workers=1))), start=6):
        assert_same(pair, alone[number])


def test_targets_have_boxes_in_shares_and_crowds_apart() -> None:
    masks = np.stack([rectangle((20, 40), box) for box in ((4, 5, 12, 10), (0, 0, 40, 20), (20, 10, 30, 20))])
    crowds = np.array([False, True, False])
    sample = Sample.from_masks(np.zeros((20, 40, 3), np.uint8), np.array([1, 0, 7]), masks, crowds)
    targets = to_targets(sample)
    torch.testing.assert_close(targets.boxes_xyxy, torch.tensor([[0.1, 0.25, 0.3, 0.5], [0.5, 0.5, 0.75, 1.0]]))
    torch.testing.assert_close(targets.crowds_xyxy, torch.tensor([[0.0, 0.0, 1.0, 1.0]]))
    assert targets.boxes_xyxy.dtype == torch.float32
    assert targets.classes.tolist() == [1, 7]
    np.testing.assert_array_equal(targets.masks.numpy(), masks[[0, 2]])


def test_a_batch_moves_with_its_targets(pictures: AugmentedPictures) -> None:
    batch = next(iter(feed(pictures, first_step=0, workers=0)))
    moved = batch.to(torch.device("meta"))
    assert moved.images.device.type == "meta"
    assert {field.device.type for target in moved.targets for field in target} == {"meta"}


@pytest.mark.parametrize("workers", [0, 1])
def test_a_picture_that_is_gone_is_one_sentence(tmp_path: Path, workers: int) -> None:
    """From another process, too, whose traceback helps nobody."""
    pictures = AugmentedPictures([dataset(tmp_path, 1)], None, RECIPE, SIZE, seed=1)
    (tmp_path / "images" / "1.png").unlink()
    with pytest.raises(DataError, match=r"1\.png") as caught:
        list(feed(pictures, 0, workers))
    assert "\n" not in str(caught.value)
    assert not str(caught.value).startswith("scene.errors")
