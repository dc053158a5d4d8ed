"""``streetmask layers --sweep``: AP over how many convolutions are frozen from the input side, for each start."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, count
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from scene.disk import whole_file
from scene.errors import require
from training.charts import chart
from training.command import TrainArguments, prepare
from training.freezing import carried_over, freeze
from training.layer_difference import PairDifferences
from training.layer_report import short_names
from training.recipes import RECIPES
from training.study import Result, Study
from training.study_differences import differences, spread
from training.study_plan import Plan, Row
from training.study_report import KINDS, Table, sentence, table
from training.study_starts import kind_of_file

PICTURE, PAGE = "sweep.png", "sweep.md"

_ENDINGS = (".pt", ".pth", ".safetensors")
"""Of weight files, which names do without."""

_BY_KIND = (("plus-imagenet", "plus-full"), ("yolact-imagenet", "yolact-full"))
"""Recipes that are one but for what they begin with: a backbone, or a whole network."""

_LESS_COMMON = ", less what a seed does to all of them, the rest taken as equal and independent"


@dataclass(frozen=True)
class Sweep:
    """Frozen counts 0, ``every``, 2 x ``every`` and so on up to ``most``, with each of the seeds; ``changes`` are of
    every training (``training.study_plan.Row``). A ``recipe`` for backbones is also its like for whole networks."""

    every: int
    most: int
    seeds: tuple[int, ...]
    recipe: str
    changes: Mapping[str, Any]

    def __post_init__(self) -> None:
        require("every", self.every >= 1, "1 or more", self.every)
        require("most", self.most >= 1, "1 or more", self.most)

    def counts(self, carried: int) -> range:
        """How many convolutions are frozen, from a start with so many to freeze."""
        return range(0, min(self.most, carried) + 1, self.every)


def starts_of(pairs: Sequence[PairDifferences]) -> dict[str, Path]:
    """The weights before, each once, in order, under a name that a folder can have; no two have the same."""
    starts: dict[str, Path] = {}
    for path, short in short_names(dict.fromkeys(pair.base for pair in pairs)).items():
        whole, bare = (
            re.sub(r"[\\/:\s]+", " ", str(name)).strip(". ")
            for name in (short, short.with_suffix("") if short.suffix in _ENDINGS else short)
        )
        names = chain((bare, whole), (f"{whole} {number}" for number in count(2)))
        starts[next(name for name in names if name not in starts)] = path
    return starts


def sweep_study(sweep: Sweep, starts: Mapping[str, Path], base: TrainArguments) -> Study:
    """Every start with every count as a row, up to the last convolution that its weights were carried over to: behind
    it there is nothing more to freeze.

    Raises ``ConfigurationError`` and ``DataError`` for whatever one of the trainings would refuse: it is a matter of
    hours until the last start has its turn.
    """
    rows: dict[str, Row] = {}
    for start, path in starts.items():
        unfrozen = Row(recipe_for(sweep.recipe, path), start=start, freeze_first=0)
        plan = Plan({_row(start, 0): unfrozen}).resolved(sweep.changes, sweep.seeds)
        counts = sweep.counts(_required(Study(plan, starts, base), sweep.most))
        rows |= {_row(start, first): msgspec.structs.replace(unfrozen, freeze_first=first) for first in counts}
    return Study(Plan(rows).resolved(sweep.changes, sweep.seeds), starts, base)


def recipe_for(recipe: str, start: Path) -> str:
    """The recipe of that name, or its like for weights of the other kind, a backbone or a whole network; ``DataError``
    where the file cannot be read."""
    pair = next((pair for pair in _BY_KIND if recipe in pair), None)
    return recipe if pair is None else pair[kind_of_file(start) != "imagenet"]


def _required(study: Study, most: int) -> int:
    """Make the study's first run ready, on the CPU, and freeze the most there is: nothing is written. Gives how many
    convolutions that is."""
    arguments = study.arguments(study.runs()[0])
    recipe = RECIPES[arguments.recipe]
    require("recipe", bool(recipe.steps), "one that trains", arguments.recipe)
    start = prepare(replace(arguments, source=study.base.source, device="cpu")).start
    carried = carried_over(start.network, start.new)
    freeze(start.network, recipe.trains, start.new, min(most, carried))
    return carried


def report(study: Study) -> list[Path]:
    """Write the page and the picture of what is finished; their paths."""
    with study.lock():
        return _report(study)


def _report(study: Study) -> list[Path]:
    results, out = study.results(), study.base.out
    with whole_file(out / PAGE) as stream:
        stream.write(page(study, results).encode())
    if not results:
        return [out / PAGE]
    with chart(out / PICTURE, "What freezing costs", "convolutions frozen from the input side", "mask AP") as axes:
        for start in study.starts:
            found = points(study, results, start)
            means = [float(np.mean(values)) for _, values in found]
            (line,) = axes.plot([first for first, _ in found], means, marker="o", markersize=4, label=f"from {start}")
            dots = [(first, value) for first, values in found for value in values if len(values) > 1]
            axes.scatter([x for x, _ in dots], [y for _, y in dots], s=12, color=line.get_color(), alpha=0.5)
        axes.set_ylim(bottom=0)
        axes.legend()
    return [out / PAGE, out / PICTURE]


def page(study: Study, results: Sequence[Result]) -> str:
    """As Markdown the AP of each start by how many convolutions are frozen, and where that differs from freezing none
    of the same start by more than chance does."""
    found = table(study, results)
    left = len(study.runs()) - len(results)
    parts = ["\n".join(_rows(study, found)), f"{left} of {len(study.runs())} runs are not finished." if left else ""]
    for kind in KINDS:
        parts += [f"## By {kind} AP", *(_against_none(study, found, start, kind) for start in study.starts)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _rows(study: Study, found: Table) -> Iterator[str]:
    yield "| start | first frozen | box AP | mask AP | seeds |"
    yield "| --- | ---: | ---: | ---: | ---: |"
    for name, figures in found.figures.items():
        row, seeds = study.plan.rows[name], len(figures["box"])
        cells = [
            f"{np.mean(figures[kind]):.1f}" + (f" ± {np.std(figures[kind], ddof=1):.1f}" if seeds > 1 else "")
            for kind in KINDS
        ]
        yield f"| {row.start} | {row.freeze_first or 0} | {' | '.join(cells)} | {seeds} |"


def _against_none(study: Study, found: Table, start: str, kind: str) -> str:
    """What freezing does to a start."""
    figures = {name: row for name, row in found.of_kind(kind).items() if study.plan.rows[name].start == start}
    none = _row(start, 0)
    if len(figures) < 2 or none not in figures:
        return f"From {start} there is nothing to compare yet."
    # rows of one start differ little, so that a seed's order and augmentation do much the same to all of them
    common_seeds = all(len(row) == len(study.plan.seeds) for row in figures.values())
    if spread(figures, common_seeds) is None:
        return f"From {start} no difference can be told from chance: train with more seeds."
    every = [each for each in differences(figures, common_seeds=common_seeds) if none in (each.better, each.worse)]
    told = [each for each in every if each.exceeds_noise]
    chance = f"seeds alone{_LESS_COMMON if common_seeds else ''}"
    words = (
        f"From {start} {len(told)} of {len(every)} counts differ from none frozen by more than chance does (Tukey and "
        f"Kramer, 95 % for all of this start together; chance of {chance}, not of the pictures that are measured on)"
    )
    return "\n".join([words + (":\n" if told else "."), *(f"- {sentence(each)}" for each in told)])


def points(study: Study, results: Sequence[Result], start: str) -> list[tuple[int, list[float]]]:
    """How many convolutions are frozen, and each seed's mask AP, 0 to 100, of a start's rows that have any."""
    rows = ((name, row.freeze_first or 0) for name, row in study.plan.rows.items() if row.start == start)
    found = ((first, [100 * result.mask for result in results if result.row == name]) for name, first in rows)
    return [(first, values) for first, values in found if values]


def _row(start: str, first: int) -> str:
    return f"{start}, first {first}" if first else f"{start}, none"
