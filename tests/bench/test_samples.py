"""What samples say of themselves."""

import numpy as np
import pytest

from bench.samples import jain, paired_ratio, ratio, ratio_of_ratios, scaled_ratio, summary


def test_no_samples_have_no_percentiles() -> None:
    assert summary([]) == {"count": 0}


def test_percentiles_of_known_samples() -> None:
    found = summary([float(value) for value in range(1, 102)])
    assert found == {"count": 101, "median": 51, "p90": 91, "p95": 96, "p99": 100, "max": 101}


def test_every_sample_counts_and_no_outlier_is_dropped() -> None:
    assert summary([1.0] * 99 + [5000.0])["max"] == 5000.0


def test_drift_that_hits_both_alike_cancels() -> None:
    rng = np.random.default_rng(3)
    drift = 1 + np.linspace(0, 1, 200)  # the machine becomes half as fast during the run
    base = 10 * drift * rng.normal(1, 0.02, 200)
    ours = 8 * drift * rng.normal(1, 0.02, 200)
    found = paired_ratio(ours.tolist(), base.tolist())
    assert found.ratio == pytest.approx(0.8, rel=0.01)
    assert found.high - found.low < 0.05
    assert found.differs


@pytest.mark.parametrize("rounds", [8, 60])
def test_the_interval_holds_the_true_ratio_about_as_often_as_it_says(rounds: int) -> None:
    """300 runs of equal subjects, nominal 95 in 100: fewer than 90 would be a false promise."""
    rng = np.random.default_rng(7)
    held = 0
    for _ in range(300):
        ours, base = np.exp(0.05 * rng.standard_normal((2, rounds)))
        held += not paired_ratio(ours.tolist(), base.tolist()).differs
    assert held >= 270


def test_equal_series_do_not_differ_and_constant_ones_have_no_width() -> None:
    rng = np.random.default_rng(4)
    assert not ratio(rng.normal(10, 1, 150).tolist(), rng.normal(10, 1, 150).tolist()).differs
    assert paired_ratio([6.0] * 9, [3.0] * 9) == paired_ratio([2.0] * 9, [1.0] * 9)
    assert paired_ratio([6.0] * 9, [3.0] * 9).high == 2


def test_more_confidence_makes_a_wider_interval() -> None:
    rng = np.random.default_rng(5)
    ours, base = rng.normal(10, 1, 40).tolist(), rng.normal(10, 1, 40).tolist()
    narrow, wide = paired_ratio(ours, base), paired_ratio(ours, base, 0.999)
    assert wide.low < narrow.low < narrow.high < wide.high


def test_a_change_of_the_whole_machine_is_no_change_against_the_base() -> None:
    rng = np.random.default_rng(5)
    base, ours = rng.normal(10, 0.2, 120), rng.normal(20, 0.4, 120)
    for compare in (ratio_of_ratios, scaled_ratio):
        found = compare(((2 * ours).tolist(), (2 * base).tolist()), (ours.tolist(), base.tolist()))
        assert not found.differs
        assert found.ratio == pytest.approx(1)


@pytest.mark.parametrize(("ours", "base"), [([1.0] * 9, [1.0] * 8), ([1.0] * 7, [1.0] * 7)])
def test_series_that_make_no_interval_are_a_mistake(ours: list[float], base: list[float]) -> None:
    with pytest.raises(ValueError, match="came"):
        paired_ratio(ours, base)


@pytest.mark.parametrize(("shares", "index"), [([1, 1, 1, 1], 1.0), ([1, 0, 0, 0], 0.25), ([0, 0], 1.0)])
def test_fairness(shares: list[float], index: float) -> None:
    assert jain(shares) == pytest.approx(index)
