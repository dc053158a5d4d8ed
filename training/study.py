"""The runs of a study: every row with every seed, each once, whatever is killed meanwhile.

A run is a folder ``ROW/seed-N`` of its own. Whoever trains it holds its lock, so that any number of processes may work
at one study; one that is killed leaves checkpoints, from which the next goes on, and a run that is finished has its
``result.json``.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
from filelock import FileLock, Timeout

from scene.disk import whole_file
from scene.errors import DataError, StreetMaskError
from training.command import TrainArguments, Training, prepare, summary
from training.run_log import LOG
from training.study_plan import Plan
from training.study_starts import kind_of

RESULT = "result.json"
PLAN = "plan.json"

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
    the study's folder), and of the rows that cannot be trained why."""

    plan: Plan
    starts: Mapping[str, Path]
    base: TrainArguments
    left_out: Mapping[str, str] = field(default_factory=dict)

    def runs(self) -> list[Run]:
        """All of them, seed by seed, so that a whole table stands as soon as may be.

        Where nothing is trained chance has no part, and one seed is all.
        """
        rows = [name for name in self.plan.rows if name not in self.left_out]
        first = self.plan.seeds[0]
        trained = {name: bool(self.plan.rows[name].of_recipe.steps) for name in rows}
        return [(name, seed) for seed in self.plan.seeds for name in rows if seed == first or trained[name]]

    def folder(self, run: Run) -> Path:
        """Of a run."""
        name, seed = run
        return self.base.out / name / f"seed-{seed}"

    def arguments(self, run: Run) -> TrainArguments:
        """What ``streetmask train`` would be given for this run."""
        name, seed = run
        row = self.plan.rows[name]
        start = self.starts.get(row.start or kind_of(row))
        return replace(row.arguments(self.base), start=start, seed=seed, out=self.folder(run))

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


def take_folder(study: Study) -> None:
    """Make the study's folder, or take up what is there; ``DataError`` where that is of another plan.

    A plan may gain rows and seeds; what it has in common with the folder's must be the same.
    """
    path = study.base.out / PLAN
    ours = _in_words(study)
    if path.is_file():
        theirs = msgspec.json.decode(path.read_bytes())
        unlike = [name for name in theirs if name in ours and theirs[name] != ours[name]]
        gone = [name for name in theirs if name not in ours]
        if unlike or gone:
            told = [f"{name} was {theirs[name]} and is {ours[name]}" for name in unlike[:3]]
            told += [f"{name} is not in this plan" for name in gone[:3]]
            raise DataError(
                f"{study.base.out} holds the runs of another plan ({'; '.join(told)}): choose another --out"
            )
    with whole_file(path) as stream:
        stream.write(msgspec.json.format(msgspec.json.encode(ours), indent=1))


def _in_words(study: Study) -> dict[str, str]:
    """What must stay the same for finished runs to be of use."""
    base = study.base
    data = {"target": base.target, "held-out": (base.held_out,), "source": (base.source,)}
    found = {name: " ".join(str(path) for path in paths if path) for name, paths in data.items()}
    for name, row in study.plan.rows.items():
        start = study.starts.get(row.start or kind_of(row), "")
        found[f"row {name}"] = f"{msgspec.json.encode(row).decode()} {start}".strip()
    return found


def work(study: Study, say: Callable[[str], None]) -> dict[Run, str]:
    """Train every run that nobody has finished or is at; gives those that failed, and why."""
    failed: dict[Run, str] = {}
    for run in study.runs():
        folder = study.folder(run)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(folder / ".lock", timeout=0):
                if not (folder / RESULT).is_file():
                    say(f"{_name(run)}: begins")
                    _finish(study, run, say)
        except Timeout:
            say(f"{_name(run)}: another process is at it")
        except StreetMaskError as error:
            failed[run] = str(error)
            say(f"{_name(run)}: {error}")
    return failed


def _finish(study: Study, run: Run, say: Callable[[str], None]) -> None:
    training = prepare(study.arguments(run))
    for evaluation in training.run():
        say(f"{_name(run)}: {summary(training.trainer.step, evaluation)}")
    result = _result(run, training)
    with whole_file(study.folder(run) / RESULT) as stream:
        stream.write(msgspec.json.format(msgspec.json.encode(result), indent=1))
    say(f"{_name(run)}: box AP {100 * result.box:.1f}, mask AP {100 * result.mask:.1f}")


def _result(run: Run, training: Training) -> Result:
    """From the run's log, which has an evaluation of the last step unless no step was to be evaluated, or taken."""
    trainer, held_out = training.trainer, training.held_out
    if held_out is None:
        raise DataError("expected a data set to measure on, but none came: name it with --held-out")
    lines = list(_log(trainer.settings.folder / LOG))
    used = "averaged" if trainer.learner.average is not None else "raw"
    found = [line for line in lines if line.get("weights") == used]
    if not found or found[-1]["step"] != trainer.recipe.steps:
        found.append({"step": trainer.recipe.steps, **trainer.evaluate(held_out).as_dict()})
    points = tuple(Point(line["step"], line["box"]["ap"], line["mask"]["ap"]) for line in found)
    seconds = sum(line["seconds"] for line in lines if "seconds" in line)
    evaluation = {name: value for name, value in found[-1].items() if name not in ("step", "weights")}
    return Result(*run, trainer.recipe.steps, round(seconds, 1), points, evaluation)


def _log(path: Path) -> Iterator[dict[str, Any]]:
    if path.is_file():
        yield from (msgspec.json.decode(line) for line in path.read_bytes().splitlines())


def _name(run: Run) -> str:
    return f"{run[0]}, seed {run[1]}"
