from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from export.graph import deployable
from export.lowering import DeformConvNode
from export.to_onnx import OPSET
from model.config import BackboneConfig, YolactConfig
from model.deform_conv import DeformConv2d
from model.detect import DetectSettings
from model.outputs import YolactOutputs
from model.segmenter import Segmenter
from model.yolact import Yolact
from tests.model.tiny_network import TINY, seeded_network

BASIC = replace(
    TINY, backbone=BackboneConfig(8, blocks=(1, 1, 2, 1), planes=(8, 16, 16, 24), deformable=(0, 0, 2, 1), kind="basic")
)
DARKNET = replace(
    TINY, backbone=BackboneConfig(8, blocks=(1, 1, 2, 1), planes=(4, 8, 8, 12), deformable=(0, 0, 0, 0), kind="darknet")
)


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


@pytest.mark.parametrize("config", [TINY, BASIC, DARKNET])
def test_raw_outputs_are_the_networks_and_no_norm_is_left(config: YolactConfig, image: Tensor) -> None:
    network = seeded_network(config)
    module = deployable(network).network
    with torch.inference_mode():
        expected: YolactOutputs = network(image)
        ours: YolactOutputs = module(image)
    for name, tensor in expected._asdict().items():
        torch.testing.assert_close(getattr(ours, name), tensor, atol=1e-4, rtol=1e-4, msg=name)
    assert count(module, nn.BatchNorm2d) == 0 < count(network, nn.BatchNorm2d)
    assert count(module, DeformConv2d) == 0
    assert count(module, DeformConvNode) == count(network, DeformConv2d) == sum(config.backbone.deformable)


def test_weights_and_maps_are_channels_last_all_the_way(network: Yolact) -> None:
    module = deployable(network)
    strays: list[str] = []

    def look(part: nn.Module, _: object, answer: object) -> None:
        if isinstance(answer, Tensor) and not answer.is_contiguous(memory_format=torch.channels_last):
            strays.append(str(part))

    for part in module.network.modules():
        if isinstance(part, nn.Conv2d | DeformConv2d):
            assert part.weight.is_contiguous(memory_format=torch.channels_last)
            part.register_forward_hook(look)
    with torch.inference_mode():
        module.infer(torch.zeros(1, *TINY.size_hw, 3, dtype=torch.uint8))
    assert strays == []


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_network_of_half_precision_answers_nearly_the_same_in_float32(network: Yolact, dtype: torch.dtype) -> None:
    picture = torch.randint(0, 256, (1, *TINY.size_hw, 3), generator=torch.Generator().manual_seed(2)).to(torch.uint8)
    half, whole = deployable(network, dtype=dtype), deployable(network)
    assert {tensor.dtype for tensor in half.network.backbone.state_dict().values()} == {dtype}
    with torch.inference_mode():
        ours, expected = half.infer(picture), whole.infer(picture)
        answers, contract = half(picture), whole(picture)
    for name, tensor in expected._asdict().items():
        answer: Tensor = getattr(ours, name)
        assert answer.dtype == torch.float32, name
        assert 0 < float((answer - tensor).norm() / tensor.norm()) < 0.02, name
    assert [tensor.dtype for tensor in answers] == [tensor.dtype for tensor in contract]
    assert [tensor.shape for tensor in answers] == [tensor.shape for tensor in contract]
    assert int(answers.num[0]) > 10, "the case should find something"
    torch.testing.assert_close(answers.scores, contract.scores, atol=0.05, rtol=0)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("dilation", [1, 2, 3])
@pytest.mark.filterwarnings("ignore::FutureWarning:copyreg")
def test_an_exported_node_answers_as_torch(tmp_path: Path, stride: int, dilation: int) -> None:
    torch.manual_seed(0)
    layer = DeformConvNode(4, 6, stride, dilation).eval()
    nn.init.normal_(layer.conv_offset_mask.weight, std=0.3)
    nn.init.normal_(layer.conv_offset_mask.bias)  # type: ignore[arg-type]
    image = torch.randn(2, 4, 9, 7)
    path = tmp_path / "layer.onnx"
    torch.onnx.export(layer, (image,), path, input_names=["image"], opset_version=OPSET, dynamo=True, verbose=False)
    assert [node.op_type for node in onnx.load(path).graph.node].count("DeformConv") == 1
    (answer,) = onnxruntime.InferenceSession(path).run(None, {"image": image.numpy()})
    with torch.inference_mode():
        np.testing.assert_allclose(answer, layer(image).numpy(), atol=1e-4)


def test_the_network_itself_stays_as_it_was() -> None:
    network = seeded_network().train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    module = deployable(network, DetectSettings(max_detections=7))
    assert module.settings.max_detections == 7
    assert not any(part.training for part in module.modules())
    assert network.training
    assert network.state_dict().keys() == before.keys()
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
