"""A study's learning curves: mask AP over the number of target pictures, of rows that are alike but for that."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from training.data.location import picture_count
from training.study import Result, Study
from training.study_plan import Row
from training.study_report import changes_in_words, common_changes, table


@dataclass(frozen=True)
class LearningCurve:
    """Mask AP of one way to train, 0 to 100, a figure a seed, by the number of target pictures, rising."""

    name: str
    points: Mapping[int, Sequence[float]]


def learning_curves(study: Study, results: Sequence[Result]) -> list[LearningCurve]:
    """The curves of what is finished, in the plan's order, or none as long as no way has two numbers of pictures.

    A row that says no number has the whole target; one that is the same training as another has the other's figures.
    Raises ``DataError`` where the target is not to be read.
    """
    figures = table(study, results).of_kind("mask")
    if not any(study.plan.rows[name].target_pictures for name in figures):
        return []
    figures |= {name: figures[other] for name, other in study.same_as.items() if other in figures}
    ways: dict[Row, list[str]] = {}
    for name, row in study.plan.rows.items():
        if row.of_recipe.steps:
            ways.setdefault(_way(row), []).append(name)
    numbers = _numbers(study, [name for names in ways.values() for name in names if name in figures])
    curves = []
    for title, names in zip(_named(study, results, ways), ways.values(), strict=True):
        points: dict[int, list[float]] = {}
        own = [name for name in names if name in numbers and study.same_as.get(name) not in names]
        for name in sorted(own, key=numbers.__getitem__):
            points.setdefault(numbers[name], []).extend(figures[name])
        curves += [LearningCurve(title, points)] if points else []
    return curves if any(len(curve.points) > 1 for curve in curves) else []


def _way(row: Row) -> Row:
    """The row, whatever the number of its pictures."""
    return msgspec.structs.replace(row, target_pictures=None)


def _numbers(study: Study, names: Sequence[str]) -> dict[str, int]:
    """Of target pictures, by row."""
    said = {name: study.plan.rows[name].target_pictures for name in names}
    whole = picture_count(study.base.target[0]) if None in said.values() else 0
    return {name: whole if number is None else number for name, number in said.items()}


def _named(study: Study, results: Sequence[Result], ways: Mapping[Row, Sequence[str]]) -> list[str]:
    """Each way by what its rows' names share, or where that is nothing or another's too, by its recipe and changes."""
    shared = [_shared(names) for names in ways.values()]
    common = {"target_pictures", *common_changes(study, table(study, results))}
    return [
        name if name and shared.count(name) == 1 else ", ".join([way.recipe, *changes_in_words(way, common)])
        for name, way in zip(shared, ways, strict=True)
    ]


def _shared(names: Sequence[str]) -> str:
    """The longest of the names, with or without what stands behind its last comma, that is so in all of them."""
    found = set.intersection(*({name, name.rpartition(", ")[0]} for name in names))
    return max(found, key=len, default="")
