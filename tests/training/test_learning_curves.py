"""Which rows of a study are one curve, of results that are made up."""

from dataclasses import replace
from pathlib import Path

import pytest

from scene.errors import DataError
from tests.training.coco_on_disk import write_coco
from tests.training.made_up_results import results_of, study_of
from training.learning_curves import learning_curves
from training.study_plan import PLANS, Row


def test_of_no_results_there_is_no_curve() -> None:
    assert learning_curves(study_of(PLANS["pictures"].resolved({}).rows), []) == []


def test_the_built_in_plan_has_three_as_soon_as_one_way_has_two_points() -> None:
    study = study_of(PLANS["pictures"].resolved({}).rows)
    figures = {"scratch, 25": [1.0, 2.0], "head, 25": [5.0], "everything, 25": [4.0]}
    assert learning_curves(study, results_of(figures)) == []
    found = learning_curves(study, results_of(figures | {"head, 400": [7.0], "head, 100": [6.0]}))
    assert [(curve.name, {number: [*map(round, row)] for number, row in curve.points.items()}) for curve in found] == [
        ("scratch", {25: [1, 2]}),
        ("head", {25: [5], 100: [6], 400: [7]}),
        ("everything", {25: [4]}),
    ]
    assert [*found[1].points] == [25, 100, 400], "rising"


def test_a_row_without_a_number_has_the_whole_target_and_one_without_steps_has_none(tmp_path: Path) -> None:
    rows = {
        "all, 5": Row("plus-full", target_pictures=5),
        "all": Row("plus-full"),
        "all, 7": Row("plus-full", target_pictures=7),
        "as it is": Row("yolact-untrained"),
    }
    study, results = study_of(rows, tmp_path), results_of({name: [9.0] for name in rows})
    with pytest.raises(DataError, match="expected a data set at"):
        learning_curves(study, results)
    write_coco(tmp_path / "data", (4, 4), 7, [])
    (curve,) = learning_curves(study, results)
    assert (curve.name, {number: len(figures) for number, figures in curve.points.items()}) == ("all", {5: 1, 7: 2})
    without = {name: row for name, row in rows.items() if name not in ("all, 5", "all, 7")}
    assert learning_curves(study_of(without, tmp_path), results) == [], "nothing differs"


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("gamma 2, few", "gamma 2, many", "gamma 1", "gamma 1, many"), ["gamma 2", "gamma 1"]),
        (
            ("focal, few", "focal, many", "focal, 1", "focal, 2"),
            ["plus-full-focal, gamma 2", "plus-full-focal, gamma 1"],
        ),
        (("a", "b", "c", "d"), ["plus-full-focal, gamma 2", "plus-full-focal, gamma 1"]),
        (("a, 3", "a, 4", "c", "d"), ["a", "plus-full-focal, gamma 1"]),
    ],
)
def test_a_curve_is_called_what_its_rows_share_or_what_they_train(names: tuple[str, ...], expected: list[str]) -> None:
    rows = {
        name: Row("plus-full-focal", gamma=gamma, steps=9, target_pictures=number)
        for name, (gamma, number) in zip(names, ((2.0, 3), (2.0, 4), (1.0, 3), (1.0, 4)), strict=True)
    }
    found = learning_curves(study_of(rows), results_of({name: [1.0] for name in rows}))
    assert [curve.name for curve in found] == expected


def test_what_is_the_same_training_by_two_names_is_in_the_curves_of_both_and_in_none_twice() -> None:
    rows = {
        "a, 5": Row("plus-head", target_pictures=5),
        "a, 7": Row("plus-head", target_pictures=7),
        "b, 5": Row("yolact-head", target_pictures=5),
        "b, 9": Row("yolact-head", target_pictures=9),
        "a too, 7": Row("plus-head", target_pictures=7),
    }
    study = replace(study_of(rows), same_as={"b, 5": "a, 5", "a too, 7": "a, 7"})
    found = learning_curves(study, results_of({"a, 5": [1.0], "a, 7": [2.0], "b, 9": [3.0]}))
    points = [{number: [*map(round, figures)] for number, figures in curve.points.items()} for curve in found]
    assert points == [{5: [1], 7: [2]}, {5: [1], 9: [3]}]
