"""``streetmask layers --sweep``: AP over how many convolutions are frozen from the input side, for each start."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scene.disk import whole_file
from scene.errors import require
from training.charts import chart
from training.command import TrainArguments
from training.layer_difference import PairDifferences
from training.layer_report import short_names
from training.study import Result, Study
from training.study_plan import Plan, Row
from training.study_report import markdown

PICTURE, PAGE = "sweep.png", "sweep.md"


@dataclass(frozen=True)
class Sweep:
    """Frozen counts 0, ``every``, 2 x ``every`` and so on up to ``most``, with each of the seeds; ``changes`` are of
    every training (``training.study_plan.Row``)."""

    every: int
    most: int
    seeds: tuple[int, ...]
    recipe: str
    changes: Mapping[str, Any]

    def __post_init__(self) -> None:
        require("every", self.every >= 1, "1 or more", self.every)
        require("most", self.most >= 1, "1 or more", self.most)

    @property
    def counts(self) -> range:
        """How many convolutions are frozen."""
        return range(0, self.most + 1, self.every)


def starts_of(pairs: Sequence[PairDifferences]) -> dict[str, Path]:
    """The weights before, each once, under a name that tells them apart and that a folder can have."""
    names = short_names({pair.base for pair in pairs})
    return {re.sub(r"[\\/:\s]+", " ", str(name.with_suffix(""))).strip(". "): path for path, name in names.items()}


def sweep_study(sweep: Sweep, starts: Mapping[str, Path], base: TrainArguments) -> Study:
    """Every start with every count as a row; raises ``ConfigurationError`` for what is no recipe or value."""
    rows = {
        _row(start, count): Row(sweep.recipe, start=start, freeze_first=count)
        for start in starts
        for count in sweep.counts
    }
    return Study(Plan(rows).resolved(sweep.changes, sweep.seeds), starts, base)


def report(sweep: Sweep, study: Study) -> list[Path]:
    """Write the page and the picture of what is finished; their paths."""
    with study.lock():
        return _report(sweep, study)


def _report(sweep: Sweep, study: Study) -> list[Path]:
    results, out = study.results(), study.base.out
    with whole_file(out / PAGE) as stream:
        stream.write(markdown(study, results).encode())
    if not results:
        return [out / PAGE]
    with chart(out / PICTURE, "What freezing costs", "convolutions frozen from the input side", "mask AP") as axes:
        for start in study.starts:
            points = list(_points(sweep, results, start))
            means = [float(np.mean(values)) for _, values in points]
            (line,) = axes.plot([count for count, _ in points], means, marker="o", markersize=4, label=f"from {start}")
            dots = [(count, value) for count, values in points for value in values if len(values) > 1]
            axes.scatter([x for x, _ in dots], [y for _, y in dots], s=12, color=line.get_color(), alpha=0.5)
        axes.set_ylim(bottom=0)
        axes.legend()
    return [out / PAGE, out / PICTURE]


def _points(sweep: Sweep, results: Sequence[Result], start: str) -> Iterator[tuple[int, list[float]]]:
    for count in sweep.counts:
        values = [100 * result.mask for result in results if result.row == _row(start, count)]
        if values:
            yield count, values


def _row(start: str, count: int) -> str:
    return f"{start}, first {count}" if count else f"{start}, none"
