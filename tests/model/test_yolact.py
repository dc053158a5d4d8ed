import pytest
import torch

from model.config import STREET_NANO
from model.deform_conv import DeformConv2d
from model.outputs import YolactOutputs
from model.yolact import Yolact, normalise
from tests.model.tiny_network import TINY, seeded_network


def test_the_bundled_network_is_small() -> None:
    network = Yolact(STREET_NANO)
    assert sum(parameter.numel() for parameter in network.parameters()) <= 3_500_000


def test_the_bundled_network_is_deformable_in_its_last_two_stages_and_rescores() -> None:
    network = Yolact(STREET_NANO)
    names = [name for name, module in network.named_modules() if isinstance(module, DeformConv2d)]
    blocks = STREET_NANO.backbone.blocks
    assert names == [f"backbone.layers.{stage}.{block}.conv2" for stage in (2, 3) for block in range(blocks[stage])]
    assert network.maskiou_net is not None


@pytest.mark.parametrize("training", [False, True])
def test_forward_returns_one_type_in_training_and_inference(training: bool) -> None:
    network = seeded_network().train(training)
    with torch.no_grad():
        outputs = network(torch.randn(2, 3, *TINY.size_hw, generator=torch.Generator().manual_seed(0)))
    anchors = (8 * 16 + 4 * 8 + 2 * 4 + 1 * 2 + 1) * 3
    assert type(outputs) is YolactOutputs
    assert {name: tuple(tensor.shape) for name, tensor in outputs._asdict().items()} == {
        "box_offsets": (2, anchors, 4),
        "class_logits": (2, anchors, 9),
        "mask_coefficients": (2, anchors, 8),
        "prototypes": (2, 16, 32, 8),
        "p3": (2, 16, 8, 16),
    }
    assert float(outputs.prototypes.min()) >= 0
    assert float(outputs.mask_coefficients.abs().max()) <= 1


def test_a_fresh_networks_offset_layers_are_zero_and_its_other_weights_are_not() -> None:
    network = Yolact(TINY)
    guides = [value for name, value in network.named_parameters() if "conv_offset_mask" in name]
    assert len(guides) == 2 * 3
    assert not any(bool(value.any()) for value in guides)
    for name, value in network.named_parameters():
        if name.endswith("weight") and "conv_offset_mask" not in name:
            assert bool(value.any()), name


def test_normalisation_by_hand() -> None:
    pixel = torch.tensor([[[[0, 117, 255]]]], dtype=torch.uint8)
    expected = [(0 - 123.68) / 58.40, (117 - 116.78) / 57.12, (255 - 103.94) / 57.38]
    image = normalise(pixel, TINY)
    assert image.shape == (1, 3, 1, 1)
    torch.testing.assert_close(image.flatten(), torch.tensor(expected))


def test_normalisation_keeps_rows_and_columns() -> None:
    image = torch.zeros(1, 4, 6, 3, dtype=torch.uint8)
    image[0, 1, 5, 2] = 255
    changed = (normalise(image, TINY) - normalise(torch.zeros_like(image), TINY)).nonzero()
    assert changed.tolist() == [[0, 2, 1, 5]]
