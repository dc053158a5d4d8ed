"""``streetmask study``: recipes x seeds on any pair of data sets, resumable, to a table with plots."""

from dataclasses import dataclass, field
from pathlib import Path

import tyro

from scene.disk import whole_file
from scene.errors import DataError, require
from training.data.cityscapes_layout import is_cityscapes, splits_of
from training.study import Study
from training.study_charts import TITLES, draw
from training.study_check import checked
from training.study_flags import Trainings
from training.study_folder import take_folder
from training.study_plan import PLANS, Plan, of_recipes, read_plan
from training.study_report import markdown
from training.study_starts import left_out, named_starts
from training.study_work import trained

REPORT = "study.md"

CURVE_POINTS = 5


@dataclass(frozen=True)
class StudyArguments:
    """Train recipes x seeds and compare them; run the same command again to go on, or beside it to share the work."""

    target: Path
    """Data set to train for: COCO JSON or folder with instances.json, DIR:SPLIT or DIR of Cityscapes' layout (train and
    val), or DIR:NAME of COCO's annotations/instances_NAME.json."""
    held_out: Path | None = None
    """Data set on which AP is measured; Cityscapes' val without it."""
    source: Path | None = None
    """Data set of which the recipes that mix or paste take pictures; DIR of COCO's layout is its train2017."""
    start: tuple[str, ...] = ()
    """Weights to start from, each recipe with those of its kind (YOLACT, YOLACT++, an ImageNet backbone), or NAME=PATH
    for rows of a plan that say so."""
    plan: str | None = None
    """Rows and seeds: published, stand-in, focal, back (with --start source=PATH tuned=PATH), pictures, or a TOML
    file."""
    recipes: tuple[str, ...] = ()
    """A row for each of these recipes, instead of a plan."""
    out: Path = Path("runs/study")
    """Folder of the study: a run for each row and seed, the table and the plots."""
    trainings: tyro.conf.OmitArgPrefixes[Trainings] = field(default_factory=Trainings)

    def __post_init__(self) -> None:
        chosen = bool(self.plan) + bool(self.recipes)
        require("plan", chosen == 1, "a plan or recipes, one of the two", "both" if chosen else "neither")


def study(arguments: StudyArguments) -> int:
    """Train what is not finished yet, then write the table and the plots of what is; 1 if a run has failed."""
    wanted = checked(_study(arguments))
    take_folder(wanted)
    for name, reason in wanted.left_out.items():
        print(f"row {name} is left out: {reason}")
    for name, other in wanted.same_as.items():
        print(f"row {name} is the same training as {other}")
    failed = trained(wanted, arguments.trainings.processes)
    report(wanted)
    return 1 if failed else 0


def report(wanted: Study) -> None:
    """Write table and plots of the runs that are finished, and print the first."""
    with wanted.lock():
        results = wanted.results()
        text = markdown(wanted, results)
        _write(wanted, text)  # by itself: a plot that cannot be drawn costs no table
        plots = draw(wanted, results)
        _write(wanted, text + "".join(f"\n![{TITLES[path.name]}]({path.name})\n" for path in plots))
    print(text)
    for path in (wanted.base.out / REPORT, *plots):
        print(path)


def _write(wanted: Study, text: str) -> None:
    with whole_file(wanted.base.out / REPORT) as stream:
        stream.write(text.encode())


def _study(arguments: StudyArguments) -> Study:
    trainings = arguments.trainings
    plan = _plan(arguments).resolved(trainings.changes(), trainings.seeds)
    target, held_out = _target(arguments)
    base = trainings.base(target, held_out, arguments.out, _source(arguments.source))
    starts = named_starts(arguments.start)
    points = CURVE_POINTS if trainings.evaluate_every is None else 0
    return Study(plan, starts, base, left_out(plan, starts, arguments.source is not None), points=points)


def _plan(arguments: StudyArguments) -> Plan:
    if arguments.plan is None:
        return of_recipes(arguments.recipes)
    return PLANS[arguments.plan] if arguments.plan in PLANS else read_plan(Path(arguments.plan))


def _target(arguments: StudyArguments) -> tuple[Path, Path]:
    """What is trained on and what is measured on: of Cityscapes' folder its own splits."""
    target, held_out = arguments.target, arguments.held_out
    if target.is_dir() and is_cityscapes(target) and {"train", "val"} <= {*splits_of(target)}:
        return Path(f"{target}:train"), held_out or Path(f"{target}:val")
    if held_out is None:
        raise DataError("expected a data set to measure on, but none came: name it with --held-out")
    return target, held_out


def _source(source: Path | None) -> Path | None:
    whole = source is not None and (source / "annotations" / "instances_train2017.json").is_file()
    return Path(f"{source}:train2017") if whole else source
