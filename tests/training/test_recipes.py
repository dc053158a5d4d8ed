from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.config import PRESETS
from training.class_losses import ClassLossSettings
from training.data.mixing import PasteSettings, SourceRule
from training.losses import LossSettings
from training.recipes import HEAD, NO_BACKBONE, RECIPES, STUDY, Recipe
from training.transforms import Augmentation

TRAINING = sorted(name for name, recipe in RECIPES.items() if recipe.steps)

STEPS = Recipe(steps=1000, learning_rate=1.0, warmup_steps=100, warmup_start=0.1, milestones=(0.5, 0.75))


def test_without_warm_up_and_milestones_the_rate_stands() -> None:
    flat = Recipe(steps=10, learning_rate=0.5, warmup_steps=0, milestones=())
    assert {flat.rate_at(step) for step in range(10)} == {0.5}


@pytest.mark.parametrize(
    ("step", "rate"),
    [(0, 0.1), (50, 0.55), (100, 1.0), (499, 1.0), (500, 0.1), (749, 0.1), (750, 0.01), (999, 0.01)],
)
def test_rates_by_hand(step: int, rate: float) -> None:
    assert STEPS.rate_at(step) == pytest.approx(rate)


@pytest.mark.parametrize(("step", "rate"), [(50, 0.55), (100, 1.0), (600, 1.0), (800, 0.51), (1000, 0.02)])
def test_rates_along_the_cosine_by_hand(step: int, rate: float) -> None:
    assert replace(STEPS, cosine_from=0.6).rate_at(step) == pytest.approx(rate)


@given(st.sampled_from(TRAINING), st.integers(10, 100_000))
def test_every_recipe_rises_once_and_then_falls(name: str, step: int) -> None:
    recipe = RECIPES[name]
    step %= recipe.steps - 1
    assert 0 < recipe.rate_at(step) <= recipe.learning_rate
    if step + 1 < recipe.warmup_steps:
        assert recipe.rate_at(step + 1) > recipe.rate_at(step)
    elif step >= recipe.warmup_steps:
        assert recipe.rate_at(step + 1) <= recipe.rate_at(step)


@pytest.mark.parametrize("name", TRAINING)
def test_every_recipes_milestones_lie_in_order_behind_the_warm_up(name: str) -> None:
    recipe = RECIPES[name]
    turns = [recipe.warmup_steps / recipe.steps, *recipe.milestones, 1.0]
    assert turns == sorted(set(turns))
    lowest = 0.1 ** len(recipe.milestones) if recipe.cosine_from is None else 0.02
    assert recipe.rate_at(recipe.steps - 1) == pytest.approx(recipe.learning_rate * lowest, rel=1e-3)


ROWS: tuple[tuple[str, str, str, tuple[float, float]], ...] = (
    ("without transfer", "YOLACT, COCO, classes mapped, no training", "yolact-untrained", (0.76, 14.5)),
    ("without transfer", "YOLACT, Cityscapes from ImageNet weights", "yolact-imagenet", (8.13, 6.11)),
    ("without transfer", "YOLACT++, Cityscapes from ImageNet weights", "plus-imagenet", (12.89, 9.83)),
    ("YOLACT", "only the prediction head", "yolact-head", (16.68, 14.68)),
    ("YOLACT", "all but the backbone", "yolact-no-backbone", (20.92, 17.64)),
    ("YOLACT", "everything", "yolact-full", (22.43, 14.36)),
    ("YOLACT", "everything, half anchor scales", "yolact-full-half", (19.33, 19.63)),
    ("YOLACT++", "only the prediction head", "plus-head", (23.61, 21.04)),
    ("YOLACT++", "all but the backbone", "plus-no-backbone", (24.84, 12.08)),
    ("YOLACT++", "everything", "plus-full", (28.22, 17.59)),
    ("YOLACT++", "everything, +1000 COCO pictures", "plus-full-coco1000", (27.36, 23.02)),
    ("YOLACT++", "everything, +5000 COCO pictures", "plus-full-coco5000", (1.87, 1.5)),
    ("YOLACT++", "everything, COCO instances pasted in", "plus-full-paste", (28.05, 18.18)),
    ("YOLACT++", "everything, half anchor scales", "plus-full-half", (23.76, 20.37)),
    ("YOLACT++", "everything, focal loss", "plus-full-focal", (23.13, 15.98)),
    ("YOLACT++, +1000", "only the prediction head", "plus-head-coco1000", (23.93, 21.60)),
    ("YOLACT++, +1000", "all but the backbone", "plus-no-backbone-coco1000", (24.52, 20.39)),
    ("YOLACT++, +1000", "everything", "plus-full-coco1000", (27.36, 23.02)),
    ("YOLACT++, +1000", "half anchor scales", "plus-full-half-coco1000", (23.58, 20.57)),
)
"""The study's tables, as it prints them; "everything, +1000" stands in two."""


def test_every_row_of_the_study_has_its_recipe_and_no_recipe_is_without_a_row() -> None:
    assert {name for _, _, name, _ in ROWS} == set(STUDY)
    assert len(ROWS) == 19
    assert len(STUDY) == 18


@pytest.mark.parametrize(("table", "row", "name", "study_ap"), ROWS)
def test_a_recipe_is_what_the_studys_row_says(table: str, row: str, name: str, study_ap: tuple[float, float]) -> None:
    recipe = STUDY[name]
    plus = "YOLACT++" in f"{table} {row}"
    assert recipe.preset == ("street-yolact-plus-resnet50" if plus else "street-yolact-resnet50")
    assert bool(PRESETS[recipe.preset].rescoring_channels) == plus
    assert recipe.start == ("imagenet" if "ImageNet" in row else "coco")
    assert recipe.steps == (0 if "no training" in row else 22_500)
    assert recipe.trains == (HEAD if "only" in row else NO_BACKBONE if "all but" in row else ())
    assert recipe.anchor_factor == (0.5 if "half" in row else 1.0)
    assert recipe.losses == LossSettings(classes=ClassLossSettings("focal" if "focal" in row else "ohem"))
    assert recipe.mixing == mixed_in(f"{table} {row}")
    assert recipe.pasting == (PasteSettings() if "pasted" in row else None)
    assert recipe.needs_source == ("+1000" in table or "+" in row.replace("YOLACT++", "") or "pasted" in row)
    assert recipe.study_ap == study_ap


def mixed_in(row: str) -> SourceRule | None:
    if "+1000" in row:
        return SourceRule(count=1000, none_of=("person", "car"))
    return SourceRule(count=5000) if "+5000" in row else None


def test_a_yolact_plus_without_training_is_the_studys_row_of_yolact_but_for_the_network() -> None:
    ours, theirs = RECIPES["plus-untrained"], STUDY["yolact-untrained"]
    assert "plus-untrained" not in STUDY
    assert ours.study_ap is None
    assert ours.preset == STUDY["plus-full"].preset
    assert replace(ours, preset=theirs.preset, summary=theirs.summary, study_ap=theirs.study_ap) == theirs


@pytest.mark.parametrize("name", STUDY)
def test_the_studys_schedule(name: str) -> None:
    """8 pictures a step, 60 epochs of 3000; SGD, 0.9, 5e-4; 500 steps from 1e-4 to 1e-3, tenths at four shares."""
    recipe = STUDY[name]
    assert (recipe.batch, recipe.optimiser, recipe.momentum, recipe.weight_decay) == (8, "sgd", 0.9, 5e-4)
    assert (recipe.clip_norm, recipe.cosine_from, recipe.augmentation) == (0.0, None, Augmentation())
    if recipe.steps:
        assert recipe.steps * recipe.batch == 60 * 3000
        places = {0: 1e-4, 250: 5.5e-4, 500: 1e-3, 7874: 1e-3, 7875: 1e-4, 16874: 1e-4, 16875: 1e-5, 19687: 1e-5}
        late = {19688: 1e-6, 21093: 1e-6, 21094: 1e-7, 22499: 1e-7}
        assert {step: recipe.rate_at(step) for step in places | late} == pytest.approx(places | late)


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_says_what_it_is_in_a_line(name: str) -> None:
    summary = RECIPES[name].summary
    assert 5 < len(summary) < 90
    assert "\n" not in summary


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_a_recipe_is_stated_for_its_batch(name: str) -> None:
    assert RECIPES[name].for_batch(RECIPES[name].batch) == RECIPES[name]


def test_in_fewer_steps_warm_up_is_a_tenth_at_most() -> None:
    assert STEPS.lasting(500).warmup_steps == 50
    assert STEPS.lasting(5000).warmup_steps == 100
    short = RECIPES["plus-full"].lasting(300)
    assert max(map(short.rate_at, range(300))) == short.learning_rate
    assert short.rate_at(299) == pytest.approx(short.learning_rate * 1e-4)


def test_another_schedule_changes_how_it_is_trained_and_not_what() -> None:
    mixed, pace = RECIPES["plus-head-coco1000"], RECIPES["nano-study"]
    changed = mixed.scheduled_as(pace)
    assert (changed.trains, changed.mixing, changed.losses.classes) == (
        mixed.trains,
        mixed.mixing,
        mixed.losses.classes,
    )
    assert changed.losses.masks_per_picture == pace.losses.masks_per_picture
    assert changed.augmentation == pace.augmentation
    assert [changed.rate_at(step) for step in range(pace.steps)] == [pace.rate_at(step) for step in range(pace.steps)]
    assert RECIPES["yolact-untrained"].scheduled_as(pace) == RECIPES["yolact-untrained"]


def test_another_batch_scales_the_rate_with_it_and_the_steps_against_it() -> None:
    recipe = replace(STEPS, batch=8, ema_decay=0.99)
    half = recipe.for_batch(4)
    assert (half.steps, half.warmup_steps, half.learning_rate, half.warmup_start) == (2000, 200, 0.5, 0.05)
    assert half.ema_decay**2 == pytest.approx(0.99)
    assert half.for_batch(8) == recipe
    for step in range(1000):
        assert half.rate_at(2 * step) == pytest.approx(recipe.rate_at(step) / 2)
