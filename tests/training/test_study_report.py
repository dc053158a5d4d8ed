"""The table and its sentences, of results that are made up."""

from pathlib import Path

from tests.training.made_up_results import results_of, study_of
from training.recipes import STUDY
from training.study_differences import Difference
from training.study_plan import PLANS, Row
from training.study_report import _told, markdown, table


def test_no_results() -> None:
    text = markdown(study_of({"a": Row("plus-full")}), [])
    assert "No row has seeds that differ" in text
    assert "published figures are" not in text


def test_published_figures_stand_beside_rows_of_the_published_recipe_alone(tmp_path: Path) -> None:
    for name, expected in (("published", {*STUDY}), ("focal", set()), ("back", set())):
        rows = PLANS[name].resolved({"steps": 9}).rows
        study = study_of(rows)
        results = results_of({row: [1.0, 2.0] for row in rows})
        assert table(study, results).published["mask"].keys() == expected
        text = markdown(study, results)
        assert text.count("compare orders, not decimals") == bool(expected)
    assert table(study_of({"a": Row("plus-full", start="yolact++")}), results_of({"a": [1.0]})).published["box"]


def test_a_figure_that_cannot_be_right_is_marked_and_compared_with_none() -> None:
    study = study_of({"as it is": Row("yolact-untrained"), "all": Row("plus-full"), "head": Row("plus-head")})
    results = results_of({"as it is": [90.0, 90.1], "all": [50.0, 50.1], "head": [10.0, 10.1]})
    assert table(study, results).published["box"].keys() == {"all", "head"}
    text = markdown(study, results)
    assert "| 0.76 (so printed) | 14.5 |" in text
    box, mask = text.split("## By mask AP")
    assert "Of 1 pairs with published figures 1 stand" in box
    assert "Of 3 pairs with published figures 0 stand" in mask


def test_rows_of_different_numbers_of_pictures_are_not_held_against_the_published_order() -> None:
    rows = {
        "head": Row("plus-head"),
        "all": Row("plus-full"),
        "head of few": Row("plus-head", target_pictures=25),
        "all of few": Row("plus-full", target_pictures=25),
    }
    figures = {"head": [50.0, 50.1], "all": [30.0, 30.1], "head of few": [10.0, 10.1], "all of few": [20.0, 20.1]}
    study, results = study_of(rows), results_of(figures)
    assert table(study, results).published["mask"].keys() == rows.keys()
    box, mask = markdown(study, results).split("## By mask AP")
    assert "6 of 6 differences exceed the noise" in mask
    assert "Of 2 pairs with published figures 1 stand in the published order, 1 against it, 0 within" in mask
    assert "- Against it: all of few over head of few, where 17.59 and 21.04 are published." in mask
    assert "- Against it: head over all, where 23.61 and 28.22 are published." in box
    assert "everything, 25 target pictures |" in box


def test_what_a_row_changes_stands_beside_it_and_what_all_change_below() -> None:
    rows = {
        "a": Row("plus-full-focal", gamma=1.0, steps=300, preset="street-nano"),
        "b": Row("plus-full-coco1000", source_pictures=33, steps=300, preset="street-nano", jitter=True),
        "c": Row("plus-full", start="source", steps=300, preset="street-nano", classes=("car", "bus")),
        "d": Row("yolact-untrained", preset="street-nano"),
    }
    text = markdown(study_of(rows), results_of({name: [1.0, 2.0] for name in rows}))
    for end in ("focal loss, gamma 1 |", ", 33 source pictures, jitter |", "everything, from source, classes car bus |",
                "classes mapped: an evaluation |"):  # fmt: skip
        assert end in text
    assert "\n\nIn every row that is trained: preset street-nano, steps 300.\n\n" in text


def test_seeds_that_never_differ_tell_nothing() -> None:
    rows = {"a": Row("plus-full"), "b": Row("plus-head")}
    text = markdown(study_of(rows), results_of({"a": [9.0, 9.0], "b": [1.0, 1.0]}))
    assert text.count("No row has seeds that differ: no difference can be told from chance.") == 2
    assert "exceed" not in text


def test_the_best_and_the_published_come_first_and_there_is_an_end() -> None:
    found = [Difference(f"{n}", "low", 50.0 - n, 1.0, 2.0) for n in range(45)] + [Difference("top", "1", 0.5, 0.1, 0.9)]
    lines = [*_told(found, {"top", "44"})]
    assert [line.split(" is")[0] for line in lines[:3]] == ["- 44", "- top", "- 0"]
    assert (len(lines), lines[-1]) == (41, "- and 6 more")
