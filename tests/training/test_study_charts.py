from pathlib import Path

import cv2

from tests.training.made_up_results import results_of, study_of
from training.charts import COLOURS
from training.recipes import STUDY
from training.study_charts import draw, line_style
from training.study_plan import Row

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
