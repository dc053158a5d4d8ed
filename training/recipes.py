"""How a network is trained, as frozen values: schedule, optimiser, augmentation, losses."""

import math
from dataclasses import dataclass, field, replace
from typing import Literal

from training.losses import LossSettings
from training.transforms import Augmentation

_LOWEST = 0.02


@dataclass(frozen=True)
class Recipe:
    """One way to train. Learning rates are for the whole batch; ``milestones`` are shares of ``steps`` at which the
    rate falls to a tenth, unless ``cosine_from`` is the share from which it falls along a cosine to a fiftieth (SGDR,
    Loshchilov and Hutter 2017, equation 5, without restarts). ``source_share`` is the share of a batch's pictures drawn
    from the second data set, if any. ``precision`` is "bfloat16" or "float16" (autocast, master weights in float32, for
    the second with gradients scaled) or "float32"; ``optimiser`` "sgd" or "adamw", of which the first heeds
    ``momentum``. A batch is learned in ``accumulate`` parts. ``ema_decay`` is that of the weights' moving average, 0
    for none. ``batch_norm`` says where its statistics come from (``training.batch_norm``).
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
    precision: Literal["bfloat16", "float16", "float32"] = "bfloat16"
    accumulate: int = 1
    ema_decay: float = 0.0
    batch_norm: Literal["rule", "stored", "learned"] = "rule"
    augmentation: Augmentation = field(default_factory=Augmentation)
    losses: LossSettings = field(default_factory=LossSettings)

    def for_batch(self, batch: int) -> "Recipe":
        """The same training in steps of another size: the rate grows with the batch (Goyal et al. 2017, section 2.1),
        steps and warm-up shrink with it, and the average looks back on as many pictures (Busbridge et al. 2023).
        """
        ratio = batch / self.batch
        return replace(
            self,
            batch=batch,
            steps=round(self.steps / ratio),
            learning_rate=self.learning_rate * ratio,
            warmup_steps=round(self.warmup_steps / ratio),
            warmup_start=self.warmup_start * ratio,
            ema_decay=self.ema_decay**ratio,
        )

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

NANO_ONWARDS = replace(
    NANO_FROM_NOTHING, steps=9_200, batch=4, learning_rate=7e-4, cosine_from=0.4, batch_norm="learned"
)
"""For a nano that has learned something already, such as the bundled one: many small steps, and a rate without the
noise under which its losses rose again."""

RECIPES: dict[str, Recipe] = {"nano": NANO_FROM_NOTHING, "nano-onwards": NANO_ONWARDS}
