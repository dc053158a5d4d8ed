"""What commands that train many runs have in common: flags, and the processes that share the work."""

import multiprocessing
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import tyro

from scene.errors import require
from training.command import TrainArguments
from training.study import Study, work


@dataclass(frozen=True)
class Trainings:
    """How the runs are trained, where rows do not say otherwise, and on what machine."""

    seeds: tuple[int, ...] = ()
    """Seeds of each row, instead of two; differences need two or more."""
    preset: str | None = None
    """Network of every row."""
    schedule: str | None = None
    """Recipe whose steps, optimiser, rates and augmentation every row takes."""
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

    def changes(self) -> dict[str, Any]:
        """What of every row is changed (``training.study_plan.Row``)."""
        asked = {name: getattr(self, name) for name in ("preset", "schedule", "classes", "size", "steps", "batch")}
        return {name: value for name, value in asked.items() if value}

    def base(self, target: Path, held_out: Path, out: Path, source: Path | None = None) -> TrainArguments:
        """What all runs have in common."""
        return TrainArguments(
            target=(target,),
            out=out,
            held_out=held_out,
            source=source,
            device=self.device,
            threads=self.threads,
            workers=self.workers,
            checkpoint_every=self.checkpoint_every,
            evaluate_every=self.evaluate_every,
        )


def trained(wanted: Study, processes: int) -> bool:
    """Train what is not finished yet, by so many processes; whether a run has failed."""
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
