"""Results of a study that nobody trained."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from training.command import TrainArguments
from training.study import Point, Result, Study
from training.study_plan import Plan, Row


def study_of(rows: Mapping[str, Row], folder: Path = Path("nowhere")) -> Study:
    """Of these rows."""
    return Study(Plan(rows), {}, TrainArguments((folder / "data",), folder))


def results_of(figures: Mapping[str, Sequence[float]], points: int = 1) -> list[Result]:
    """Box and mask AP, 0 to 100, by row, one for each seed; reached along a straight line."""
    return [
        Result(
            name,
            seed,
            points,
            1.0,
            tuple(Point(step, ap * step / points / 100, ap * step / points / 100) for step in range(1, points + 1)),
            {"box": {"ap": ap / 100}, "mask": {"ap": ap / 100}},
        )
        for name, row in figures.items()
        for seed, ap in enumerate(row, start=1)
    ]
