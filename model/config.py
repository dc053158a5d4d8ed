"""What a network is made of, as frozen values. Variants by ``dataclasses.replace``; presets are constants."""

from dataclasses import dataclass

from scene.classes import STREET_CLASSES


@dataclass(frozen=True)
class BackboneConfig:
    """A ResNet of bottleneck blocks (He et al. 2016), deformable where the stage says so.

    ``blocks``, ``planes`` and ``deformable`` have one entry a stage; a block's output is four times its planes wide.
    ``deformable`` counts the blocks, from the stage's end, whose 3x3 convolution is a DCNv2, of which every
    ``deformable_interval``-th is taken (YOLACT++, section 6.2).
    """

    stem_channels: int
    blocks: tuple[int, ...]
    planes: tuple[int, ...]
    deformable: tuple[int, ...]
    deformable_interval: int = 1


@dataclass(frozen=True)
class AnchorConfig:
    """Anchor sides in pixels of the input, per pyramid level, and ratios of width to height.

    ``square`` makes every height equal to the width: the original YOLACT v1's bug, on which its weights depend.
    """

    scales_px: tuple[tuple[float, ...], ...]
    ratios: tuple[float, ...] = (1.0, 0.5, 2.0)
    square: bool = False

    @property
    def per_cell(self) -> int:
        """Anchors at one place of one level; every level has as many."""
        return len(self.scales_px[0]) * len(self.ratios)


@dataclass(frozen=True)
class YolactConfig:
    """The whole network. ``size_hw`` is the input's (height, width) in pixels, both any positive multiple of 32 or not.

    ``proto_channels`` are the widths of the protonet's 3x3 convolutions before and after its upsampling;
    ``rescoring_channels`` those of the mask-IoU network's strided ones, empty for a network without it.
    ``mean_rgb`` and ``std_rgb`` normalise a picture of 0..255.
    """

    class_names: tuple[str, ...]
    size_hw: tuple[int, int]
    backbone: BackboneConfig
    fpn_channels: int
    anchors: AnchorConfig
    prototypes: int
    proto_channels: tuple[tuple[int, ...], tuple[int, ...]]
    rescoring_channels: tuple[int, ...]
    mean_rgb: tuple[float, float, float] = (123.68, 116.78, 103.94)
    std_rgb: tuple[float, float, float] = (58.40, 57.12, 57.38)

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
    proto_channels=((48, 48, 48), (40,)),
    rescoring_channels=(8, 16, 32, 64, 128),
)
"""The bundled network: every box of YOLACT++, small enough to train and to run on a CPU; wide, as a dashcam sees."""

PRESETS: dict[str, YolactConfig] = {"street-nano": STREET_NANO}
