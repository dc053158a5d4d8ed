"""The runs of a study: every row with every seed, each once, whatever is killed meanwhile.

A run is a folder ``ROW/seed-N`` of its own. Whoever trains it holds its lock, so that any number of processes may work
at one study; one that is killed leaves checkpoints, from which the next goes on. A run that is finished has its
``result.json``, one that failed says why in ``failed.txt``.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
from filelock import BaseFileLock, FileLock

from scene.errors import DataError
from training.command import TrainArguments, recipe_of
from training.study_plan import Plan
from training.study_starts import kind_of

RESULT, FAILED = "result.json", "failed.txt"

Run = tuple[str, int]
"""A row's name and a seed."""


class Point(msgspec.Struct, frozen=True):
    """Box and mask AP, 0 to 1, of the weights to use after so many steps."""

    step: int
    box: float
    mask: float


class Result(msgspec.Struct, frozen=True):
    """What came of a run: the ``Evaluation`` of its last weights as plain data, the points on the way there, and the
    seconds that its steps took together."""

    row: str
    seed: int
    steps: int
    seconds: float
    points: tuple[Point, ...]
    evaluation: dict[str, Any]

    @property
    def box(self) -> float:
        """COCO's box AP, 0 to 1."""
        return float(self.evaluation["box"]["ap"])

    @property
    def mask(self) -> float:
        """COCO's mask AP, 0 to 1."""
        return float(self.evaluation["mask"]["ap"])


@dataclass(frozen=True)
class Study:
    """A resolved plan, weights by name, what its trainings have in common in ``base`` (data, machine, and as ``out``
    the study's folder), and of the rows that cannot be trained why.

    ``same_as`` names the earlier row of those that are one training by two names, ``certain`` the rows in which nothing
    is left to chance. With ``points`` a run is measured so many times on its way, instead of every so many steps.
    """

    plan: Plan
    starts: Mapping[str, Path]
    base: TrainArguments
    left_out: Mapping[str, str] = field(default_factory=dict)
    same_as: Mapping[str, str] = field(default_factory=dict)
    certain: frozenset[str] = frozenset()
    points: int = 0

    @property
    def rows(self) -> list[str]:
        """The names of those that are trained."""
        return [name for name in self.plan.rows if name not in self.left_out and name not in self.same_as]

    def lock(self) -> BaseFileLock:
        """Of the study's folder, which is made if need be: held by who writes there what is of all runs."""
        self.base.out.mkdir(parents=True, exist_ok=True)
        return FileLock(self.base.out / ".lock")

    def runs(self) -> list[Run]:
        """All of them, seed by seed, so that a whole table stands as soon as may be.

        Of rows in which nothing is left to chance one seed is all.
        """
        first, *others = self.plan.seeds
        again = [(name, seed) for seed in others for name in self.rows if name not in self.certain]
        return [*((name, first) for name in self.rows), *again]

    def folder(self, run: Run) -> Path:
        """Of a run."""
        name, seed = run
        return self.base.out / name / f"seed-{seed}"

    def arguments(self, run: Run) -> TrainArguments:
        """What ``streetmask train`` would be given for this run."""
        name, seed = run
        row = self.plan.rows[name]
        start = self.starts.get(row.start or kind_of(row))
        found = replace(row.arguments(self.base), start=start, seed=seed, out=self.folder(run))
        return replace(found, evaluate_every=max(1, recipe_of(found).steps // self.points)) if self.points else found

    def unfinished(self) -> list[Run]:
        """The runs that have no result yet."""
        return [run for run in self.runs() if not (self.folder(run) / RESULT).is_file()]

    def failures(self) -> dict[Run, str]:
        """The unfinished runs that failed when they were last trained, and why, in a sentence."""
        found = {}
        for run in self.unfinished():
            with suppress(FileNotFoundError):
                found[run] = (self.folder(run) / FAILED).read_text().partition("\n")[0]
        return found

    def results(self) -> list[Result]:
        """Of all runs that are finished."""
        found = (self.result(run) for run in self.runs())
        return [result for result in found if result is not None]

    def result(self, run: Run) -> Result | None:
        """Of a run, if it is finished; ``DataError`` where the file is none."""
        path = self.folder(run) / RESULT
        if not path.is_file():
            return None
        try:
            return msgspec.json.decode(path.read_bytes(), type=Result)
        except msgspec.MsgspecError as error:
            raise DataError(
                f"{path} is no result of a run ({error}): delete it, and the run is measured again"
            ) from error
