"""Short runs of a tiny network in this process: what the tests of the loop and of its steps share."""

import json
from pathlib import Path
from typing import Any

import torch

from model.yolact import Yolact
from tests.model.tiny_network import TINY
from training.class_losses import ClassLossSettings
from training.data.coco import CocoDataset
from training.evaluate import Evaluation
from training.feed import AugmentedPictures
from training.loop import RunSettings, Trainer
from training.losses import LossSettings
from training.recipes import Recipe

RECIPE = Recipe(
    steps=4,
    batch=2,
    learning_rate=2e-3,
    warmup_steps=2,
    clip_norm=10.0,
    precision="float32",
    losses=LossSettings(classes=ClassLossSettings("balanced-ohem"), masks_per_picture=2),  # counts, and draws masks
)


def trainer(folder: Path, recipe: Recipe = RECIPE, network: Yolact | None = None, **settings: Any) -> Trainer:
    """A trainer of this network, or of one with fresh weights."""
    folder.mkdir(parents=True, exist_ok=True)
    if network is None:
        torch.manual_seed(0)
        network = Yolact(TINY)
    defaults: dict[str, Any] = {"device": "cpu", "checkpoint_every": 0, "evaluate_every": 0, "report_every": 1}
    return Trainer(network, recipe, RunSettings(folder, workers=0, **(defaults | settings)))


def pictures(data: CocoDataset, recipe: Recipe) -> AugmentedPictures:
    """What the network is fed with."""
    return AugmentedPictures([data], None, recipe, TINY.size_hw, seed=1)


def run(trainer: Trainer, data: CocoDataset, held_out: CocoDataset | None = None) -> list[Evaluation]:
    """All steps that are left."""
    return list(trainer.run(pictures(data, trainer.recipe), held_out))


def log_of(folder: Path) -> list[dict[str, Any]]:
    """The run's log, a line a step or evaluation."""
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
