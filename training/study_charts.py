"""A study's plots: AP of its rows as bars beside the published figures, and over the steps of training."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from training.charts import COLOURS, chart
from training.study import Result, Study
from training.study_report import KINDS, Table, table

BARS, CURVES = "bars.png", "curves.png"

_HALF = 0.38
_LINE_STYLES = ("-", "--", ":", "-.")


def draw(study: Study, results: Sequence[Result]) -> list[Path]:
    """Write the plots into the study's folder; their paths."""
    found = table(study, results)
    if not found.figures:
        return []
    paths = [_bars(study.base.out / BARS, found)]
    if any(len(result.points) > 1 for result in results):
        paths.append(_curves(study.base.out / CURVES, study, results))
    return paths


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
    """Mask AP over the steps, the mean of the seeds; a level line where a row has one point alone."""
    rows = {name: [result.points for result in results if result.row == name] for name in study.plan.rows}
    size = (10.0, max(4.8, 0.26 * len(rows) + 0.8))
    with chart(path, "On the way there: mean of the seeds", "steps", "mask AP", size) as axes:
        for number, (name, own) in enumerate(rows.items()):
            style: dict[str, Any] = {"color": COLOURS[number % len(COLOURS)], "linestyle": line_style(number)}
            steps = sorted({point.step for points in own for point in points})
            means = [float(100 * np.mean([p.mask for points in own for p in points if p.step == at])) for at in steps]
            if len(steps) > 1:
                axes.plot(steps, means, marker="o", markersize=3, label=name, **style)
            elif steps:
                axes.axhline(means[0], linewidth=1.2, label=f"{name} (no curve)", **style)
        axes.set_ylim(bottom=0)
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), handlelength=3.2, fontsize=9)
    return path


def line_style(number: int) -> str:
    """Of a row by its number: another one each time that all colours have been taken."""
    return _LINE_STYLES[number // len(COLOURS) % len(_LINE_STYLES)]


def _columns(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]
