"""``streetmask train``: a recipe on the user's data, from nothing or from a checkpoint, resumable at any time."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import torch
import tyro

from model.weight_file import WeightFile, read_state
from scene.errors import ConfigurationError, require
from training.checkpoint import training_history, unknown_data
from training.data.coco import CocoDataset
from training.evaluate import Evaluation
from training.feed import AugmentedPictures
from training.freezing import freeze, freezing_in_words
from training.loop import LAST, RunSettings, Trainer
from training.recipes import RECIPES, STUDY, Recipe
from training.start import Choice, Start, begin


@dataclass(frozen=True)
class TrainArguments:
    """Train a network; run the same command again to go on from the last checkpoint."""

    target: tuple[Path, ...]
    """Data sets to train for: COCO JSON files, pictures beside each, or folders that hold an instances.json."""
    out: Path
    """Folder of the run: checkpoints, log and TensorBoard events."""
    held_out: Path | None = None
    """Data set on which AP is measured during training."""
    source: Path | None = None
    """Data set that is mixed in, or whose objects are pasted, as the recipe says."""
    start: Path | None = None
    """Weights to start from, such as yolact_plus_resnet50_54_800000.pth or an ImageNet backbone; with nano, random ones
    without it."""
    recipe: str = "nano"
    """How it is trained: `streetmask train recipes` lists the names."""
    preset: str | None = None
    """Network instead of the recipe's or the weights' own."""
    classes: tuple[str, ...] = ()
    """Class names to train for, in order, instead of the recipe's or the weights' own."""
    reinitialise_classes: bool = False
    """Start the class layers anew instead of carrying their rows over."""
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


@dataclass(frozen=True)
class RecipesArguments:
    """List the recipes: what `--recipe` takes, and what the reference study got with those that are its rows."""


def recipes(_arguments: RecipesArguments) -> None:
    """Print a line a recipe."""
    width = max(map(len, RECIPES))
    print(f"{'':{width}}  {'box':>5} {'mask':>5}")
    for name, recipe in RECIPES.items():
        box, mask = recipe.study_ap or ("", "")
        print(f"{name:{width}}  {box:>5} {mask:>5}  {recipe.summary}")
    print("box, mask: the AP that the reference study prints for it, by another evaluation; nothing measured here.")


def train(arguments: TrainArguments) -> None:
    """Run the training that the arguments describe, printing what it starts with and each evaluation."""
    recipe = _recipe(arguments)
    _require_data(arguments, recipe)
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    file = read_state(arguments.start) if arguments.start else None
    choice = Choice(arguments.preset, arguments.classes, arguments.reinitialise_classes)
    start = begin(recipe, file, choice)
    freeze(start.network, recipe.trains, start.new)
    print(*_told(arguments.recipe, recipe, start), sep="\n", flush=True)
    size_hw, names = start.network.config.size_hw, start.network.config.class_names
    targets = [_open(path, names) for path in arguments.target]
    source = _open(arguments.source, names) if arguments.source else None
    held_out = _open(arguments.held_out, names) if arguments.held_out else None
    arguments.out.mkdir(parents=True, exist_ok=True)
    settings = RunSettings(
        folder=arguments.out,
        data=tuple(_seen(arguments, file)),
        device=arguments.device,
        workers=arguments.workers,
        seed=arguments.seed,
        evaluate_every=arguments.evaluate_every,
    )
    trainer = Trainer(start.network, recipe, settings)
    pictures = AugmentedPictures(targets, source, recipe, size_hw, arguments.seed)
    for evaluation in trainer.run(pictures, held_out):
        print(summary(trainer.step, evaluation), flush=True)
    print(f"{arguments.out / LAST} stands at step {trainer.step} of {recipe.steps}")


def _told(name: str, recipe: Recipe, start: Start) -> Iterator[str]:
    """The recipe in words: what it is, what became of the weights, what learns, what is frozen and what is new."""
    yield f"recipe {name}: {recipe.summary}; {recipe.steps} steps of {recipe.batch} pictures"
    yield from start.told
    yield from freezing_in_words(start.network, start.new)


def _open(path: Path, class_names: tuple[str, ...]) -> CocoDataset:
    """The data set at a path: a COCO JSON, or a folder that holds one as instances.json."""
    return CocoDataset(_annotation_file(path), class_names=class_names)


def _annotation_file(path: Path) -> Path:
    return path / "instances.json" if path.is_dir() else path


def describe(annotation_file: Path) -> str:
    """A data set in words: what its JSON says of itself, and how many pictures it has."""
    content = json.loads(annotation_file.read_bytes())
    info = content.get("info", {})
    about = [str(info.get("description") or annotation_file.name)]
    about += [f"{name} {info[name]}" for name in ("version", "seed") if name in info]
    return f"{len(content['images'])} pictures: {', '.join(about)}"


def _seen(arguments: TrainArguments, file: WeightFile | None) -> Iterator[str]:
    """The data sets in words, and what the weights that it starts from had seen."""
    paths = [*arguments.target, *([arguments.source] if arguments.source else [])]
    yield from (describe(_annotation_file(path)) for path in paths)
    if file is not None:
        yield f"before that: {training_history(file.progress) if file.config else unknown_data(file)}"


def summary(step: int, evaluation: Evaluation) -> str:
    """One line for people."""
    return (
        f"step {step}: box AP {100 * evaluation.box.ap:.1f}, mask AP {100 * evaluation.mask.ap:.1f} "
        f"(AP50 {100 * evaluation.mask.ap50:.1f}) on {evaluation.images} pictures"
    )


def _recipe(arguments: TrainArguments) -> Recipe:
    require("recipe", arguments.recipe in RECIPES, "a name that `streetmask train recipes` lists", arguments.recipe)
    recipe = RECIPES[arguments.recipe]
    if not recipe.steps:
        weights, data = arguments.start or "WEIGHTS", arguments.held_out or next(iter(arguments.target), "DATA")
        raise ConfigurationError(
            "recipe",
            f"{arguments.recipe} trains nothing, it measures COCO's weights as they are: run "
            f"`streetmask evaluate {weights} --data {data} --classes street`",
        )
    asked = {name: getattr(arguments, name) for name in ("steps", "batch", "learning_rate")}
    changes = {name: value for name, value in asked.items() if value is not None}
    for name, value in changes.items():
        if value <= 0:
            raise ConfigurationError(name, f"expected a number above 0, but {value} came")
    return replace(recipe, **changes)


def _require_data(arguments: TrainArguments, recipe: Recipe) -> None:
    """A target; and a source where the recipe has a use for one, and no other."""
    if not arguments.target:
        raise ConfigurationError("target", "expected at least one data set, but none came")
    if recipe.needs_source and arguments.source is None:
        raise ConfigurationError("source", f"{arguments.recipe} takes pictures from a second data set: name it")
    if arguments.source is not None and not recipe.takes_source:
        mixing = ", ".join(name for name, each in STUDY.items() if each.needs_source)
        raise ConfigurationError(
            "source", f"{arguments.recipe} has no use for a second data set: leave it away, or take one of {mixing}"
        )
