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
    one = pair([0.5, *[0.2, 0.4] * 3, None], "imagenet.pth")
    other = pair([0.0, *[0.1, 0.3] * 3, 0.1], "coco.pth")
    (starts,) = compared_starts([one, other])
    assert starts.target == ("3 pictures",)
    assert [index for index, _ in starts.means] == [1, 0]
    assert [mean for _, mean in starts.means] == pytest.approx([0.2, 0.3])
    assert starts.sentence == (
        "Of the starts for 3 pictures, which the files tell by name alone, coco.pth moved least: 0.2 on average over "
        "the 6 layers that moved in all, before imagenet.pth with 0.3, and less than that in 6 of them: the better "
        "start it would be, by the study's finding, if trained alike"
    )


@pytest.mark.parametrize(("less", "layers", "clear"), [(12, 16, False), (13, 16, True), (4, 4, False), (5, 5, True)])
def test_a_start_stands_out_by_a_clear_majority_of_layers(less: int, layers: int, clear: bool) -> None:
    """Fair coins would fall one way as often up to twice their deviation."""
    near = pair([0.1] * less + [0.11] * (layers - less), "a.pt")
    (starts,) = compared_starts([near, pair([0.2] * less + [0.1] * (layers - less), "b.pt")])
    assert starts.means[0][0] == 0
    found = "the better start it would be, by the study's finding, if trained alike" if clear else "no clear majority"
    assert starts.sentence.endswith(f"and less than that in {less} of them: {found}")


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


def test_a_source_beside_the_target_makes_no_other_target() -> None:
    pairs = [pair([0.1], "a.pt"), pair([0.2], "b.pt", target=("3 pictures", "9 pictures"))]
    (starts,) = compared_starts(pairs)
    assert starts.target == ("3 pictures",)
    assert starts.sentence.endswith("; but some saw other data beside it, which alone may be why")


@pytest.mark.parametrize(
    ("steps", "told"),
    [
        ((500, None), "their steps differ (a.pt 500, b.pt unknown)"),
        ((500, 0), "their steps differ (a.pt 500, b.pt 0)"),
        ((None, None), "their steps are not known (a.pt unknown, b.pt unknown)"),
    ],
)
def test_other_numbers_of_steps_are_told(steps: tuple[int | None, int | None], told: str) -> None:
    (starts,) = compared_starts([pair([0.1], "a.pt", steps=steps[0]), pair([0.2], "b.pt", steps=steps[1])])
    assert starts.sentence.endswith(f"; but {told}, which alone may be why")
