"""Every box of the figure at a size that a test can afford, with weights that find something."""

from dataclasses import replace

from model.config import STREET_NANO, AnchorConfig, BackboneConfig, YolactConfig, octave_scales
from model.seeded_weights import fill_seeded_weights
from model.yolact import Yolact

TINY = replace(
    STREET_NANO,
    size_hw=(64, 128),
    backbone=BackboneConfig(stem_channels=8, blocks=(1, 1, 2, 1), planes=(4, 8, 8, 16), deformable=(0, 0, 2, 1)),
    fpn_channels=16,
    anchors=AnchorConfig(octave_scales((12.0, 24.0, 40.0, 56.0, 90.0), steps=1)),
    prototypes=8,
    proto_channels=((12,), (12,)),
    rescoring_channels=(4, 8, 8),
)


def seeded_network(config: YolactConfig = TINY) -> Yolact:
    """In eval mode; BatchNorm's statistics and the offset layers are random too."""
    network = Yolact(config)
    fill_seeded_weights(network)
    return network.eval()
