"""Conditions and their shares: nothing asked for, names, words for people, drawing by seed."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from scene.errors import ConfigurationError
from training.data.street_conditions import (
    CLEAR_DAY,
    CLEAR_ONLY,
    MIXED,
    NAMES,
    Condition,
    condition_of,
    draw_condition,
    mix_of,
    words_of,
)
from training.data.synthetic import SceneSettings, condition


def test_no_word_is_a_clear_day() -> None:
    assert mix_of([]) == mix_of(["clear"]) == CLEAR_ONLY
    assert words_of(CLEAR_ONLY) == "clear 100 %"
    assert str(CLEAR_DAY) == "clear"


@pytest.mark.parametrize(
    "words",
    [["fog"], [""], ["night+"], ["night+night"], ["dusk+night"], ["clear+rain"], ["all", "night"], ["Night"]],
)
def test_an_unknown_condition_is_told_which_there_are(words: list[str]) -> None:
    with pytest.raises(ConfigurationError, match="expected clear, or some of dusk, night, rain, motion-blur, jpeg"):
        mix_of(words)


@pytest.mark.parametrize("word", ["night=", "night=0", "night=-1", "night=nan", "night=inf", "night=much", "rain=1=2"])
def test_a_share_that_is_none_is_told(word: str) -> None:
    with pytest.raises(ConfigurationError, match="expected NAME or NAME=SHARE with a share above 0, but") as caught:
        mix_of(["clear", word])
    assert caught.value.field == "conditions"
    assert word in str(caught.value)


def test_a_condition_twice_is_told() -> None:
    with pytest.raises(ConfigurationError, match="every condition once"):
        mix_of(["night+rain=0.5", "rain+night=0.5"])


def test_parts_have_one_order() -> None:
    assert condition_of("rain+night") == condition_of("night+rain") == Condition(("night", "rain"))
    assert str(condition_of("jpeg+motion-blur+rain+dusk")) == "dusk+rain+motion-blur+jpeg"
    assert "night" in condition_of("night+rain")
    assert "dusk" not in condition_of("night+rain")


def test_all_is_half_clear_and_a_tenth_of_each() -> None:
    assert mix_of(["all"]) == MIXED
    assert {str(seen): share for seen, share in MIXED} == {"clear": 0.5, **dict.fromkeys(NAMES, 0.1)}
    assert words_of(MIXED) == "clear 50 %, dusk 10 %, night 10 %, rain 10 %, motion-blur 10 %, jpeg 10 %"


def test_shares_are_made_to_add_up() -> None:
    assert mix_of(["night=3", "clear"]) == ((Condition(("night",)), 0.75), (CLEAR_DAY, 0.25))


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=6), st.integers(0, 1000))
def test_what_is_drawn_is_of_the_mix(shares: list[float], seed: int) -> None:
    names = ["clear", *NAMES][: len(shares)]
    mix = mix_of([f"{name}={share}" for name, share in zip(names, shares, strict=True)])
    assert sum(share for _, share in mix) == pytest.approx(1.0)
    assert draw_condition(np.random.default_rng(seed), mix) in [seen for seen, _ in mix]


def test_shares_are_kept_over_many_scenes() -> None:
    settings = SceneSettings(conditions=mix_of(["all"]))
    counts = Counter(str(condition(seed, settings)) for seed in range(2000))
    assert 930 <= counts["clear"] <= 1070
    assert all(150 <= counts[name] <= 250 for name in NAMES)


def test_a_seed_always_has_its_condition() -> None:
    settings = SceneSettings(conditions=mix_of(["all"]))
    assert [condition(seed, settings) for seed in range(50)] == [condition(seed, settings) for seed in range(50)]
    assert {condition(seed, SceneSettings()) for seed in range(50)} == {CLEAR_DAY}
