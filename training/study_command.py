"""``streetmask study``: recipes x seeds on any pair of data sets, resumable, to a table with plots."""

import multiprocessing
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import tyro

from scene.disk import whole_file
from scene.errors import DataError, require
from training.command import TrainArguments
from training.data.cityscapes_layout import is_cityscapes, splits_of
from training.study import Study, take_folder, work
from training.study_charts import draw
from training.study_plan import PLANS, Plan, of_recipes, read_plan
from training.study_report import markdown
from training.study_starts import left_out, named_starts

REPORT = "study.md"


@dataclass(frozen=True)
class StudyArguments:
    """Train recipes x seeds and compare them; run the same command again to go on, or beside it to share the work."""

    target: Path
    """Data set to train for: COCO JSON or folder with instances.json, DIR:SPLIT or DIR of Cityscapes' layout (train and
    val), or DIR:NAME of COCO's annotations/instances_NAME.json."""
    out: Path
    """Folder of the study: a run for each row and seed, the table and the plots."""
    held_out: Path | None = None
    """Data set on which AP is measured; Cityscapes' val without it."""
    source: Path | None = None
    """Data set of which the recipes that mix or paste take pictures; DIR of COCO's layout is its train2017."""
    start: tuple[str, ...] = ()
    """Weights to start from, each recipe with those of its kind (YOLACT, YOLACT++, an ImageNet backbone), or NAME=PATH
    for rows of a plan that say so."""
    plan: str | None = None
    """Rows and seeds: published, stand-in, focal, back (with --start source=PATH tuned=PATH), or a TOML file."""
    recipes: tuple[str, ...] = ()
    """A row for each of these recipes, instead of a plan."""
    seeds: tuple[int, ...] = ()
    """Seeds of each row, instead of the plan's; differences need two or more."""
    preset: str | None = None
    """Network of every row."""
    classes: tuple[str, ...] = ()
    """Class names of every row, in order, instead of the recipes' own."""
    size: str | None = None
    """WIDTHxHEIGHT of every row's input."""
    steps: int | None = None
    """Steps of every row."""
    batch: int | None = None
    """Pictures a step of every row; rate and steps follow unless they are given."""
    processes: int = 1
    """Runs that are trained at a time."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""
    threads: int = 0
    """CPU threads of torch in each process; 0 leaves torch its own choice."""
    workers: int = 1
    """Processes that read and augment pictures, for each run."""
    checkpoint_every: int = 250
    """Steps between checkpoints."""
    evaluate_every: Annotated[int, tyro.conf.arg(help="Steps between points of the curves; 0 for the end alone.")] = (
        1000
    )

    def __post_init__(self) -> None:
        require("processes", 1 <= self.processes <= 64, "1 to 64", self.processes)
        chosen = bool(self.plan) + bool(self.recipes)
        require("plan", chosen == 1, "a plan or recipes, one of the two", "both" if chosen else "neither")


def study(arguments: StudyArguments) -> int:
    """Train what is not finished yet, then write the table and the plots of what is; 1 if a run has failed."""
    wanted = _study(arguments)
    take_folder(wanted)
    for name, reason in wanted.left_out.items():
        print(f"row {name} is left out: {reason}")
    failed = _worked(wanted, arguments.processes)
    report(wanted)
    return 1 if failed else 0


def report(wanted: Study) -> None:
    """Write table and plots of the runs that are finished, and print the first."""
    results = wanted.results()
    text = markdown(wanted, results)
    with whole_file(wanted.base.out / REPORT) as stream:
        stream.write(text.encode())
    print(text)
    for path in (wanted.base.out / REPORT, *draw(wanted, results)):
        print(path)


def _study(arguments: StudyArguments) -> Study:
    changes: dict[str, Any] = {
        name: value for name in ("preset", "size", "steps", "batch") if (value := getattr(arguments, name)) is not None
    }
    changes |= {"classes": arguments.classes} if arguments.classes else {}
    plan = _plan(arguments).resolved(changes, arguments.seeds)
    target, held_out = _target(arguments)
    base = TrainArguments(
        target=(target,),
        out=arguments.out,
        held_out=held_out,
        source=_source(arguments.source),
        device=arguments.device,
        threads=arguments.threads,
        workers=arguments.workers,
        checkpoint_every=arguments.checkpoint_every,
        evaluate_every=arguments.evaluate_every,
    )
    starts = named_starts(arguments.start)
    return Study(plan, starts, base, left_out(plan, starts, arguments.source is not None))


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


def _worked(wanted: Study, processes: int) -> bool:
    """Whether a run has failed, in this process or in one of the others."""
    if processes == 1:
        return bool(work(wanted, _say))
    context = multiprocessing.get_context("spawn")
    others = [context.Process(target=_work_and_exit, args=(wanted,)) for _ in range(processes)]
    for other in others:
        other.start()
    try:
        for other in others:
            other.join()
    finally:
        for other in others:
            other.terminate()
    return any(other.exitcode for other in others)


def _work_and_exit(wanted: Study) -> None:
    sys.exit(1 if work(wanted, _say) else 0)


_say: Callable[[str], None] = partial(print, flush=True)
