"""``streetmask train``: a recipe on the user's data, from nothing or from a checkpoint, resumable at any time."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import torch
import tyro

from model.config import PRESETS
from model.yolact import Yolact
from scene.errors import ConfigurationError, require
from training.checkpoint import load_network, read_progress, training_history
from training.data.dataset import InstanceDataset
from training.data.location import open_dataset
from training.evaluate import Evaluation
from training.feed import AugmentedPictures
from training.loop import LAST, RunSettings, Trainer
from training.recipes import RECIPES, Recipe


@dataclass(frozen=True)
class TrainArguments:
    """Train a network; run the same command again to go on from the last checkpoint."""

    data: tuple[Path, ...]
    """Data sets of the target: COCO JSON files or folders with instances.json, DIR:SPLIT of Cityscapes' layout, or
    DIR:NAME of COCO's annotations/instances_NAME.json."""
    out: Path
    """Folder of the run: checkpoints, log and TensorBoard events."""
    held_out: Path | None = None
    """Data set on which AP is measured during training."""
    source: Path | None = None
    """Data set whose pictures are mixed in, by the recipe's share."""
    start: Path | None = None
    """Weights to start from, with the classes to train for (`streetmask weights convert`); random ones without it."""
    preset: str = "street-nano"
    """Network, when there are no weights to start from."""
    recipe: Literal["nano", "nano-onwards"] = "nano"
    """How it is trained: from nothing, or on from what has learned something already."""
    steps: int | None = None
    """Steps instead of the recipe's; the learning rate's milestones move along."""
    batch: int | None = None
    """Pictures a step instead of the recipe's."""
    learning_rate: float | None = None
    """Learning rate instead of the recipe's."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""
    threads: int = 0
    """CPU threads of torch; 0 leaves torch its own choice."""
    workers: int = 1
    """Processes that read and augment pictures."""
    seed: int = 1
    """Seed of weights and order."""
    evaluate_every: Annotated[int, tyro.conf.arg(help="Steps between evaluations; 0 for none.")] = 1000


def train(arguments: TrainArguments) -> None:
    """Run the training that the arguments describe, printing each evaluation."""
    recipe = _recipe(arguments)
    require("preset", arguments.preset in PRESETS, f"one of {', '.join(PRESETS)}", arguments.preset)
    if not arguments.data:
        raise ConfigurationError("data", "expected at least one data set, but none came")
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    network = load_network(arguments.start) if arguments.start else Yolact(PRESETS[arguments.preset])
    size_hw = network.config.size_hw
    names = network.config.class_names
    targets = [open_dataset(path, class_names=names) for path in arguments.data]
    source = open_dataset(arguments.source, class_names=names) if arguments.source else None
    held_out = open_dataset(arguments.held_out, class_names=names) if arguments.held_out else None
    arguments.out.mkdir(parents=True, exist_ok=True)
    settings = RunSettings(
        folder=arguments.out,
        data=tuple(_seen(arguments, [*targets, *([source] if source is not None else [])])),
        device=arguments.device,
        workers=arguments.workers,
        seed=arguments.seed,
        evaluate_every=arguments.evaluate_every,
    )
    trainer = Trainer(network, recipe, settings)
    pictures = AugmentedPictures(targets, source, recipe, size_hw, arguments.seed)
    for evaluation in trainer.run(pictures, held_out):
        print(summary(trainer.step, evaluation), flush=True)
    print(f"{arguments.out / LAST} stands at step {trainer.step} of {recipe.steps}")


def describe(dataset: InstanceDataset) -> str:
    """A data set in words: what it says of itself, and how many pictures it has."""
    return f"{len(dataset)} pictures: {dataset.description}"


def _seen(arguments: TrainArguments, datasets: list[InstanceDataset]) -> Iterator[str]:
    """The data sets in words, and what the checkpoint that it starts from had seen."""
    yield from (describe(dataset) for dataset in datasets)
    if arguments.start:
        yield f"before that: {training_history(read_progress(arguments.start))}"


def summary(step: int, evaluation: Evaluation) -> str:
    """One line for people."""
    return (
        f"step {step}: box AP {100 * evaluation.box.ap:.1f}, mask AP {100 * evaluation.mask.ap:.1f} "
        f"(AP50 {100 * evaluation.mask.ap50:.1f}) on {evaluation.images} pictures"
    )


def _recipe(arguments: TrainArguments) -> Recipe:
    asked = {name: getattr(arguments, name) for name in ("steps", "batch", "learning_rate")}
    changes = {name: value for name, value in asked.items() if value is not None}
    for name, value in changes.items():
        if value <= 0:
            raise ConfigurationError(name, f"expected a number above 0, but {value} came")
    return replace(RECIPES[arguments.recipe], **changes)
