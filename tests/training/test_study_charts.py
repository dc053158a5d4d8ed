from collections.abc import Iterator
from contextlib import contextmanager
from itertools import combinations
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection

from tests.training.made_up_results import results_of, study_of
from training.charts import COLOURS, chart
from training.recipes import STUDY
from training.study_charts import apart, draw, line_style
from training.study_plan import PLANS, Row

ROWS = {name: Row(name) for name in STUDY}


def test_of_no_results_nothing_is_drawn(tmp_path: Path) -> None:
    assert draw(study_of(ROWS, tmp_path), []) == []


def test_there_are_no_curves_where_no_row_has_two_points(tmp_path: Path) -> None:
    drawn = draw(study_of(ROWS, tmp_path), results_of({name: [9.0] for name in ROWS}))
    assert [path.name for path in drawn] == ["bars.png"]


def test_every_row_has_a_line_of_its_own(tmp_path: Path) -> None:
    results = results_of({name: [40.0 - 2 * n, 41.0 - 2 * n] for n, name in enumerate([*ROWS][1:])}, points=5)
    drawn = draw(study_of(ROWS, tmp_path), [*results_of({next(iter(ROWS)): [14.5]}), *results])
    assert [path.name for path in drawn] == ["bars.png", "curves.png"]
    assert all(cv2.imread(str(path)) is not None for path in drawn)
    assert len({(COLOURS[n % len(COLOURS)], line_style(n)) for n in range(len(ROWS))}) == len(ROWS)


def drawn_on(monkeypatch: pytest.MonkeyPatch) -> dict[str, Axes]:
    """The axes of what will be drawn, by the picture's name."""
    found: dict[str, Axes] = {}

    @contextmanager
    def kept(path: Path, *words: Any) -> Iterator[Axes]:
        with chart(path, *words) as axes:
            found[path.name] = axes
            yield axes

    monkeypatch.setattr("training.study_charts.chart", kept)
    return found


def test_ap_over_the_number_of_pictures_has_a_line_a_way_from_zero_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = drawn_on(monkeypatch)
    rows = PLANS["pictures"].resolved({}).rows
    figures = {name: [2.0 * n + 5, 2.0 * n + 8] for n, name in enumerate(rows)}
    drawn = draw(
        study_of({**rows, "as it is": Row("plus-untrained")}, tmp_path), results_of(figures | {"as it is": [4.0]})
    )
    assert [path.name for path in drawn] == ["bars.png", "pictures.png"]
    axes = found["pictures.png"]
    assert axes.get_xscale() == "log"
    assert axes.get_ylim()[0] == 0
    assert [text.get_text() for text in axes.get_xticklabels()] == ["25", "100", "400"]
    legend = axes.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["scratch", "head", "everything", "as it is"]
    dots = [np.asarray(each.get_offsets())[:, 1] for each in axes.collections if isinstance(each, PathCollection)]
    assert sorted(np.concatenate(dots)) == pytest.approx(sorted(figure for row in figures.values() for figure in row))
    means = [np.asarray(line.get_ydata()) for line in axes.lines if line.get_linestyle() != "None"]
    assert [line for line in means if len(line) == 3] == [
        pytest.approx([2.0 * n + 6.5 for n in range(first, first + 3)]) for first in (0, 3, 6)
    ]


def test_labels_keep_clear_of_one_another_however_many_there_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = drawn_on(monkeypatch)
    numbers = (25, 95, 100, 110, 1500, 2975)
    rows = {
        f"focal loss with a figure that is called gamma, {gamma}, {number}": Row(
            "plus-full-focal", gamma=float(gamma), target_pictures=number
        )
        for gamma in range(12)
        for number in numbers
    }
    draw(study_of(rows, tmp_path), results_of({name: [10.0, 11.0] for name in rows}))
    axes = found["pictures.png"]
    labels = [text.get_window_extent() for text in axes.get_xticklabels()]
    assert len(labels) == 4
    assert not any(one.overlaps(other) for one, other in combinations(labels, 2))
    legend, figure = axes.get_legend(), axes.get_figure()
    assert legend is not None
    assert figure is not None
    (left, low), (right, high) = legend.get_window_extent().get_points()
    assert left > axes.get_window_extent().x1
    assert low >= 0
    assert right <= figure.bbox.x1
    assert high <= figure.bbox.y1


def test_a_way_of_one_number_alone_is_no_curve(tmp_path: Path) -> None:
    rows = {"a": Row("plus-full", target_pictures=9), "b": Row("plus-head", target_pictures=99)}
    assert [path.name for path in draw(study_of(rows, tmp_path), results_of({"a": [1.0], "b": [2.0]}))] == ["bars.png"]


@pytest.mark.parametrize(
    ("numbers", "kept"),
    [([7], [7]), ([25, 100, 400], [25, 100, 400]), ([1, 99, 100], [1, 100]), ([9, 10, 11, 1000], [11, 1000])],
)
def test_numbers_too_close_for_two_labels_have_one(numbers: list[int], kept: list[int]) -> None:
    assert apart(numbers) == kept


def test_published_figures_have_an_axis_of_their_own_and_hide_no_bar(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = drawn_on(monkeypatch)
    rows = {"head": Row("plus-head"), "ours alone": Row("plus-head", gamma=1.0, class_loss="focal")}
    draw(study_of(rows, tmp_path), results_of({"head": [1.0], "ours alone": [2.0]}))
    bars, right = found["bars.png"].figure.axes
    assert bars.get_ylim()[1] < 3, "the bars fill their own axis"
    (diamonds,) = (each for each in right.collections if isinstance(each, PathCollection))
    assert sorted(np.asarray(diamonds.get_offsets())[:, 1]) == [21.04, 23.61]
    assert right.get_ylim()[0] == 0 and right.get_ylim()[1] > 23.61
