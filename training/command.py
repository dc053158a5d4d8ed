"""``streetmask train``: a recipe on the user's data, from nothing or from a checkpoint, resumable at any time."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import torch
import tyro

from model.config import PRESETS
from model.yolact import Yolact
from scene.errors import ConfigurationError, require
from training.checkpoint import load_network, read_progress, training_history
from training.data.coco import CocoDataset
from training.distributed import Ranks, joined_ranks
from training.evaluate import Evaluation
from training.feed import AugmentedPictures
from training.loop import LAST, RunSettings, Trainer
from training.recipes import RECIPES, Recipe


@dataclass(frozen=True)
class TrainArguments:
    """Train a network; run the same command again to go on from the last checkpoint."""

    data: tuple[Path, ...]
    """COCO JSON files of the target, pictures beside each, as `streetmask data synth` writes them."""
    out: Path
    """Folder of the run: checkpoints, log and TensorBoard events."""
    held_out: Path | None = None
    """COCO JSON on which AP is measured during training."""
    source: Path | None = None
    """COCO JSON whose pictures are mixed in, by the recipe's share."""
    start: Path | None = None
    """Weights to start from, with the classes to train for (`streetmask weights convert`); random ones without it."""
    preset: str = "street-nano"
    """Network, when there are no weights to start from."""
    recipe: Literal["nano", "nano-onwards"] = "nano"
    """How it is trained: from nothing, or on from what has learned something already."""
    steps: int | None = None
    """Steps instead of the recipe's; the learning rate's milestones move along."""
    batch: int | None = None
    """Pictures a step, of all processes, instead of the recipe's; rate and steps follow unless they are given."""
    learning_rate: float | None = None
    """Learning rate instead of the recipe's."""
    precision: Literal["bfloat16", "float16", "float32"] | None = None
    """Of the forward pass, instead of the recipe's; weights and losses are float32 in any case."""
    accumulate: int | None = None
    """Parts in which a batch is learned, one after the other, where memory does not hold it at once."""
    ema_decay: float | None = None
    """Decay of the weights' moving average, such as 0.999, instead of the recipe's; 0 for none."""
    batch_norm: Literal["rule", "stored", "learned"] | None = None
    """BatchNorm's statistics instead of the recipe's: by rule they are stored if trained and below 6 pictures."""
    compile: bool = False
    """Compile the network with torch.compile before the first step."""
    device: str = "auto"
    """auto, cpu, cuda or cuda:N."""
    threads: int = 0
    """CPU threads of torch; 0 leaves torch its own choice."""
    workers: int = 1
    """Processes that read and augment pictures."""
    seed: int = 1
    """Seed of weights and order."""
    checkpoint_every: int = 250
    """Steps between checkpoints."""
    evaluate_every: Annotated[int, tyro.conf.arg(help="Steps between evaluations; 0 for none.")] = 1000


def train(arguments: TrainArguments) -> None:
    """Run the training that the arguments describe, printing each evaluation; one of several that torchrun starts."""
    with joined_ranks(arguments.device) as ranks:
        _train(arguments, ranks, print if ranks.leads else _say_nothing)


def _train(arguments: TrainArguments, ranks: Ranks, say: Callable[[str], None]) -> None:
    recipe = _recipe(arguments)
    require("preset", arguments.preset in PRESETS, f"one of {', '.join(PRESETS)}", arguments.preset)
    if not arguments.data:
        raise ConfigurationError("data", "expected at least one COCO JSON file, but none came")
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    network = load_network(arguments.start) if arguments.start else Yolact(PRESETS[arguments.preset])
    size_hw = network.config.size_hw
    names = network.config.class_names
    targets = [CocoDataset(path, scale_to_hw=size_hw, class_names=names) for path in arguments.data]
    source = CocoDataset(arguments.source, scale_to_hw=size_hw, class_names=names) if arguments.source else None
    held_out = CocoDataset(arguments.held_out, class_names=names) if arguments.held_out else None
    arguments.out.mkdir(parents=True, exist_ok=True)
    settings = RunSettings(
        folder=arguments.out,
        data=tuple(_seen(arguments)),
        device=arguments.device,
        workers=arguments.workers,
        seed=arguments.seed,
        checkpoint_every=arguments.checkpoint_every,
        compiled=arguments.compile,
        evaluate_every=arguments.evaluate_every,
    )
    trainer = Trainer(network, recipe, settings, ranks)
    for line in _told(arguments, trainer):
        say(line)
    pictures = AugmentedPictures(targets, source, recipe, size_hw, arguments.seed)
    for evaluation in trainer.run(pictures, held_out):
        say(summary(trainer.step, evaluation))
    say(f"{arguments.out / LAST} stands at step {trainer.step} of {recipe.steps}")


def _say_nothing(_line: str) -> None:
    """The leader speaks for all processes."""


def _told(arguments: TrainArguments, trainer: Trainer) -> Iterator[str]:
    """What the run decided on its own, in words."""
    base, recipe, ranks = RECIPES[arguments.recipe], trainer.recipe, trainer.ranks
    if recipe.batch != base.batch:
        yield (
            f"batch {recipe.batch}, where the recipe has {base.batch}: learning rate {recipe.learning_rate:g} (the "
            f"recipe's {base.learning_rate:g}), {recipe.steps} steps ({base.steps}); unless given, the rate grows with "
            "the batch and the steps shrink with it (Goyal et al. 2017)"
        )
    if ranks.count > 1 or recipe.accumulate > 1:
        share = recipe.batch // ranks.count // recipe.accumulate
        yield f"each batch is learned by {ranks.count} processes in {recipe.accumulate} parts of {share} pictures"
    source = "are learned" if trainer.learner.learns_statistics else "stay as they were stored"
    yield f"BatchNorm's statistics {source}; precision {recipe.precision}; device {trainer.device}"


def describe(annotation_file: Path) -> str:
    """A data set in words: what its JSON says of itself, and how many pictures it has."""
    content = json.loads(annotation_file.read_bytes())
    info = content.get("info", {})
    about = [str(info.get("description") or annotation_file.name)]
    about += [f"{name} {info[name]}" for name in ("version", "seed") if name in info]
    return f"{len(content['images'])} pictures: {', '.join(about)}"


def _seen(arguments: TrainArguments) -> Iterator[str]:
    """The data sets in words, and what the checkpoint that it starts from had seen."""
    yield from (describe(path) for path in arguments.data)
    if arguments.source:
        yield describe(arguments.source)
    if arguments.start:
        yield f"before that: {training_history(read_progress(arguments.start))}"


def summary(step: int, evaluation: Evaluation) -> str:
    """One line for people."""
    return (
        f"step {step}: box AP {100 * evaluation.box.ap:.1f}, mask AP {100 * evaluation.mask.ap:.1f} "
        f"(AP50 {100 * evaluation.mask.ap50:.1f}) on {evaluation.images} pictures"
    )


def _recipe(arguments: TrainArguments) -> Recipe:
    names = ("batch", "steps", "learning_rate", "accumulate", "ema_decay", "precision", "batch_norm")
    changes = {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}
    for name in names[:4]:
        if changes.get(name, 1) <= 0:
            raise ConfigurationError(name, f"expected a number above 0, but {changes[name]} came")
    require("ema_decay", 0 <= changes.get("ema_decay", 0) < 1, "a number from 0 to below 1", arguments.ema_decay)
    recipe = RECIPES[arguments.recipe]
    return replace(recipe.for_batch(changes.pop("batch", recipe.batch)), **changes)
