import pytest
import torch
from torch import Tensor, nn

from export.graph import DeformConvNode, deployable
from model.deform_conv import DeformConv2d
from model.detect import DetectSettings
from model.outputs import YolactOutputs
from model.segmenter import Segmenter
from model.yolact import Yolact
from tests.model.tiny_network import TINY, seeded_network


@pytest.fixture(scope="module")
def network() -> Yolact:
    return seeded_network()


@pytest.fixture(scope="module")
def image() -> Tensor:
    return torch.randn(2, 3, *TINY.size_hw, generator=torch.Generator().manual_seed(0))


def count(module: nn.Module, kind: type[nn.Module]) -> int:
    return sum(type(part) is kind for part in module.modules())


def test_a_blank_picture_gets_the_segmenters_answer(network: Yolact) -> None:
    blank = torch.zeros(1, *TINY.size_hw, 3, dtype=torch.uint8)
    with torch.inference_mode():
        ours, expected = deployable(network)(blank), Segmenter(network).eval()(blank)
    assert torch.equal(ours.num, expected.num)
    torch.testing.assert_close(ours.scores, expected.scores, atol=1e-4, rtol=0)


def test_the_case_is_no_easy_one(network: Yolact) -> None:
    """Were statistics or offsets trivial, folding them wrongly would go unnoticed."""
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    assert norms
    for norm in norms:
        assert norm.running_mean is not None
        assert norm.running_var is not None
        assert float(norm.running_mean.abs().max()) > 0.01
        assert float((norm.running_var - 1).abs().max()) > 0.01
    layers = [module for module in network.modules() if isinstance(module, DeformConv2d)]
    assert len(layers) == 3
    assert all(bool(layer.conv_offset_mask.weight.any()) for layer in layers)


def test_raw_outputs_are_the_networks(network: Yolact, image: Tensor) -> None:
    with torch.inference_mode():
        expected: YolactOutputs = network(image)
        ours: YolactOutputs = deployable(network).network(image)
    for name, tensor in expected._asdict().items():
        torch.testing.assert_close(getattr(ours, name), tensor, atol=1e-4, rtol=1e-4, msg=name)


def test_no_norm_is_left_and_every_deformable_layer_is_a_node(network: Yolact) -> None:
    module = deployable(network)
    assert count(module, nn.BatchNorm2d) == 0
    assert count(module, DeformConv2d) == 0
    assert count(module, DeformConvNode) == count(network, DeformConv2d) == 3


def test_the_network_itself_stays_as_it_was() -> None:
    network = seeded_network().train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    module = deployable(network, DetectSettings(max_detections=7))
    assert module.settings.max_detections == 7
    assert not any(part.training for part in module.modules())
    assert network.training
    assert network.state_dict().keys() == before.keys()
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
