from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.recipes import RECIPES, Recipe

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


@given(st.sampled_from(sorted(RECIPES)), st.integers(10, 100_000))
def test_every_recipe_rises_once_and_then_falls(name: str, step: int) -> None:
    recipe = RECIPES[name]
    step %= recipe.steps - 1
    assert 0 < recipe.rate_at(step) <= recipe.learning_rate
    if step + 1 < recipe.warmup_steps:
        assert recipe.rate_at(step + 1) > recipe.rate_at(step)
    elif step >= recipe.warmup_steps:
        assert recipe.rate_at(step + 1) <= recipe.rate_at(step)


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_every_recipes_milestones_lie_in_order_behind_the_warm_up(name: str) -> None:
    recipe = RECIPES[name]
    turns = [recipe.warmup_steps / recipe.steps, *recipe.milestones, 1.0]
    assert turns == sorted(set(turns))
    lowest = 0.1 ** len(recipe.milestones) if recipe.cosine_from is None else 0.02
    assert recipe.rate_at(recipe.steps - 1) == pytest.approx(recipe.learning_rate * lowest, rel=1e-3)


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_a_recipe_is_stated_for_its_batch(name: str) -> None:
    assert RECIPES[name].for_batch(RECIPES[name].batch) == RECIPES[name]


def test_another_batch_scales_the_rate_with_it_and_the_steps_against_it() -> None:
    recipe = replace(STEPS, batch=8, ema_decay=0.99)
    half = recipe.for_batch(4)
    assert (half.steps, half.warmup_steps, half.learning_rate, half.warmup_start) == (2000, 200, 0.5, 0.05)
    assert half.ema_decay**2 == pytest.approx(0.99)
    assert half.for_batch(8) == recipe
    for step in range(1000):
        assert half.rate_at(2 * step) == pytest.approx(recipe.rate_at(step) / 2)
