"""A study's plots: AP of its rows as bars beside the published figures, over the steps of training, and over the number
of target pictures."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.container import Container

from training.charts import COLOURS, chart
from training.learning_curves import LearningCurve, learning_curves
from training.study import Result, Study
from training.study_report import KINDS, Table, table

BARS, CURVES, PICTURES = "bars.png", "curves.png", "pictures.png"
TITLES = {
    BARS: "AP on the held-out pictures",
    CURVES: "On the way there: mean of the seeds",
    PICTURES: "What labels are worth: mean and standard deviation, each seed a dot",
}

_HALF = 0.38
_LEAST_APART = 0.07
"""Of two numbers below an axis, as a share of what it spans."""
_LEGEND_LETTERS = 26
"""On a line."""
_LINE_STYLES = ("-", "--", ":", "-.")


def draw(study: Study, results: Sequence[Result]) -> list[Path]:
    """Write the plots into the study's folder; their paths."""
    found = table(study, results)
    if not found.figures:
        return []
    paths = [_bars(study.base.out / BARS, found)]
    if any(len(result.points) > 1 for result in results):
        paths.append(_curves(study.base.out / CURVES, study, results))
    if curves := learning_curves(study, results):
        untrained = [name for name in found.figures if not study.plan.rows[name].of_recipe.steps]
        levels = {name: float(np.mean(found.figures[name]["mask"])) for name in untrained}
        paths.append(_pictures(study.base.out / PICTURES, curves, levels))
    return paths


def _bars(path: Path, found: Table) -> Path:
    """A group a row, with every seed as a dot; the published figures as diamonds by an axis of their own, since it is
    orders that can be compared."""
    names = list(found.figures)
    with chart(path, TITLES[BARS], "", "AP (0 to 100)", (max(7.0, 1.1 * len(names)), 5.2)) as axes:
        published: list[tuple[float, float]] = []
        for side, kind in enumerate(KINDS):
            places = np.arange(len(names)) + (side - 0.5) * _HALF
            rows = [found.figures[name][kind] for name in names]
            axes.bar(places, [np.mean(row) for row in rows], 0.92 * _HALF, label=f"{kind} AP", color=COLOURS[side])
            dots = [(place, figure) for place, row in zip(places, rows, strict=True) if len(row) > 1 for figure in row]
            axes.scatter(*_columns(dots), s=14, color="black", zorder=3, label="a seed" if not side else None)
            printed = found.published[kind]
            published += [(place, printed[name]) for place, name in zip(places, names, strict=True) if name in printed]
        axes.set_xticks(range(len(names)), names, rotation=30, ha="right")
        axes.grid(axis="x", visible=False)
        handles, labels = axes.get_legend_handles_labels()
        if published:
            handles.append(_diamonds(axes, published))
            labels.append("published, ResNet-50 on Cityscapes (right)")
        axes.legend(handles, labels, ncols=4, loc="lower left", bbox_to_anchor=(0.0, 1.06))
    return path


def _diamonds(axes: Axes, published: Sequence[tuple[float, float]]) -> Artist:
    """Draw them by an axis on the right."""
    right = axes.twinx()
    found = right.scatter(*_columns(published), s=34, marker="D", facecolors="white", edgecolors=COLOURS[3], zorder=4)
    right.set_ylim(0, 1.08 * max(figure for _, figure in published))
    right.set_ylabel("published AP", color=COLOURS[3])
    right.tick_params(axis="y", colors=COLOURS[3])
    right.grid(visible=False)
    return found


def _curves(path: Path, study: Study, results: Sequence[Result]) -> Path:
    """Mask AP over the steps, the mean of the seeds; a level line where a row has one point alone."""
    rows = {name: [result.points for result in results if result.row == name] for name in study.plan.rows}
    size = (10.0, max(4.8, 0.26 * len(rows) + 0.8))
    with chart(path, TITLES[CURVES], "steps", "mask AP", size) as axes:
        for number, (name, own) in enumerate(rows.items()):
            style = _style(number)
            steps = sorted({point.step for points in own for point in points})
            means = [float(100 * np.mean([p.mask for points in own for p in points if p.step == at])) for at in steps]
            if len(steps) > 1:
                axes.plot(steps, means, marker="o", markersize=3, label=name, **style)
            elif steps:
                axes.axhline(means[0], linewidth=1.2, label=f"{name} (no curve)", **style)
        axes.set_ylim(bottom=0)
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), handlelength=3.2, fontsize=9)
    return path


def _pictures(path: Path, curves: Sequence[LearningCurve], levels: Mapping[str, float]) -> Path:
    """Mask AP over the number of target pictures, a line a way to train; ``levels`` are the AP of what is not
    trained."""
    numbers = sorted({number for curve in curves for number in curve.points})
    aside = (numbers[-1] / numbers[0]) ** min(0.01, 0.05 / len(curves))
    titles = [fill(title, _LEGEND_LETTERS) for title in (*(curve.name for curve in curves), *levels)]
    legend_inches = sum(0.1 + 0.18 * (1 + title.count("\n")) for title in titles)
    x, y = "labelled target pictures, logarithmic", "mask AP (0 to 100)"
    with chart(path, TITLES[PICTURES], x, y, (10.0, max(4.8, legend_inches + 0.4))) as axes:
        axes.set_xscale("log")
        lines: list[Any] = []
        for place, curve in enumerate(curves):
            lines.append(_with_spread(axes, curve, aside ** (place - (len(curves) - 1) / 2), _style(place)))
        for place, level in enumerate(levels.values(), len(curves)):
            lines.append(axes.axhline(level, linewidth=1.2, **_style(place)))
        shown = apart(numbers)
        axes.set_xticks(shown, [f"{number}" for number in shown])
        axes.minorticks_off()
        axes.set_ylim(bottom=0)
        axes.legend(lines, titles, loc="center left", bbox_to_anchor=(1.0, 0.5), handlelength=3.2, fontsize=10)
    return path


def _with_spread(axes: Axes, curve: LearningCurve, shift: float, style: Mapping[str, Any]) -> Artist | Container:
    """Draw a curve, its numbers times ``shift`` so that those of several do not hide each other; gives its line."""
    rows = {number * shift: figures for number, figures in curve.points.items()}
    means = [float(np.mean(row)) for row in rows.values()]
    spreads = [float(np.std(row, ddof=1)) if len(row) > 1 else np.nan for row in rows.values()]
    dots = [(x, figure) for x, row in rows.items() for figure in row]
    axes.scatter(*_columns(dots), s=16, color=style["color"], zorder=3)
    return axes.errorbar([*rows], means, spreads, capsize=4, elinewidth=1.2, **style)


def apart(numbers: Sequence[int]) -> list[int]:
    """Those of rising numbers above 0, the last among them, whose labels keep clear of one another on a logarithmic
    axis that spans all."""
    least = (numbers[-1] / numbers[0]) ** _LEAST_APART
    kept = [numbers[-1]]
    for number in reversed(numbers[:-1]):
        if kept[-1] / number >= least:
            kept.append(number)
    return kept[::-1]


def _style(number: int) -> dict[str, Any]:
    """Of a row or way by its number."""
    return {"color": COLOURS[number % len(COLOURS)], "linestyle": line_style(number)}


def line_style(number: int) -> str:
    """Of a row by its number: another one each time that all colours have been taken."""
    return _LINE_STYLES[number // len(COLOURS) % len(_LINE_STYLES)]


def _columns(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]
