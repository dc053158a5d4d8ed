"""How a network is trained, as frozen values: start, what is frozen, data mixed in, schedule, augmentation, losses."""

import math
from dataclasses import dataclass, field, replace
from typing import Literal

from training.class_losses import ClassLossSettings
from training.data.mixing import COCO_1000, COCO_5000, PasteSettings, SourceRule
from training.losses import LossSettings
from training.transforms import Augmentation

MemoryFormat = Literal["channels_last", "contiguous"]
StartKind = Literal["anything", "imagenet", "coco"]
"""What a recipe begins with: any weights or none, a backbone trained on ImageNet, or a network trained on COCO or the
like."""

_LOWEST = 0.02
_SCHEDULE = (
    "steps",
    "batch",
    "optimiser",
    "learning_rate",
    "warmup_steps",
    "warmup_start",
    "milestones",
    "cosine_from",
    "momentum",
    "weight_decay",
    "clip_norm",
    "augmentation",
)


@dataclass(frozen=True)
class Recipe:
    """One way to train, in a line: ``summary``.

    It begins with ``start``; ``preset`` is the network where the weights leave it open, ``anchor_factor`` scales its
    anchors' sides. Only the parts of the network in ``trains`` learn, by their names in the state dict, or everything
    where there are none, and of these not the ``freeze_first`` convolutions from the input side; whatever is new learns
    in any case (``training.freezing``). ``study_ap`` is the box and mask AP that the reference study prints for it, no
    figure of ours.

    Learning rates are for the whole batch; ``milestones`` are shares of ``steps`` at which the
    rate falls to a tenth, unless ``cosine_from`` is the share from which it falls along a cosine to a fiftieth (SGDR,
    Loshchilov and Hutter 2017, equation 5, without restarts). ``source_share`` is the share of a batch's pictures drawn
    from the second data set, if any; ``mixing`` says which of its pictures join the target's, each picture then as
    likely as any other, and ``pasting`` how its instances are pasted into the target's. ``precision`` is "bfloat16" or
    "float16" (autocast, master weights in float32, for the second with gradients scaled) or "float32"; ``optimiser``
    "sgd" or "adamw", of which the first heeds ``momentum``. A batch is learned in ``accumulate`` parts. ``ema_decay``
    is that of the weights' moving average, 0 for none. ``batch_norm`` says where its statistics come from
    (``training.batch_norm``), ``memory_format`` is of weights and maps. No steps: nothing is trained, the weights are
    measured as they are.
    """

    steps: int
    summary: str = ""
    start: StartKind = "anything"
    preset: str = "street-nano"
    anchor_factor: float = 1.0
    trains: tuple[str, ...] = ()
    freeze_first: int = 0
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
    precision: Literal["bfloat16", "float16", "float32"] = "bfloat16"
    accumulate: int = 1
    ema_decay: float = 0.0
    batch_norm: Literal["rule", "stored", "learned"] = "rule"
    memory_format: MemoryFormat = "channels_last"
    augmentation: Augmentation = field(default_factory=Augmentation)
    losses: LossSettings = field(default_factory=LossSettings)
    study_ap: tuple[float, float] | None = None

    @property
    def needs_source(self) -> bool:
        """Whether it is not itself without a second data set."""
        return self.mixing is not None or self.pasting is not None

    @property
    def takes_source(self) -> bool:
        """Whether it has a use for a second data set."""
        return self.needs_source or self.source_share > 0

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

    def lasting(self, steps: int) -> "Recipe":
        """The same training in so many steps: milestones move along, and warm-up takes a tenth of them at most."""
        return replace(self, steps=steps, warmup_steps=min(self.warmup_steps, steps // 10))

    def scheduled_as(self, other: "Recipe") -> "Recipe":
        """What this recipe trains, on what and by which loss, but with the steps, the optimiser, its rates, the masks a
        picture and the augmentation of another one."""
        if not self.steps:
            return self
        losses = replace(self.losses, masks_per_picture=other.losses.masks_per_picture)
        return replace(self, losses=losses, **{name: getattr(other, name) for name in _SCHEDULE})

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
    summary="the bundled network's: from random weights or any others, on a CPU's budget",
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
    NANO_FROM_NOTHING,
    summary="for a nano that has learned something already",
    steps=4_500,
    batch=4,
    learning_rate=7e-4,
    cosine_from=0.2,
    ema_decay=0.9985,
    batch_norm="learned",
)
"""For a nano that has learned something already, such as the bundled one: many small steps, a rate without the noise
under which its losses rose again, and the average of the weights."""

NANO_STUDY = replace(
    NANO_FROM_NOTHING,
    summary="everything, from any weights or none, as the stand-in study trains",
    steps=600,
    learning_rate=7e-4,
    warmup_steps=60,
    cosine_from=0.2,
    source_share=0.0,
)
"""The schedule of the study on generated pictures: one for all rows, short, and for small objects."""

HEAD = ("prediction_layers",)
NO_BACKBONE = ("prediction_layers", "proto_net", "maskiou_net", "semantic_seg_conv")
"""The study's "only the prediction head" and "all but the backbone", whose FPN counts as backbone."""

_YOLACT = Recipe(steps=22_500, start="coco", preset="street-yolact-resnet50")
"""The study's schedule, 22,500 steps of 8 pictures, with the rates, losses and augmentation of the code that it used.

Ours on purpose: bfloat16, crops that keep to SSD's rule (``transforms.CROP_AS_PUBLISHED`` is that code's way), and
objects dropped by the share of their mask and their size that a crop leaves, not by their box's centre.
"""

_PLUS = replace(_YOLACT, preset="street-yolact-plus-resnet50")
_RARE = "1000 COCO pictures without cars and persons"

STUDY: dict[str, Recipe] = {
    "yolact-untrained": replace(
        _YOLACT, steps=0, summary="COCO's weights as they are, classes mapped: an evaluation", study_ap=(0.76, 14.5)
    ),
    "yolact-imagenet": replace(
        _YOLACT, start="imagenet", summary="everything, from an ImageNet backbone", study_ap=(8.13, 6.11)
    ),
    "plus-imagenet": replace(
        _PLUS, start="imagenet", summary="everything, from an ImageNet backbone", study_ap=(12.89, 9.83)
    ),
    "yolact-head": replace(_YOLACT, trains=HEAD, summary="only the prediction head", study_ap=(16.68, 14.68)),
    "yolact-no-backbone": replace(
        _YOLACT, trains=NO_BACKBONE, summary="all but the backbone and the FPN", study_ap=(20.92, 17.64)
    ),
    "yolact-full": replace(_YOLACT, summary="everything", study_ap=(22.43, 14.36)),
    "yolact-full-half": replace(
        _YOLACT, anchor_factor=0.5, summary="everything, half anchor scales", study_ap=(19.33, 19.63)
    ),
    "plus-head": replace(_PLUS, trains=HEAD, summary="only the prediction head", study_ap=(23.61, 21.04)),
    "plus-no-backbone": replace(
        _PLUS, trains=NO_BACKBONE, summary="all but the backbone and the FPN", study_ap=(24.84, 12.08)
    ),
    "plus-full": replace(_PLUS, summary="everything", study_ap=(28.22, 17.59)),
    "plus-full-coco1000": replace(
        _PLUS, mixing=COCO_1000, summary=f"everything, with {_RARE}", study_ap=(27.36, 23.02)
    ),
    "plus-full-coco5000": replace(
        _PLUS, mixing=COCO_5000, summary="everything, with 5000 COCO pictures", study_ap=(1.87, 1.5)
    ),
    "plus-full-paste": replace(
        _PLUS, pasting=PasteSettings(), summary="everything, with COCO's instances pasted in", study_ap=(28.05, 18.18)
    ),
    "plus-full-half": replace(
        _PLUS, anchor_factor=0.5, summary="everything, half anchor scales", study_ap=(23.76, 20.37)
    ),
    "plus-full-focal": replace(
        _PLUS,
        losses=LossSettings(classes=ClassLossSettings("focal")),
        summary="everything, focal loss",
        study_ap=(23.13, 15.98),
    ),
    "plus-head-coco1000": replace(
        _PLUS, trains=HEAD, mixing=COCO_1000, summary=f"only the prediction head, with {_RARE}", study_ap=(23.93, 21.60)
    ),
    "plus-no-backbone-coco1000": replace(
        _PLUS,
        trains=NO_BACKBONE,
        mixing=COCO_1000,
        summary=f"all but the backbone and the FPN, with {_RARE}",
        study_ap=(24.52, 20.39),
    ),
    "plus-full-half-coco1000": replace(
        _PLUS,
        anchor_factor=0.5,
        mixing=COCO_1000,
        summary=f"everything, half anchor scales, with {_RARE}",
        study_ap=(23.58, 20.57),
    ),
}
"""The rows of the reference study's tables (YOLACT and YOLACT++ with ResNet-50 on Cityscapes): 18, as "everything,
+1000" stands in two."""

PLUS_UNTRAINED = replace(_PLUS, steps=0, summary="a YOLACT++'s weights as they are, classes mapped: an evaluation")
"""Where weights stand before any training; no row of the reference study, which measured a YOLACT so."""

RECIPES: dict[str, Recipe] = {
    "nano": NANO_FROM_NOTHING,
    "nano-onwards": NANO_ONWARDS,
    "nano-study": NANO_STUDY,
    **STUDY,
    "plus-untrained": PLUS_UNTRAINED,
}
