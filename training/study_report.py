"""A study's results for people: the table beside the published figures, and a sentence for each difference that exceeds
the noise."""

from collections.abc import Container, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

import numpy as np

from training.study import Result, Study
from training.study_differences import Difference, differences, order, spread
from training.study_plan import Row
from training.study_starts import kind_of

KINDS = ("box", "mask")


_MISPRINTS = {("yolact-untrained", "box")}
"""Published figures that cannot be right: a box AP of 0.76 beside a mask AP of 14.5."""

_CAVEAT = (
    "The published figures are of networks with ResNet-50 on Cityscapes, by the original code's own evaluation: "
    "compare orders, not decimals."
)
_MOST_TOLD = 40
"""Sentences of differences for each kind."""


@dataclass(frozen=True)
class Table:
    """Figures by row in points of AP, 0 to 100: one a seed of each kind, and what is published for the same recipe,
    where it can be right."""

    figures: Mapping[str, Mapping[str, list[float]]]
    published: Mapping[str, Mapping[str, float]]
    certain: tuple[str, ...]
    """Rows in which nothing is left to chance."""
    target_pictures: Mapping[str, int | None]
    """By row: what it learned from, where that is not the whole target."""

    def of_kind(self, kind: str) -> dict[str, list[float]]:
        """Figures of "box" or "mask" by row."""
        return {name: row[kind] for name, row in self.figures.items()}


def table(study: Study, results: Sequence[Result]) -> Table:
    """The results by row, in the plan's order; rows without any are left out."""
    figures: dict[str, dict[str, list[float]]] = {}
    for name in study.plan.rows:
        own = [result for result in results if result.row == name]
        if own:
            figures[name] = {kind: [100 * getattr(result, kind) for result in own] for kind in KINDS}
    rows = {name: study.plan.rows[name] for name in figures}
    published: dict[str, dict[str, float]] = {}
    for kind in KINDS:
        printed = {name: _printed(row, kind) for name, row in rows.items() if (row.recipe, kind) not in _MISPRINTS}
        published[kind] = {name: figure for name, figure in printed.items() if figure is not None}
    certain = tuple(name for name in figures if name in study.certain)
    return Table(figures, published, certain, {name: row.target_pictures for name, row in rows.items()})


def _printed(row: Row, kind: str) -> float | None:
    """What the reference study prints for the row, if it is a row of that study."""
    figures = row.of_recipe.study_ap
    its_own = row.start in ("", kind_of(row)) and row.is_as_published
    return None if figures is None or not its_own else figures[KINDS.index(kind)]


def markdown(study: Study, results: Sequence[Result]) -> str:
    """The whole report, without its plots."""
    found = table(study, results)
    parts = ["\n".join(_rows(study, found)), *_notes(study, found), *_missing(study, results)]
    for kind in KINDS:
        parts += ["\n".join(_sentences(kind, found))]
    return "\n\n".join(part for part in parts if part) + "\n"


def _rows(study: Study, found: Table) -> Iterator[str]:
    yield "| row | box AP | mask AP | published box | published mask | seeds | what it is |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: | --- |"
    common = common_changes(study, found)
    for name, figures in found.figures.items():
        row = study.plan.rows[name]
        own = " | ".join(_mean_and_spread(figures[kind], name in found.certain) for kind in KINDS)
        theirs = " | ".join(_in_print(row, kind) for kind in KINDS)
        seeds = "any" if name in found.certain else len(figures["box"])
        what = ", ".join([row.of_recipe.summary, *changes_in_words(row, common)])
        yield f"| {name} | {own} | {theirs} | {seeds} | {what} |"


def common_changes(study: Study, found: Table) -> dict[str, Any]:
    """What all rows change that are trained, by field, if there are several."""
    rows = [study.plan.rows[name] for name in found.figures]
    trained = [row.changes for row in rows if row.of_recipe.steps]
    if len(trained) < 2:
        return {}
    return {field: value for field, value in trained[0].items() if all(each.get(field) == value for each in trained)}


def changes_in_words(row: Row, without: Container[str]) -> list[str]:
    """What a row changes of its recipe, but for the fields ``without``."""
    return [_in_words(field, value) for field, value in row.changes.items() if field not in without]


def _in_words(field: str, value: Any) -> str:
    name = field.replace("_", " ")
    if field == "start":
        return f"from {value}"
    if field in ("target_pictures", "source_pictures"):
        return f"{value} {name}"
    if isinstance(value, bool):
        return name if value else f"no {name}"
    if isinstance(value, list | tuple):
        return f"{name} {' '.join(value)}"
    return f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}"


def _in_print(row: Row, kind: str) -> str:
    figure = _printed(row, kind)
    mark = " (so printed)" if (row.recipe, kind) in _MISPRINTS else ""
    return "" if figure is None else f"{figure:g}{mark}"


def _notes(study: Study, found: Table) -> Iterator[str]:
    if any(_printed(study.plan.rows[name], kind) for name in found.figures for kind in KINDS):
        yield _CAVEAT
    if common := common_changes(study, found):
        yield f"In every row that is trained: {', '.join(_in_words(*each) for each in common.items())}."
    if study.same_as:
        yield "\n".join(f"- {name} is the same training as {other}" for name, other in study.same_as.items())


def _mean_and_spread(figures: Sequence[float], certain: bool) -> str:
    if certain or len(figures) < 2:
        return f"{figures[0]:.1f}"
    return f"{np.mean(figures):.1f} ± {np.std(figures, ddof=1):.1f}"


def _missing(study: Study, results: Sequence[Result]) -> list[str]:
    left = len(study.runs()) - len(results)
    lines = [f"- {name}: {reason}" for name, reason in study.left_out.items()]
    told = ["Rows that were not trained:\n\n" + "\n".join(lines)] if lines else []
    failed = [f"- {name}, seed {seed}: {reason}" for (name, seed), reason in study.failures().items()]
    told += ["Runs that failed:\n\n" + "\n".join(failed)] if failed else []
    return told + ([f"{left} of {len(study.runs())} runs are not finished."] if left else [])


def _sentences(kind: str, found: Table) -> Iterator[str]:
    """What can be said of the rows' order by one kind of AP."""
    figures = found.of_kind(kind)
    every = differences(figures, found.certain)
    deviation = spread({name: row for name, row in figures.items() if name not in found.certain})
    yield f"## By {kind} AP"
    yield ""
    if deviation is None:
        yield "No row has seeds that differ: no difference can be told from chance. Train with two seeds or more."
        return
    told = [each for each in every if each.exceeds_noise]
    yield (
        f"Between seeds of one row the standard deviation is {deviation:.2f} points, taken as equal in all rows. "
        f"{len(told)} of {len(every)} differences exceed the noise (Tukey and Kramer, 95 % for all pairs of this kind "
        "of AP together, not of both kinds; chance of seeds alone, not of the pictures that are measured on)"
        f"{':' if told else '.'}"
    )
    if told:
        yield ""
        yield from _told(told, {_best(figures), *found.published[kind]})
    # published rows learned from equally many: with fewer pictures any recipe may fall behind any other
    alike = [each for each in every if found.target_pictures[each.better] == found.target_pictures[each.worse]]
    yield from _against_published(alike, found.published[kind])


def _best(figures: Mapping[str, Sequence[float]]) -> str:
    return max(figures, key=lambda name: float(np.mean(figures[name])))


def _told(differences: Sequence[Difference], first: Set[str]) -> Iterator[str]:
    """Sentences, those of the rows ``first`` first, and how many more there are."""
    ordered = sorted(differences, key=lambda each: not {each.better, each.worse} & first)
    yield from (f"- {sentence(each)}" for each in ordered[:_MOST_TOLD])
    if len(ordered) > _MOST_TOLD:
        yield f"- and {len(ordered) - _MOST_TOLD} more"


def sentence(each: Difference) -> str:
    """A difference in words."""
    return f"{each.better} is above {each.worse} by {each.by:.1f} points ({each.low:.1f} to {each.high:.1f})"


def _against_published(every: Sequence[Difference], published: Mapping[str, float]) -> Iterator[str]:
    held = order(every, published)
    decided = len(held.agreeing) + len(held.opposed)
    if not decided + held.undecided:
        return
    yield ""
    yield (
        f"Of {decided + held.undecided} pairs with published figures {len(held.agreeing)} stand in the published "
        f"order, {len(held.opposed)} against it, {held.undecided} within the noise."
    )
    for each in held.opposed:
        yield (
            f"- Against it: {each.better} over {each.worse}, where {published[each.better]:g} and "
            f"{published[each.worse]:g} are published."
        )
