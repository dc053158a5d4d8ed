import math

import numpy as np
import pytest
from scipy.stats import tukey_hsd

from training.study_differences import Difference, differences, order, spread


def test_no_rows_have_no_spread_and_no_differences() -> None:
    assert spread({}) is None
    assert differences({}) == []


def test_of_one_seed_a_row_no_difference_is_told_from_chance() -> None:
    assert spread({"a": [1.0], "b": [3.0]}) is None
    (found,) = differences({"a": [1.0], "b": [3.0]})
    assert (found.better, found.worse, found.by) == ("b", "a", 2.0)
    assert found.low == -math.inf
    assert not found.exceeds_noise


def test_of_seeds_that_never_differ_nothing_is_known_of_chance() -> None:
    rows = {"a": [28.2, 28.2, 28.2], "b": [0.1 + 0.2, 0.3]}
    assert spread(rows) is None
    (found,) = differences(rows)
    assert not found.exceeds_noise


def test_between_what_is_certain_there_is_no_noise() -> None:
    (found,) = differences({"a": [1.0], "b": [3.0]}, certain=("a", "b"))
    assert (found.low, found.high, found.exceeds_noise) == (2.0, 2.0, True)


def test_the_spread_is_pooled_over_rows() -> None:
    assert spread({"a": [1.0, 3.0], "b": [10.0, 10.0], "c": [5.0]}) == pytest.approx(1.0)  # sqrt(2 / 2)


def test_intervals_are_tukeys() -> None:
    rng = np.random.default_rng(1)
    rows = {name: list(rng.normal(mean, 1.0, 3)) for name, mean in (("a", 0.0), ("b", 1.0), ("c", 8.0))}
    theirs = tukey_hsd(*rows.values()).confidence_interval()
    names = list(rows)
    for each in differences(rows):
        i, j = names.index(each.better), names.index(each.worse)
        assert (each.low, each.high) == pytest.approx((theirs.low[i, j], theirs.high[i, j]))
    assert [each.exceeds_noise for each in differences(rows)] == [True, True, False]


def test_what_a_seed_does_to_all_rows_is_no_noise_between_them() -> None:
    """By hand: the seeds' means are 3 and 5, the residuals +-0.25 and 0, of 3 x 2 - 3 - 1 = 2 degrees of freedom."""
    rows = {"a": [0.0, 2.5], "b": [2.0, 4.0], "c": [7.0, 8.5]}
    assert spread(rows) == pytest.approx(math.sqrt((2 * 1.25**2 + 2 * 1 + 2 * 0.75**2) / 3))
    assert spread(rows, common_seeds=True) == pytest.approx(math.sqrt(4 * 0.25**2 / 2))
    # Tukey's q for three rows and two degrees of freedom is 8.331 (table of Harter, 1960)
    for each in differences(rows, common_seeds=True):
        assert each.by - each.low == pytest.approx(8.331 * math.sqrt(4 * 0.25**2 / 2) / math.sqrt(2), rel=1e-3)
    assert all(each.exceeds_noise for each in differences(rows, common_seeds=True) if each.better == "c")
    assert not any(each.exceeds_noise for each in differences(rows) if {each.better, each.worse} == {"b", "c"})


def test_of_one_row_nothing_is_known_but_what_its_seeds_do() -> None:
    assert spread({"a": [1.0, 3.0]}, common_seeds=True) is None
    assert spread({}, common_seeds=True) is None


def test_what_is_certain_adds_no_noise_of_its_own() -> None:
    rows = {"a": [1.0, 2.0], "b": [9.0, 10.0]}
    both = {each.worse: each for each in differences({**rows, "c": [0.0]}, certain=("c",)) if each.better == "b"}
    half_c, half_a = (both[name].by - both[name].low for name in "ca")
    assert half_c == pytest.approx(half_a / math.sqrt(2))


def test_only_pairs_that_exceed_the_noise_are_held_against_the_published_order() -> None:
    found = [
        Difference("full", "head", 4.0, 2.0, 6.0),
        Difference("focal", "head", 3.0, 1.0, 5.0),
        Difference("full", "focal", 1.0, -1.0, 3.0),
        Difference("own", "head", 9.0, 7.0, 11.0),
    ]
    held = order(found, {"full": 28.2, "head": 23.6, "focal": 23.1})
    assert held.agreeing == (found[0],)
    assert held.opposed == (found[1],)
    assert held.undecided == 1
    assert order(found[:1], {"full": 5.0, "head": 5.0}) == order([], {})
