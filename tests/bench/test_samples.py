"""What samples say of themselves."""

import numpy as np
import pytest

from bench.samples import jain, paired_ratio, ratio, ratio_of_ratios, summary


def test_no_samples_have_no_percentiles() -> None:
    assert summary([]) == {"count": 0}


def test_percentiles_of_a_hundred_known_samples() -> None:
    found = summary([float(value) for value in range(1, 102)])
    assert found == {"count": 101, "median": 51, "p90": 91, "p95": 96, "p99": 100, "max": 101}


def test_every_sample_counts_and_no_outlier_is_dropped() -> None:
    assert summary([1.0] * 99 + [5000.0])["max"] == 5000.0


def test_the_interval_of_a_paired_ratio_holds_the_true_one_and_drift_cancels() -> None:
    rng = np.random.default_rng(3)
    drift = 1 + np.linspace(0, 1, 200)  # the machine becomes half as fast during the run
    base = 10 * drift * rng.normal(1, 0.02, 200)
    ours = 8 * drift * rng.normal(1, 0.02, 200)
    found = paired_ratio(ours.tolist(), base.tolist())
    assert found.low <= 0.8 <= found.high
    assert found.high - found.low < 0.08
    assert found.differs


def test_equal_series_do_not_differ() -> None:
    rng = np.random.default_rng(4)
    found = ratio(rng.normal(10, 1, 150).tolist(), rng.normal(10, 1, 150).tolist())
    assert not found.differs


def test_a_change_of_the_whole_machine_is_no_change_against_the_base() -> None:
    rng = np.random.default_rng(5)
    base, ours = rng.normal(10, 0.2, 120), rng.normal(20, 0.4, 120)
    found = ratio_of_ratios(((2 * ours).tolist(), (2 * base).tolist()), (ours.tolist(), base.tolist()))
    assert not found.differs
    assert found.ratio == pytest.approx(1)


def test_paired_series_of_different_lengths_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="same length"):
        paired_ratio([1.0, 2.0], [1.0])


@pytest.mark.parametrize(("shares", "index"), [([1, 1, 1, 1], 1.0), ([1, 0, 0, 0], 0.25), ([0, 0], 1.0)])
def test_fairness(shares: list[float], index: float) -> None:
    assert jain(shares) == pytest.approx(index)
