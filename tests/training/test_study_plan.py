from pathlib import Path
from typing import get_type_hints

import pytest

from scene.errors import ConfigurationError
from training.command import TrainArguments
from training.recipes import STUDY
from training.study_flags import Trainings
from training.study_plan import PLANS, Plan, Row, of_recipes


def test_a_plan_without_rows_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="rows: expected at least one row"):
        Plan({}).resolved({})


@pytest.mark.parametrize("name", PLANS)
def test_what_is_built_in_is_whole(name: str) -> None:
    plan = PLANS[name].resolved({"steps": 7, "preset": "street-nano"}, (4, 5, 6))
    assert plan.seeds == (4, 5, 6)
    trained = [row for row in plan.rows.values() if row.of_recipe.steps]
    assert {row.steps for row in trained} == {7}
    assert {row.steps for row in plan.rows.values() if row not in trained} <= {None}


def test_the_published_plan_is_the_studys_tables() -> None:
    assert tuple(PLANS["published"].rows) == tuple(STUDY)


def test_what_a_row_says_goes_before_what_is_said_of_all_and_the_users_word_before_both() -> None:
    plan = Plan({"a": Row("plus-full", batch=2), "b": Row("plus-head")}, all={"batch": 16, "steps": 10})
    rows = plan.resolved({"steps": 3}).rows
    assert (rows["a"].batch, rows["b"].batch) == (2, 16)
    assert (rows["a"].steps, rows["b"].steps) == (3, 3)


def test_rows_of_the_focal_plan_differ_in_their_loss_alone() -> None:
    """From any weights: class layers that one of them could go on with start anew in all."""
    rows = PLANS["focal"].resolved({}).rows
    assert {row.start for row in rows.values()} == {""}
    assert all(row.reinitialise_classes for row in rows.values())
    assert len({*map(repr, rows.values())}) == len(rows)
    stars = {(row.gamma, row.beta) for row in rows.values() if row.class_loss == "focal-star"}
    assert stars == {(2.0, 1.0), (4.0, 0.0)}


def test_rows_of_the_pictures_plan_are_three_ways_that_differ_in_how_much_they_see() -> None:
    rows = PLANS["pictures"].resolved({}).rows
    found = {(row.recipe, row.start, row.target_pictures) for row in rows.values()}
    ways = (("nano-study", "nothing"), ("plus-head", ""), ("plus-full", ""))
    assert found == {(*way, count) for way in ways for count in (25, 100, 400)}
    assert {row.schedule for row in rows.values()} == {"nano-study"}
    assert PLANS["pictures"].seeds == (1, 2)


def test_every_row_takes_the_users_schedule_and_number_of_pictures() -> None:
    plan = PLANS["focal"].resolved(Trainings(schedule="nano-study", target_pictures=30).changes())
    assert {(row.schedule, row.target_pictures) for row in plan.rows.values()} == {("nano-study", 30)}
    assert {row.arguments(TrainArguments((), Path())).target_pictures for row in plan.rows.values()} == {30}


def test_a_row_may_say_no_to_what_is_said_of_all() -> None:
    plan = Plan(
        {"a": Row("plus-full", jitter=False, reinitialise_classes=False), "b": Row("plus-head")},
        all={"jitter": True, "reinitialise_classes": True},
    )
    base = TrainArguments((), Path())
    found = [row.arguments(base) for row in plan.resolved({}).rows.values()]
    assert [(each.jitter, each.reinitialise_classes) for each in found] == [(False, False), (True, True)]


def test_what_is_said_of_all_is_not_of_a_row_that_trains_nothing_unless_it_is_of_the_network() -> None:
    said = {"class_loss": "focal", "alpha": 0.5, "gamma": 1.0, "ema_decay": 0.9, "jitter": True, "freeze_first": 3,
            "accumulate": 2, "batch_norm": "stored", "steps": 5, "target_pictures": 9, "reinitialise_classes": True,
            "size": "128x64"}  # fmt: skip
    assert Plan({"a": Row("yolact-untrained")}, all=said).resolved({}).rows["a"].changes == {"size": "128x64"}


def test_a_row_that_changes_how_it_is_trained_is_none_of_the_published() -> None:
    as_published = [name for name, row in PLANS["focal"].resolved({"steps": 9}).rows.items() if row.is_as_published]
    assert as_published == [], "class layers start anew"
    assert Row("plus-full-coco1000", source_pictures=3, preset="street-nano", precision="float32").is_as_published
    assert Row("plus-full", target_pictures=100).is_as_published, "data may be others"
    for odd in (
        Row("plus-full", freeze_first=3),
        Row("plus-full", jitter=True),
        *(row for row in PLANS["back"].resolved({}).rows.values() if row.of_recipe.steps),
    ):
        assert not odd.is_as_published


def test_on_the_way_back_what_is_trained_begins_with_new_class_layers_and_what_is_measured_keeps_its_own() -> None:
    rows = PLANS["back"].resolved({"steps": 9, "preset": "street-nano"}).rows
    anew = {name: row.arguments(TrainArguments((), Path())).reinitialise_classes for name, row in rows.items()}
    assert anew == {"no training": False, "straight on": True, "by way of the target": True}
    assert {name: row.start for name, row in rows.items() if row.start != "source"} == {"by way of the target": "tuned"}


def test_a_recipe_named_twice_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="recipes: expected every name once"):
        of_recipes(("plus-full", "plus-full"))


def test_a_row_says_nothing_that_train_has_no_flag_for() -> None:
    flags = get_type_hints(TrainArguments)
    fields = {name: kind for name, kind in get_type_hints(Row).items() if name != "start"}
    assert {name: bool | None if flags.get(name) is bool else flags.get(name) for name in fields} == fields


def test_pictures_for_all_rows_are_refused_where_rows_have_their_own() -> None:
    with pytest.raises(ConfigurationError, match="target_pictures: expected none for all rows"):
        PLANS["pictures"].resolved(Trainings(target_pictures=30).changes())
