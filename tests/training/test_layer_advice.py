from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.layer_advice import LOW, compared_starts, suggested_freezing
from training.layer_difference import LayerDifference, NotComparable, PairDifferences


def pair(
    differences: Sequence[float | None],
    base: str = "base.pt",
    target: tuple[str, ...] = ("3 pictures",),
    steps: int | None = 5,
) -> PairDifferences:
    """Layers of a protonet, by their differences; None for one that cannot be compared."""
    layers, others = [], []
    for index, difference in enumerate(differences, 1):
        name, part = f"proto_net.{index}", "proto_net"
        if difference is None:
            others.append(NotComparable(index, name, part, "not in base.pt"))
        else:
            layers.append(LayerDifference(index, name, part, difference, weights=9))
    return PairDifferences(Path(base), Path("tuned.pt"), tuple(layers), tuple(others), target, steps)


def test_of_layers_that_did_not_move_nothing_follows() -> None:
    assert suggested_freezing(pair([0.0] * 9)).first == 0
    assert suggested_freezing(pair([0.0] * 9)).sentence() == (
        "freeze nothing: no layer moved at all, so that there is nothing to tell from"
    )


def test_where_the_first_cannot_be_compared_nothing_follows() -> None:
    advice = suggested_freezing(pair([None, *[0.1] * 9, *[1.0] * 9]))
    assert (advice.first, advice.reason) == (0, "proto_net.1, the first, cannot be compared")


def test_layers_that_moved_alike_are_not_frozen() -> None:
    advice = suggested_freezing(pair([0.2] * 12))
    assert advice.first == 0
    assert advice.reason == (
        "the first layers moved by 0.2, their median, where little would be 0.1, half of the median over the 12 layers "
        "that moved"
    )


@pytest.mark.parametrize(
    ("differences", "first"),
    [
        ([0.1] * 6 + [1.0] * 9, 6),
        ([0.5] * 6 + [1.0] * 9, 6),
        ([0.51] * 6 + [1.0] * 9, 0),
        ([0.1] * 3 + [9.0] + [0.1] * 3 + [1.0] * 9, 7),
        ([9.0] + [0.1] * 6 + [1.0] * 9, 7),
        ([0.1] * 3 + [9.0] * 3 + [0.1] * 3 + [1.0] * 9, 3),
        ([0.1] * 6 + [1.0] * 19 + [0.1] * 6, 6),
        ([1.0] * 6 + [0.1] * 5 + [1.0] * 9, 0),
        ([0.1] * 4 + [None, 0.1] + [1.0] * 9, 4),
        ([0.1, 1.0], 1),
        ([0.0] * 3 + [0.1] * 5 + [1.0] * 9, 8),
    ],
    ids=[
        *("clear", "just", "too near", "a spike within", "a spike first", "three spikes", "low at the other end"),
        *("low in the middle", "not comparable", "few", "frozen ones are no part of the median"),
    ],
)
def test_the_run_from_the_input_side(differences: list[float | None], first: int) -> None:
    assert suggested_freezing(pair(differences)).first == first


@pytest.mark.parametrize(
    ("differences", "told"),
    [
        ([0.0] * 6 + [1.0] * 9, "the first 6"),
        ([0.0] * 6 + [0.1] * 2 + [1.0] * 9, "of the first 8 6"),
        ([0.0] * 4 + [0.1] * 4 + [1.0] * 9, "of the first 8 4"),
    ],
)
def test_what_was_frozen_is_not_suggested_to_be_frozen(differences: list[float], told: str) -> None:
    assert suggested_freezing(pair(differences)).sentence() == (
        f"freeze nothing: {told} did not move at all because they were frozen, so that nothing follows for them"
    )


def test_the_suggestion_says_how_and_why() -> None:
    advice = suggested_freezing(pair([0.0, 0.0, 0.1, 9.0, 0.1, 0.1, *[1.0] * 9]))
    assert advice.sentence() == (
        "freeze the first 5, with `--freeze-first 5`: up to proto_net.5 they moved by no more than 0.5, half of the "
        "median over the 13 layers that moved, but for proto_net.4 (9); 2 of them did not move at all: were they "
        "frozen, that says nothing"
    )


@given(st.lists(st.floats(0, 2), min_size=1, max_size=40))
def test_something_is_left_to_learn_and_most_of_what_is_frozen_is_low(differences: list[float]) -> None:
    advice = suggested_freezing(pair(differences))
    assert 0 <= advice.first < len(differences)
    if advice.first:
        moved = sorted(each for each in differences if each)
        limit = LOW * (moved[(len(moved) - 1) // 2] + moved[len(moved) // 2]) / 2
        run = differences[: advice.first]
        assert run[-1] <= limit
        assert sum(each <= limit for each in run) * 5 >= 2 * len(run)


@given(st.lists(st.floats(0, 1), min_size=8, max_size=40), st.sampled_from([2.0**-20, 2.0**10]))
def test_the_suggestion_does_not_hang_on_how_far_everything_moved(differences: list[float], factor: float) -> None:
    rounded = [round(each, 3) for each in differences]
    assert suggested_freezing(pair(rounded)).first == suggested_freezing(pair([factor * e for e in rounded])).first


@pytest.mark.parametrize(
    "pairs",
    [
        [],
        [pair([0.1])],
        [pair([0.1]), pair([0.2])],
        [pair([0.1]), pair([0.2], "other.pt", target=("4 pictures",))],
        [pair([0.0, 0.1]), pair([0.1, 0.0], "other.pt")],
    ],
    ids=["none", "one", "one start", "two targets", "nothing that moved in both"],
)
def test_nothing_to_compare(pairs: list[PairDifferences]) -> None:
    assert compared_starts(pairs) == []


def test_the_start_that_moved_least() -> None:
    """Over what moved in both: the second's first layer was frozen, the first's last is not comparable."""
    one, other = pair([0.5, 0.2, 0.4, None], "imagenet.pth"), pair([0.0, 0.1, 0.3, 0.1], "coco.pth")
    (starts,) = compared_starts([one, other])
    assert starts.target == ("3 pictures",)
    assert [index for index, _ in starts.means] == [1, 0]
    assert [mean for _, mean in starts.means] == pytest.approx([0.2, 0.3])
    assert starts.sentence == (
        "Of the starts for 3 pictures, coco.pth moved least: 0.2 on average over the 2 layers that moved in all, "
        "before imagenet.pth with 0.3, and less than that in 2 of them: the better start, by the study's finding"
    )


def test_a_start_that_moved_less_in_few_layers_does_not_stand_out() -> None:
    (starts,) = compared_starts([pair([0.1, 0.1, 0.9], "imagenet.pth"), pair([0.2, 0.2, 0.2], "coco.pth")])
    assert starts.means[0][0] == 1
    assert starts.sentence.endswith("with 0.367, and less than that in 1 of them: no start stands out")


def test_two_trainings_of_the_best_start_are_held_against_another() -> None:
    pairs = [pair([0.1], "coco.pth"), pair([0.2], "coco.pth"), pair([0.3], "imagenet.pth")]
    (starts,) = compared_starts(pairs)
    assert "before imagenet.pth with 0.3," in starts.sentence


def test_each_target_has_its_starts_and_unnamed_ones_are_taken_for_one() -> None:
    pairs = [
        *(pair([0.1], "a.pt"), pair([0.2], "b.pt", target=()), pair([0.3], "c.pt", target=())),
        *(pair([0.4], "d.pt"), pair([0.5], "e.pt", target=("4 pictures",))),
    ]
    named, unnamed = compared_starts(pairs)
    assert ([index for index, _ in named.means], [index for index, _ in unnamed.means]) == ([0, 3], [1, 2])
    assert unnamed.sentence.startswith("Of the starts for what may be one target, which the files do not name, b.pt")


def test_other_numbers_of_steps_are_told() -> None:
    (starts,) = compared_starts([pair([0.1], "a.pt", steps=500), pair([0.2], "b.pt", steps=None)])
    assert starts.sentence.endswith("; but their steps differ, which alone may be why (a.pt 500, b.pt unknown)")
