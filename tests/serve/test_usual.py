"""What something usually takes."""

import pytest

from serve.usual import Usual


def test_nothing_is_known_before_the_first() -> None:
    usual = Usual()
    assert (usual.at_least_s(), usual.mean_s, usual.at_most_s()) == (0.0, 0.0, 0.0)


def test_what_never_changes_is_known_exactly() -> None:
    usual = Usual()
    for _ in range(10):
        usual.note(0.25)
    assert (usual.at_least_s(), usual.mean_s, usual.at_most_s()) == (0.25, 0.25, 0.25)


def test_what_varies_is_told_with_its_bounds() -> None:
    usual = Usual()
    usual.note(1.0)
    usual.note(2.0)
    assert usual.mean_s == pytest.approx(1.125)
    assert usual.at_least_s() == pytest.approx(1.125 - 0.25)
    assert usual.at_most_s() == pytest.approx(1.125 + 0.5)


def test_what_varies_without_bounds_is_still_taken_for_half_its_mean() -> None:
    usual = Usual()
    for spent_s in (0.001, 1.0, 0.001, 1.0, 0.001):
        usual.note(spent_s)
    assert usual.at_least_s() == usual.mean_s / 2 > 0


def test_what_has_changed_for_good_is_learnt() -> None:
    usual = Usual()
    usual.note(1.0)
    for _ in range(100):
        usual.note(3.0)
    assert usual.mean_s == pytest.approx(3.0, abs=0.01)
