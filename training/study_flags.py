"""The flags that commands which train many runs have in common."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scene.errors import require
from training.command import TrainArguments


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
    target_pictures: int | None = None
    """Pictures of the target that every row learns from, drawn by lot, the same for every row and seed."""
    processes: int = 1
    """Runs that are trained at a time."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""
    threads: int = 0
    """CPU threads of torch in each process; 0 leaves torch its own choice, or each of several processes its share."""
    workers: int = 1
    """Processes that read and augment pictures, for each run."""
    checkpoint_every: int = 250
    """Steps between checkpoints."""
    evaluate_every: int | None = None
    """Steps between points of the curves, 0 for the end alone; a fifth of each row's steps without it."""

    def __post_init__(self) -> None:
        require("processes", 1 <= self.processes <= 64, "1 to 64", self.processes)

    def changes(self) -> dict[str, Any]:
        """What of every row is changed (``training.study_plan.Row``)."""
        names = ("preset", "schedule", "classes", "size", "steps", "batch", "target_pictures")
        asked = {name: getattr(self, name) for name in names}
        return {name: value for name, value in asked.items() if value not in (None, ())}

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
            evaluate_every=self.evaluate_every or 0,
        )
