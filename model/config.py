"""What a network is made of, as frozen values. Variants by ``dataclasses.replace``; presets are constants."""

from dataclasses import dataclass, replace
from typing import Literal

from scene.classes import COCO_CLASSES, PASCAL_CLASSES, STREET_CLASSES

BlockKind = Literal["bottleneck", "basic", "darknet"]
Scoring = Literal["softmax", "sigmoid", "objectness", "gated"]
"""What class logits mean (``model.scoring``), which the loss that teaches them decides."""


@dataclass(frozen=True)
class BackboneConfig:
    """A ResNet (He et al. 2016) of bottleneck or basic blocks, deformable where the stage says so; or a Darknet
    (Redmon & Farhadi 2018).

    ``blocks``, ``planes`` and ``deformable`` have one entry a stage. A block's output is its planes wide if basic,
    twice that in a Darknet, four times that with a bottleneck. ``deformable`` counts the blocks, from the stage's end,
    whose inner 3x3 convolution is a DCNv2, of which every ``deformable_interval``-th is taken (YOLACT++, section 6.2).
    """

    stem_channels: int
    blocks: tuple[int, ...]
    planes: tuple[int, ...]
    deformable: tuple[int, ...]
    deformable_interval: int = 1
    kind: BlockKind = "bottleneck"


@dataclass(frozen=True)
class AnchorConfig:
    """Anchor sides in pixels of the input, per pyramid level, and ratios of width to height.

    ``square`` makes every height equal to the width: the original YOLACT v1's bug, on which its weights depend.
    """

    scales_px: tuple[tuple[float, ...], ...]
    ratios: tuple[float, ...] = (1.0, 0.5, 2.0)
    square: bool = False

    def scaled(self, factor: float) -> "AnchorConfig":
        """Every side times the factor: the study's half scales are ``replace(config, anchors=anchors.scaled(0.5))``."""
        scales_px = tuple(tuple(side * factor for side in level) for level in self.scales_px)
        return replace(self, scales_px=scales_px)

    @property
    def per_cell(self) -> int:
        """Anchors at one place of one level; every level has as many."""
        return len(self.scales_px[0]) * len(self.ratios)


@dataclass(frozen=True)
class YolactConfig:
    """The whole network. ``size_hw`` is the input's (height, width) in pixels, both any positive multiple of 32 or not.

    ``proto_channels`` are the widths of the protonet's 3x3 convolutions, a group before, between and after each of its
    upsamplings, of which there is one in the published networks: masks at a quarter of the input's size;
    ``rescoring_channels`` those of the mask-IoU network's strided ones, empty for a network without it.
    ``mean_rgb`` and ``std_rgb`` normalise a picture of 0..255. ``scoring`` is how class logits are read.
    """

    class_names: tuple[str, ...]
    size_hw: tuple[int, int]
    backbone: BackboneConfig
    fpn_channels: int
    anchors: AnchorConfig
    prototypes: int
    proto_channels: tuple[tuple[int, ...], ...]
    rescoring_channels: tuple[int, ...]
    mean_rgb: tuple[float, float, float] = (123.68, 116.78, 103.94)
    std_rgb: tuple[float, float, float] = (58.40, 57.12, 57.38)
    scoring: Scoring = "softmax"

    @property
    def class_count(self) -> int:
        """Classes without the background."""
        return len(self.class_names)


def octave_scales(sides_px: tuple[float, ...], steps: int) -> tuple[tuple[float, ...], ...]:
    """Per level, ``steps`` scales within an octave from its base side (RetinaNet, section 4)."""
    return tuple(tuple(side * 2 ** (step / steps) for step in range(steps)) for side in sides_px)


STREET_NANO = YolactConfig(
    class_names=STREET_CLASSES,
    size_hw=(320, 640),
    backbone=BackboneConfig(stem_channels=32, blocks=(2, 2, 3, 2), planes=(16, 32, 64, 128), deformable=(0, 0, 3, 2)),
    fpn_channels=64,
    anchors=AnchorConfig(octave_scales((12.0, 26.0, 56.0, 116.0, 240.0), steps=2)),
    prototypes=16,
    proto_channels=((48, 48, 48), (40,), (16,)),
    rescoring_channels=(8, 16, 32, 64, 128),
)
"""The bundled network: every box of YOLACT++, small enough to train and to run on a CPU; wide, as a dashcam sees."""

_STAGES = (64, 128, 256, 512)
_SIDES_PX = (24.0, 48.0, 96.0, 192.0, 384.0)
_PLUS_ANCHORS = AnchorConfig(octave_scales(_SIDES_PX, steps=3))

RESNET18 = BackboneConfig(64, (2, 2, 2, 2), _STAGES, (0, 0, 0, 0), kind="basic")
RESNET34 = BackboneConfig(64, (3, 4, 6, 3), _STAGES, (0, 0, 0, 0), kind="basic")
RESNET50 = BackboneConfig(64, (3, 4, 6, 3), _STAGES, (0, 0, 0, 0))
RESNET101 = BackboneConfig(64, (3, 4, 23, 3), _STAGES, (0, 0, 0, 0))
RESNET50_DCN = replace(RESNET50, deformable=(0, 4, 6, 3))
RESNET101_DCN = replace(RESNET101, deformable=(0, 4, 23, 3), deformable_interval=3)
DARKNET53 = BackboneConfig(32, (1, 2, 8, 8, 4), (32, 64, 128, 256, 512), (0, 0, 0, 0, 0), kind="darknet")

YOLACT_BASE = YolactConfig(
    class_names=COCO_CLASSES,
    size_hw=(550, 550),
    backbone=RESNET101,
    fpn_channels=256,
    anchors=AnchorConfig(octave_scales(_SIDES_PX, steps=1), square=True),
    prototypes=32,
    proto_channels=((256, 256, 256), (256,)),
    rescoring_channels=(),
)
"""YOLACT with ResNet-101 on COCO (Bolya et al. 2019); the other published networks differ from it as they say."""

YOLACT_PLUS_BASE = replace(
    YOLACT_BASE, backbone=RESNET101_DCN, anchors=_PLUS_ANCHORS, rescoring_channels=(8, 16, 32, 64, 128)
)
"""YOLACT++ with ResNet-101 on COCO (Bolya et al. 2020)."""


def resized(config: YolactConfig, side_px: int) -> YolactConfig:
    """A square input of another side, anchors in whole pixels, rounded down, as the published 400 and 700 have them."""
    scales_px = tuple(
        tuple(float(int(side / config.size_hw[0] * side_px)) for side in level) for level in config.anchors.scales_px
    )
    return replace(config, size_hw=(side_px, side_px), anchors=replace(config.anchors, scales_px=scales_px))


PUBLISHED: dict[str, YolactConfig] = {
    "yolact-resnet50": replace(YOLACT_BASE, backbone=RESNET50),
    "yolact-base": YOLACT_BASE,
    "yolact-im400": resized(YOLACT_BASE, 400),
    "yolact-im700": resized(YOLACT_BASE, 700),
    "yolact-darknet53": replace(
        YOLACT_BASE, backbone=DARKNET53, mean_rgb=(0.0, 0.0, 0.0), std_rgb=(255.0, 255.0, 255.0)
    ),
    "yolact-resnet50-pascal": replace(
        YOLACT_BASE,
        class_names=PASCAL_CLASSES,
        backbone=RESNET50,
        anchors=AnchorConfig(octave_scales((32.0, 64.0, 128.0, 256.0, 512.0), steps=1)),
    ),
    "yolact-plus-resnet50": replace(YOLACT_PLUS_BASE, backbone=RESNET50_DCN),
    "yolact-plus-base": YOLACT_PLUS_BASE,
}
"""The eight networks of the authors' repository, by its names; ``base`` is the one with ResNet-101."""

_WIDE_HW = (384, 768)


def _street(config: YolactConfig, backbone: BackboneConfig, wide: bool) -> YolactConfig:
    """For the street's classes; wide: for frames twice as wide as high, at the cost of the square."""
    size_hw = _WIDE_HW if wide else config.size_hw
    return replace(config, class_names=STREET_CLASSES, backbone=backbone, size_hw=size_hw)


STREET: dict[str, YolactConfig] = {
    f"street-{name}{suffix}": _street(config, backbone, wide=bool(suffix))
    for name, config, backbone in (
        ("yolact-resnet18", YOLACT_BASE, RESNET18),
        ("yolact-resnet34", YOLACT_BASE, RESNET34),
        ("yolact-resnet50", YOLACT_BASE, RESNET50),
        ("yolact-resnet101", YOLACT_BASE, RESNET101),
        ("yolact-plus-resnet50", YOLACT_PLUS_BASE, RESNET50_DCN),
        ("yolact-plus-resnet101", YOLACT_PLUS_BASE, RESNET101_DCN),
    )
    for suffix in ("", "-wide")
}
"""The same for Cityscapes' eight classes, and two lighter ones; published weights fit but for the class layers."""

PRESETS: dict[str, YolactConfig] = {"street-nano": STREET_NANO, **STREET, **PUBLISHED}


def preset_like(config: YolactConfig) -> str | None:
    """The preset of which this is a variant: it differs in nothing but its classes, its anchors' sides and its scoring.

    Of two that differ in no more themselves, the one of the same classes, or else the published one.
    """

    def is_like(preset: YolactConfig) -> bool:
        sides = replace(config.anchors, scales_px=preset.anchors.scales_px)
        same_count = config.anchors.per_cell == preset.anchors.per_cell
        return same_count and preset == replace(
            config, class_names=preset.class_names, anchors=sides, scoring=preset.scoring
        )

    alike = [name for name in (*PUBLISHED, *PRESETS) if is_like(PRESETS[name])]
    same_classes = [name for name in alike if PRESETS[name].class_names == config.class_names]
    return next(iter(same_classes + alike), None)
