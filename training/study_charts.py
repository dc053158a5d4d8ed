"""A study's plots: AP of its rows as bars beside the published figures, and over the steps of training."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from training.charts import COLOURS, chart
from training.study import Result, Study
from training.study_report import KINDS, Table, table

BARS, CURVES = "bars.png", "curves.png"

_HALF = 0.38


def draw(study: Study, results: Sequence[Result]) -> list[Path]:
    """Write the plots into the study's folder; their paths."""
    found = table(study, results)
    if not found.figures:
        return []
    return [_bars(study.base.out / BARS, found), _curves(study.base.out / CURVES, study, results)]


def _bars(path: Path, found: Table) -> Path:
    """A group a row, with every seed as a dot and the published figures as diamonds."""
    names = list(found.figures)
    with chart(path, "AP on the held-out pictures", "", "AP", (max(7.0, 1.1 * len(names)), 5.2)) as axes:
        for side, kind in enumerate(KINDS):
            places = np.arange(len(names)) + (side - 0.5) * _HALF
            rows = [found.figures[name][kind] for name in names]
            axes.bar(places, [np.mean(row) for row in rows], 0.92 * _HALF, label=f"{kind} AP", color=COLOURS[side])
            dots = [(place, figure) for place, row in zip(places, rows, strict=True) if len(row) > 1 for figure in row]
            axes.scatter(*_columns(dots), s=14, color="black", zorder=3, label="a seed" if not side else None)
            theirs = [
                (place, found.published[kind][name])
                for place, name in zip(places, names, strict=True)
                if name in found.published[kind]
            ]
            axes.scatter(
                *_columns(theirs),
                s=34,
                marker="D",
                facecolors="none",
                edgecolors=COLOURS[3],
                zorder=3,
                label="published, on Cityscapes" if not side else None,
            )
        axes.set_xticks(range(len(names)), names, rotation=30, ha="right")
        axes.grid(axis="x", visible=False)
        axes.legend(ncols=4, loc="lower left", bbox_to_anchor=(0.0, 1.06))
    return path


def _curves(path: Path, study: Study, results: Sequence[Result]) -> Path:
    """Mask AP over the steps, the mean of the seeds, for rows that were measured on their way."""
    with chart(path, "On the way there: mean of the seeds", "steps", "mask AP") as axes:
        for number, name in enumerate(study.plan.rows):
            own = [result.points for result in results if result.row == name]
            steps = sorted({point.step for points in own for point in points})
            means = [100 * np.mean([p.mask for points in own for p in points if p.step == step]) for step in steps]
            if len(steps) > 1:
                style = "-" if number < len(COLOURS) else "--"
                axes.plot(steps, means, style, marker="o", markersize=3, label=name)
            elif steps:
                axes.axhline(float(means[0]), color="#999999", linestyle=":", linewidth=1.2, label=f"{name} (no curve)")
        axes.set_ylim(bottom=0)
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return path


def _columns(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]
