"""How a network is trained, as frozen values: schedule, optimiser, augmentation, losses."""

import math
from dataclasses import dataclass, field, replace
from typing import Literal

from training.data.mixing import PasteSettings, SourceRule
from training.losses import LossSettings
from training.transforms import Augmentation

_LOWEST = 0.02


@dataclass(frozen=True)
class Recipe:
    """One way to train. Learning rates are for the whole batch; ``milestones`` are shares of ``steps`` at which the
    rate falls to a tenth, unless ``cosine_from`` is the share from which it falls along a cosine to a fiftieth (SGDR,
    Loshchilov and Hutter 2017, equation 5, without restarts). ``source_share`` is the share of a batch's pictures drawn
    from the second data set, if any; ``mixing`` says which of its pictures join the target's, each picture then as
    likely as any other, and ``pasting`` how its instances are pasted into the target's. ``precision`` is "bfloat16"
    (autocast, master weights in float32) or "float32"; ``optimiser`` "sgd" or "adamw", of which the first heeds
    ``momentum``.
    """

    steps: int
    batch: int = 8
    optimiser: Literal["sgd", "adamw"] = "sgd"
    learning_rate: float = 1e-3
    warmup_steps: int = 500
    warmup_start: float = 1e-4
    milestones: tuple[float, ...] = (0.35, 0.75, 0.875, 0.9375)
    cosine_from: float | None = None
    momentum: float = 0.9
    weight_decay: float = 5e-4
    clip_norm: float = 0.0
    source_share: float = 0.0
    mixing: SourceRule | None = None
    pasting: PasteSettings | None = None
    precision: Literal["bfloat16", "float32"] = "bfloat16"
    augmentation: Augmentation = field(default_factory=Augmentation)
    losses: LossSettings = field(default_factory=LossSettings)

    def rate_at(self, step: int) -> float:
        """The learning rate of a step, counted from 0: linear warm-up, then down by milestones or along the cosine."""
        if step < self.warmup_steps:
            return self.warmup_start + (self.learning_rate - self.warmup_start) * step / self.warmup_steps
        if self.cosine_from is not None:
            passed = max(0.0, step / self.steps - self.cosine_from) / (1 - self.cosine_from)
            return self.learning_rate * (_LOWEST + (1 - _LOWEST) * (1 + math.cos(math.pi * passed)) / 2)
        passed = sum(step >= share * self.steps for share in self.milestones)
        return self.learning_rate * 0.1**passed


NANO_FROM_NOTHING = Recipe(
    steps=12_000,
    optimiser="adamw",
    learning_rate=1.5e-3,
    warmup_steps=200,
    milestones=(0.65, 0.88),
    weight_decay=0.02,
    clip_norm=35.0,
    source_share=0.1,
    augmentation=Augmentation(expand_max=1.3, min_remaining=0.25),
    losses=LossSettings(masks_per_picture=40),
)
"""The bundled network's: random weights, a rate that BatchNorm bears, and objects that are small enough already."""

NANO_ONWARDS = replace(NANO_FROM_NOTHING, steps=9_200, batch=4, learning_rate=7e-4, cosine_from=0.4)
"""For a nano that has learned something already, such as the bundled one: many small steps, and a rate without the
noise under which its losses rose again."""

RECIPES: dict[str, Recipe] = {"nano": NANO_FROM_NOTHING, "nano-onwards": NANO_ONWARDS}
