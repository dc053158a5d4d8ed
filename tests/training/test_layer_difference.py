from dataclasses import replace
from math import cos, sin
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from model.config import YolactConfig
from model.weight_file import WeightFile
from model.yolact import Yolact
from scene.classes import COCO_CLASSES
from scene.errors import DataError
from tests.model.tiny_network import TINY, seeded_network
from tests.training.one_step import TINY_YOLACT, imagenet_backbone, weights_of
from training.convolutions import convolutions
from training.layer_difference import CLASS_LAYERS, PairDifferences, layer_differences, weight_difference

NAMES = convolutions(seeded_network().state_dict())
RESCORING_LAST = "maskiou_net.maskiou_net.6"


def saved(state: dict[str, Tensor], name: str = "other.pth", config: YolactConfig | None = TINY) -> WeightFile:
    return WeightFile(Path(name), "PyTorch zip", state, config)


def turned(**weights: Tensor) -> WeightFile:
    """The tiny network's file with other weights in some convolutions."""
    return saved(dict(seeded_network().state_dict()) | {f"{name}.weight": weight for name, weight in weights.items()})


def differences(pair: PairDifferences) -> dict[str, float]:
    return {each.name: each.difference for each in pair.layers}


@pytest.mark.parametrize(
    ("tuned", "base", "difference"),
    [
        ([], [], 0.0),
        ([0.0, 0.0], [0.0, 0.0], 0.0),
        ([0.0, 0.0], [3.0, 4.0], 1.0),
        ([3.0, 4.0], [0.0, 0.0], 1.0),
        ([3.0, 4.0], [3.0, 4.0], 0.0),
        ([3.0, 4.0], [9.0, 12.0], 0.0),
        ([3.0, 4.0], [-4.0, 3.0], 1.0),
        ([3.0, 4.0], [-3.0, -4.0], 2.0),
        ([1.0, 0.0], [3.0, 4.0], 0.4),
        ([1.0, 0.0], [-3.0, 4.0], 1.6),
    ],
)
def test_differences_by_hand(tuned: list[float], base: list[float], difference: float) -> None:
    assert weight_difference(torch.tensor(tuned), torch.tensor(base)) == pytest.approx(difference, abs=1e-15)


def test_weights_are_flattened_and_read_in_any_precision() -> None:
    base = torch.tensor([3.0, 4.0]).view(1, 2, 1, 1)
    tuned = torch.tensor([4.0, 3.0], dtype=torch.float16).view(1, 2, 1, 1)
    assert weight_difference(tuned, base) == pytest.approx(1 - 24 / 25, abs=1e-15)


@given(st.floats(1e-7, 3.1))
def test_small_angles_keep_their_digits(angle: float) -> None:
    """1 - cos a is 2 sin(a / 2) ** 2, which loses no digits where the cosine is near 1."""
    tuned = torch.tensor([cos(angle), sin(angle)], dtype=torch.float64)
    assert weight_difference(tuned, torch.tensor([1.0, 0.0])) == pytest.approx(2 * sin(angle / 2) ** 2, rel=1e-6)


def test_a_file_without_convolutions_of_ours() -> None:
    strange = saved({"roi_heads.weight": torch.ones(2, 2, 1, 1)}, config=None)
    with pytest.raises(DataError, match=r"other\.pth holds no convolution .* such as roi_heads\.weight"):
        layer_differences(weights_of(TINY), strange)


def test_files_without_a_common_convolution() -> None:
    fpn = {name: each for name, each in seeded_network().state_dict().items() if name.startswith("fpn.")}
    with pytest.raises(DataError, match=r"resnet\.pth and other\.pth have no convolution in common"):
        layer_differences(imagenet_backbone(), saved(fpn, config=None))


def test_equal_weights_differ_by_nothing() -> None:
    pair = layer_differences(weights_of(TINY), turned())
    assert (pair.base, pair.tuned) == (Path("tiny.pth"), Path("other.pth"))
    assert pair.convolutions == NAMES
    assert [(each.index, each.name) for each in pair.layers] == list(enumerate(NAMES, 1))
    assert {each.difference for each in pair.layers} == {0.0}
    assert pair.not_comparable == ()


def test_only_weights_of_convolutions_count() -> None:
    """Neither offsets nor biases nor BatchNorm."""
    state = {
        name: tensor if name.removesuffix(".weight") in NAMES or not tensor.is_floating_point() else tensor + 1
        for name, tensor in seeded_network().state_dict().items()
    }
    assert set(differences(layer_differences(weights_of(TINY), saved(state))).values()) == {0.0}


def test_each_layer_has_its_own_difference_part_and_count() -> None:
    state = seeded_network().state_dict()
    stem, deformable = state["backbone.conv1.weight"], state["backbone.layers.2.0.conv2.weight"]
    pair = layer_differences(
        weights_of(TINY), turned(**{"backbone.conv1": -stem, "backbone.layers.2.0.conv2": 2 * deformable + 0})
    )
    first = pair.layers[0]
    assert (first.index, first.name, first.part, first.weights) == (1, "backbone.conv1", "backbone", 8 * 3 * 7 * 7)
    found = differences(pair)
    assert found["backbone.conv1"] == pytest.approx(2)
    assert found["backbone.layers.2.0.conv2"] == pytest.approx(0, abs=1e-15)
    assert pair.means() == {
        "backbone": pytest.approx(2 / 20),
        **dict.fromkeys(("fpn", "proto_net", "prediction_layers", "maskiou_net", "semantic_seg_conv"), 0.0),
    }


def test_what_and_how_long_the_tuned_weights_were_trained_on() -> None:
    tuned = replace(turned(), progress={"step": 7, "data": ["3 pictures", "before that: 9 steps on 4 pictures"]})
    pair = layer_differences(weights_of(TINY), tuned)
    assert (pair.target, pair.steps) == (("3 pictures",), 7)
    unsaid = layer_differences(weights_of(TINY), turned())
    assert (unsaid.target, unsaid.steps) == ((), None)


@pytest.mark.parametrize("tuned_first", [False, True])
def test_a_backbone_has_its_layers_by_our_names(tuned_first: bool) -> None:
    files = (weights_of(TINY), imagenet_backbone())
    pair = layer_differences(*files) if tuned_first else layer_differences(*reversed(files))
    assert [each.name for each in pair.layers] == [name for name in NAMES if name.startswith("backbone.")]
    assert {each.difference for each in pair.layers} == {0.0}
    assert [(each.index, each.name) for each in pair.not_comparable] == list(enumerate(NAMES, 1))[20:]
    assert {each.why for each in pair.not_comparable} == {"not in resnet.pth"}
    assert list(pair.means()) == ["backbone"]


@pytest.mark.parametrize(
    "names", [COCO_CLASSES, TINY.class_names[::-1]], ids=["another number", "the same number, other names"]
)
def test_layers_with_a_row_a_class_are_not_compared_over_other_classes(names: tuple[str, ...]) -> None:
    pair = layer_differences(weights_of(replace(TINY, class_names=names)), turned())
    assert {each.name for each in pair.not_comparable} == {*CLASS_LAYERS, RESCORING_LAST}
    assert {each.why for each in pair.not_comparable} == {"a row a class, and the classes differ"}
    assert pair.convolutions == NAMES


def test_the_class_layer_is_not_compared_where_its_logits_are_read_otherwise() -> None:
    """It starts anew there; an ImageNet backbone has none."""
    tuned = weights_of(replace(TINY, scoring="sigmoid"))
    (odd,) = layer_differences(weights_of(TINY, bare=True), tuned).not_comparable
    assert (odd.name, odd.why) == (
        CLASS_LAYERS[0],
        "started anew, as its logits are read as sigmoid and were as softmax",
    )
    assert layer_differences(tuned, tuned).not_comparable == ()
    assert {each.why for each in layer_differences(imagenet_backbone(), tuned).not_comparable} == {"not in resnet.pth"}


def test_a_part_that_one_file_lacks_is_not_compared() -> None:
    """The semantic layer, which only teaches."""
    state = {name: each for name, each in seeded_network().state_dict().items() if not name.startswith("semantic_")}
    pair = layer_differences(saved(state), weights_of(TINY))
    assert [(each.index, each.name) for each in pair.not_comparable] == [(40, "semantic_seg_conv")]
    assert [each.index for each in pair.layers] == [*range(1, 40)]


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (
            replace(TINY, backbone=replace(TINY.backbone, blocks=(1, 1, 3, 1))),
            r"backbone has 20 convolutions in the one and 23 in the other, such as backbone\.layers\.2\.2\.conv1",
        ),
        (
            replace(TINY, fpn_channels=24),
            r"fpn\.lat_layers\.0 is \[16, 64, 1, 1\] in the one and \[24, 64, 1, 1\] in the other; .*; \.\.\.",
        ),
        (
            replace(TINY, anchors=replace(TINY.anchors, ratios=(1.0,))),
            r"prediction_layers\.0\.bbox_layer is \[12, 16, 3, 3\] in the one and \[4, 16, 3, 3\] in the other",
        ),
        (TINY_YOLACT, r"different networks: only tiny\.pth has mask rescoring; compare"),
        (
            replace(TINY, backbone=replace(TINY.backbone, deformable=(0,) * 4)),
            r"different networks: only tiny\.pth has deformable convolutions; compare",
        ),
    ],
    ids=["blocks", "widths", "anchors", "rescoring", "deformable"],
)
def test_files_of_different_networks(config: YolactConfig, words: str) -> None:
    other = saved(dict(Yolact(config).state_dict()), config=config)
    with pytest.raises(
        DataError, match=r"tiny\.pth \(a network of no preset\) and other\.pth .* are of different"
    ) as e:
        layer_differences(weights_of(TINY), other)
    assert e.match(words)


def test_a_backbone_of_another_network() -> None:
    config = replace(TINY, backbone=replace(TINY.backbone, blocks=(1, 1, 3, 1)))
    with pytest.raises(DataError, match=r"resnet\.pth \(a ResNet-17 backbone\) and other\.pth .* backbone has 20"):
        layer_differences(imagenet_backbone(), saved(dict(Yolact(config).state_dict()), config=config))
