"""A study's results for people: the table beside the published figures, and a sentence for each difference that exceeds
the noise."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from training.study import Result, Study
from training.study_differences import Difference, differences, order, spread

KINDS = ("box", "mask")


@dataclass(frozen=True)
class Table:
    """Figures by row in points of AP, 0 to 100: one a seed of each kind, and what is published for the row's recipe."""

    figures: Mapping[str, Mapping[str, list[float]]]
    published: Mapping[str, Mapping[str, float]]
    certain: tuple[str, ...]
    """Rows in which nothing is left to chance."""

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
    recipes = {name: row.of_recipe for name, row in study.plan.rows.items()}
    printed = {name: dict(zip(KINDS, each.study_ap, strict=True)) for name, each in recipes.items() if each.study_ap}
    published = {kind: {name: figure[kind] for name, figure in printed.items()} for kind in KINDS}
    return Table(figures, published, tuple(name for name in figures if not recipes[name].steps))


def markdown(study: Study, results: Sequence[Result]) -> str:
    """The whole report, without its plots."""
    found = table(study, results)
    parts = ["\n".join(_rows(study, found)), *_missing(study, results)]
    for kind in KINDS:
        parts += ["\n".join(_sentences(kind, found))]
    return "\n\n".join(part for part in parts if part) + "\n"


def _rows(study: Study, found: Table) -> Iterator[str]:
    yield "| row | box AP | mask AP | published box | published mask | seeds | what it is |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: | --- |"
    for name, figures in found.figures.items():
        own = " | ".join(_mean_and_spread(figures[kind], name in found.certain) for kind in KINDS)
        theirs = " | ".join(_one(found.published[kind].get(name)) for kind in KINDS)
        seeds = "any" if name in found.certain else len(figures["box"])
        yield f"| {name} | {own} | {theirs} | {seeds} | {study.plan.rows[name].of_recipe.summary} |"


def _mean_and_spread(figures: Sequence[float], certain: bool) -> str:
    if certain or len(figures) < 2:
        return f"{figures[0]:.1f}"
    return f"{np.mean(figures):.1f} ± {np.std(figures, ddof=1):.1f}"


def _one(figure: float | None) -> str:
    return "" if figure is None else f"{figure:g}"


def _missing(study: Study, results: Sequence[Result]) -> list[str]:
    left = len(study.runs()) - len(results)
    lines = [f"- {name}: {reason}" for name, reason in study.left_out.items()]
    told = ["Rows that were not trained:\n\n" + "\n".join(lines)] if lines else []
    return told + ([f"{left} of {len(study.runs())} runs are not finished."] if left else [])


def _sentences(kind: str, found: Table) -> Iterator[str]:
    """What can be said of the rows' order by one kind of AP."""
    figures = found.of_kind(kind)
    every = differences(figures, found.certain)
    deviation = spread({name: row for name, row in figures.items() if name not in found.certain})
    yield f"## By {kind} AP"
    yield ""
    if deviation is None:
        yield "One seed a row: no difference can be told from chance. Train with two or more."
        return
    told = [each for each in every if each.exceeds_noise]
    yield (
        f"Between seeds of one row the standard deviation is {deviation:.2f} points. {len(told)} of {len(every)} "
        "differences exceed the noise (Tukey and Kramer, 95 % for all pairs together; chance of seeds alone, not of "
        f"the pictures that are measured on){':' if told else '.'}"
    )
    if told:
        yield ""
        yield from (f"- {sentence(each)}" for each in told)
    yield from _against_published(every, found.published[kind])


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
