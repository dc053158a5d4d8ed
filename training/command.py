"""``streetmask train``: a recipe on the user's data, from nothing or from a checkpoint, resumable at any time."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from math import isfinite
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
import tyro

from model.weight_file import WeightFile, read_state
from scene.errors import ConfigurationError, DataError, require
from scene.image import parse_size
from training.checkpoint import training_history, unknown_data
from training.class_losses import ClassLossKind
from training.data.dataset import InstanceDataset, describe
from training.data.location import open_dataset
from training.data.mixing import SourceRule, draw_lots, place
from training.distributed import ALONE, Ranks, joined_ranks
from training.evaluate import Evaluation
from training.feed import AugmentedPictures
from training.freezing import freeze, freezing_in_words
from training.loop import LAST, RunSettings, Trainer
from training.recipes import RECIPES, STUDY, Recipe
from training.start import Choice, Start, begin
from training.transforms import LARGE_SCALE_JITTER


@dataclass(frozen=True)
class TrainArguments:
    """Train a network; run the same command again to go on from the last checkpoint."""

    target: tuple[Path, ...]
    """Data sets to train for: COCO JSON files or folders with instances.json, DIR:SPLIT of Cityscapes' layout, or
    DIR:NAME of COCO's annotations/instances_NAME.json."""
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
    schedule: str | None = None
    """Another recipe whose steps, optimiser, rates and augmentation are taken instead."""
    preset: str | None = None
    """Network instead of the recipe's or the weights' own."""
    classes: tuple[str, ...] = ()
    """Class names to train for, in order, instead of the recipe's or the weights' own."""
    size: str | None = None
    """WIDTHxHEIGHT of the network's input instead of the recipe's or the weights' own, such as 768x384."""
    reinitialise_classes: bool = False
    """Start the class layers anew instead of carrying their rows over."""
    steps: int | None = None
    """Steps instead of the recipe's; the learning rate's milestones move along, and warm-up is a tenth at most."""
    batch: int | None = None
    """Pictures a step, of all processes, instead of the recipe's; rate and steps follow unless they are given."""
    learning_rate: float | None = None
    """Learning rate instead of the recipe's."""
    class_loss: ClassLossKind | None = None
    """What teaches the classes, instead of the recipe's."""
    alpha: float | None = None
    """Weight of an object's terms in a focal loss, 0 to 1, instead of the recipe's; the background's is the rest."""
    gamma: float | None = None
    """How far a focal loss turns down what is easy, instead of the recipe's; 0 for not at all."""
    beta: float | None = None
    """Shift of focal-star, instead of the recipe's: the higher, the more of what is uncertain counts as easy."""
    target_pictures: int | None = None
    """Pictures of each --target that are used, drawn by lot, the same for every seed: what would fewer labels do?"""
    source_pictures: int | None = None
    """Pictures of --source that join, instead of the recipe's count."""
    freeze_first: int | None = None
    """Convolutions to freeze from the input side, with their BatchNorm, instead of the recipe's number: `streetmask
    layers` shows their order."""
    jitter: bool = False
    """Large-scale jitter, from a tenth to twice the size, instead of expanding and cropping."""
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
    """Run the training that the arguments describe, printing what it starts with and each evaluation; one of several
    processes that torchrun starts."""
    _require_steps(arguments)
    with joined_ranks(arguments.device) as ranks:
        say = print if ranks.leads else _say_nothing
        training = prepare(arguments, ranks)
        trainer = training.trainer
        for line in (*_told(arguments.recipe, trainer.recipe, training.start), *_decided(arguments, trainer)):
            say(line)
        for evaluation in training.run():
            say(summary(trainer.step, evaluation))
        say(f"{arguments.out / LAST} stands at step {trainer.step} of {trainer.recipe.steps}")


@dataclass(frozen=True)
class Training:
    """What the arguments come to, before the first step."""

    trainer: Trainer
    pictures: AugmentedPictures
    held_out: InstanceDataset | None
    start: Start

    def run(self) -> Iterator[Evaluation]:
        """Train, or go on; yields each evaluation as it is made."""
        return self.trainer.run(self.pictures, self.held_out)


def prepare(arguments: TrainArguments, ranks: Ranks = ALONE) -> Training:
    """Read the data and the weights; raises ``ConfigurationError`` and ``DataError`` for what cannot be trained."""
    recipe = recipe_of(arguments)
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    made_of = ingredients(arguments, recipe)
    settings = RunSettings(
        folder=arguments.out,
        data=tuple(_seen(made_of)),
        device=arguments.device,
        workers=arguments.workers,
        seed=arguments.seed,
        checkpoint_every=arguments.checkpoint_every,
        compiled=arguments.compile,
        evaluate_every=arguments.evaluate_every,
    )
    trainer = Trainer(made_of.start.network, recipe, settings, ranks)
    return Training(trainer, made_of.pictures, made_of.held_out, made_of.start)


@dataclass(frozen=True)
class Ingredients:
    """What a training is made of, read and found fit for it; ``datasets`` are all that it learns from, the targets
    first, and ``file`` the weights that ``start`` begins with, if any."""

    file: WeightFile | None
    start: Start
    datasets: tuple[InstanceDataset, ...]
    pictures: AugmentedPictures
    held_out: InstanceDataset | None


def ingredients(
    arguments: TrainArguments,
    recipe: Recipe,
    read_weights: Callable[[Path], WeightFile] = read_state,
    read_data: Callable[[Path, tuple[str, ...]], InstanceDataset] = open_dataset,
) -> Ingredients:
    """Read, by the given functions, whatever a training by this recipe needs, without writing anything.

    Raises ``ConfigurationError`` and ``DataError`` for what cannot be trained.
    """
    _require_data(arguments, recipe)
    file = read_weights(arguments.start) if arguments.start else None
    start = _begun(arguments, recipe, file)
    size_hw, names = start.network.config.size_hw, start.network.config.class_names
    targets = [read_data(path, names) for path in arguments.target]
    source = read_data(arguments.source, names) if arguments.source else None
    held_out = read_data(arguments.held_out, names) if arguments.held_out else None
    if (count := arguments.target_pictures) is not None:
        targets = [_few(dataset, count) for dataset in targets]
    for name, dataset in zip(map(str, arguments.target), targets, strict=True):
        _require_objects(name, dataset)
    if held_out is not None:
        _require_objects(str(arguments.held_out), held_out)
    pictures = AugmentedPictures(targets, source, recipe, size_hw, arguments.seed)
    return Ingredients(file, start, (*targets, *([] if source is None else [source])), pictures, held_out)


def _begun(arguments: TrainArguments, recipe: Recipe, file: WeightFile | None) -> Start:
    """The network as it starts, frozen as the recipe says."""
    torch.manual_seed(arguments.seed)
    size_hw = parse_size(arguments.size) if arguments.size else None
    start = begin(recipe, file, Choice(arguments.preset, arguments.classes, size_hw, arguments.reinitialise_classes))
    freeze(start.network, recipe.trains, start.new, recipe.freeze_first)
    return start


def _few(target: InstanceDataset, count: int) -> InstanceDataset:
    """Fewer are always a part of more."""
    require("target_pictures", 1 <= count <= len(target), f"1 to the {len(target)} that {place(target)} has", count)
    return draw_lots(target, [*range(len(target))], count, seed=0)


def _require_objects(name: str, dataset: InstanceDataset) -> None:
    labels = (label for index in range(len(dataset)) for label in dataset.classes_on(index))
    if all(ignored for _, ignored in labels):
        known = ", ".join(dataset.class_names)
        raise DataError(f"{name} has no object of any of the classes {known} in its {len(dataset)} pictures")


def _say_nothing(_line: str) -> None:
    """The leader speaks for all processes."""


def _decided(arguments: TrainArguments, trainer: Trainer) -> Iterator[str]:
    """What the run decided on its own, in words."""
    base, recipe, ranks = _named(arguments), trainer.recipe, trainer.ranks
    if recipe.batch != base.batch:
        yield (
            f"batch {recipe.batch}, where the recipe has {base.batch}: learning rate {recipe.learning_rate:g} (the "
            f"recipe's {base.learning_rate:g}), {recipe.steps} steps ({base.steps}); unless given, the rate grows with "
            "the batch and the steps shrink with it (Goyal et al. 2017)"
        )
    if ranks.count > 1 or recipe.accumulate > 1:
        share = recipe.batch // ranks.count // recipe.accumulate
        yield f"each batch is learned by {ranks.count} processes in {recipe.accumulate} parts of {share} pictures"
    learns = trainer.learner.learns_statistics and any(p.requires_grad for p in trainer.network.backbone.parameters())
    source = "are learned" if learns else "stay as they were stored"
    yield f"BatchNorm's statistics {source}; precision {recipe.precision}; device {trainer.device}"


def _told(name: str, recipe: Recipe, start: Start) -> Iterator[str]:
    """The recipe in words: what it is, what became of the weights, what learns, what is frozen and what is new."""
    yield f"recipe {name}: {recipe.summary}; {recipe.steps} steps of {recipe.batch} pictures"
    yield from start.told
    yield from freezing_in_words(start.network, start.new, recipe.freeze_first)


def _seen(made_of: Ingredients) -> Iterator[str]:
    """The data sets in words, and what the weights that it starts from had seen."""
    yield from map(describe, made_of.datasets)
    if (file := made_of.file) is not None:
        yield f"before that: {training_history(file.progress) if file.config else unknown_data(file)}"


def summary(step: int, evaluation: Evaluation) -> str:
    """One line for people."""
    return (
        f"step {step}: box AP {100 * evaluation.box.ap:.1f}, mask AP {100 * evaluation.mask.ap:.1f} "
        f"(AP50 {100 * evaluation.mask.ap50:.1f}) on {evaluation.images} pictures"
    )


def recipe_of(arguments: TrainArguments) -> Recipe:
    """The recipe that the arguments name, with the schedule and all figures that they change; raises
    ``ConfigurationError`` for names and numbers that no training can have."""
    recipe = _named(arguments)
    names = ("batch", "steps", "learning_rate", "accumulate", "ema_decay", "precision", "batch_norm", "freeze_first")
    changes = {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}
    for name in names[:4]:
        if changes.get(name, 1) <= 0:
            raise ConfigurationError(name, f"expected a number above 0, but {changes[name]} came")
    for name in ("seed", "workers", "threads", "checkpoint_every", "evaluate_every", "freeze_first"):
        require(name, (getattr(arguments, name) or 0) >= 0, "0 or more", getattr(arguments, name))
    require("ema_decay", 0 <= changes.get("ema_decay", 0) < 1, "a number from 0 to below 1", arguments.ema_decay)
    changes |= _taught(arguments, recipe)
    if arguments.jitter:
        changes["augmentation"] = replace(recipe.augmentation, jitter=LARGE_SCALE_JITTER)
    steps = changes.pop("steps", None)
    changed = replace(recipe.for_batch(changes.pop("batch", recipe.batch)), **changes)
    if steps is not None:
        changed = changed.lasting(steps)
    require(
        "batch",
        changed.steps > 0 or not recipe.steps,
        f"one with which the recipe's {recipe.steps} steps leave any",
        changed.batch,
    )
    return changed


def _named(arguments: TrainArguments) -> Recipe:
    for field, name in (("recipe", arguments.recipe), ("schedule", arguments.schedule or arguments.recipe)):
        require(field, name in RECIPES, "a name that `streetmask train recipes` lists", name)
    recipe = RECIPES[arguments.recipe]
    return recipe.scheduled_as(RECIPES[arguments.schedule]) if arguments.schedule else recipe


def _taught(arguments: TrainArguments, recipe: Recipe) -> dict[str, Any]:
    """What of the recipe's loss and mixing is changed."""
    changes: dict[str, Any] = {}
    figures: dict[str, Any] = {name: getattr(arguments, name) for name in ("alpha", "gamma", "beta")}
    figures["kind"] = arguments.class_loss
    asked = {name: value for name, value in figures.items() if value is not None}
    if asked:
        classes = replace(recipe.losses.classes, **asked)
        focal = classes.is_focal or not asked.keys() & {"alpha", "gamma"}
        require("class_loss", focal, "a focal loss, as alpha and gamma are given", classes.kind)
        is_star = classes.kind == "focal-star"
        require("class_loss", is_star or "beta" not in asked, "focal-star, as beta is given", classes.kind)
        require("alpha", 0 <= classes.alpha <= 1, "0 to 1", classes.alpha)
        require("gamma", classes.gamma >= 0, "0 or more", classes.gamma)
        require(
            "gamma", classes.gamma > 0 or not is_star, "a number above 0, by which focal-star divides", classes.gamma
        )
        require("beta", isfinite(classes.beta), "a number", classes.beta)
        changes["losses"] = replace(recipe.losses, classes=classes)
    if (count := arguments.source_pictures) is not None:
        require("source_pictures", count >= 1, "1 or more", count)
        require("source_pictures", recipe.mixing is not None, "a recipe that mixes pictures in", arguments.recipe)
        changes["mixing"] = replace(recipe.mixing or SourceRule(), count=count)
    return changes


def _require_steps(arguments: TrainArguments) -> None:
    if arguments.recipe in RECIPES and not RECIPES[arguments.recipe].steps:
        weights, data = arguments.start or "WEIGHTS", arguments.held_out or next(iter(arguments.target), "DATA")
        raise ConfigurationError(
            "recipe",
            f"{arguments.recipe} trains nothing, it measures weights as they are: run "
            f"`streetmask evaluate {weights} --data {data} --classes street`",
        )


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
