"""What a recipe begins with: weights of its kind, carried over or refused, and the class layer that its loss needs."""

from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
import torch

from model.config import PRESETS, Scoring
from model.scoring import class_probabilities
from model.weight_file import Progress, WeightFile
from model.yolact import Yolact, normalise
from scene.classes import COCO_CLASSES, PASCAL_CLASSES, STREET_CLASSES
from scene.errors import ConfigurationError, DataError
from tests.model.tiny_network import TINY, seeded_network
from tests.training.one_step import TINY_YOLACT, batch, imagenet_backbone, weights_of
from training.class_losses import ClassLossKind, ClassLossSettings
from training.losses import LossSettings
from training.recipes import RECIPES, Recipe
from training.start import CLASS_LAYER, Choice, begin

NANO, PLUS, HALF, FOCAL = (RECIPES[name] for name in ("nano", "plus-full", "plus-full-half", "plus-full-focal"))
COCO_TINY = replace(TINY, class_names=COCO_CLASSES)
CLASS_TENSORS = {
    f"{layer}.{part}"
    for layer in (CLASS_LAYER, "semantic_seg_conv", "maskiou_net.maskiou_net.6")
    for part in ("weight", "bias")
}


@pytest.fixture(autouse=True)
def tiny_presets(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a file that does not say its network is taken for."""
    monkeypatch.setitem(PRESETS, "street-nano", TINY)
    monkeypatch.setitem(PRESETS, "street-yolact-plus-resnet50", TINY)
    monkeypatch.setitem(PRESETS, "street-yolact-resnet50", TINY_YOLACT)


def same(network: Yolact, config_of: Yolact, names: set[str]) -> bool:
    ours, theirs = network.state_dict(), config_of.state_dict()
    return all(torch.equal(ours[name], theirs[name]) for name in names)


def teaching(kind: ClassLossKind) -> Recipe:
    return replace(NANO, losses=LossSettings(classes=ClassLossSettings(kind)))


# Without weights


def test_without_weights_everything_is_new() -> None:
    start = begin(NANO, None, Choice())
    assert start.network.config == TINY
    assert start.new == {name for name, _ in start.network.named_parameters()}
    assert start.told[0] == "no weights to start from"


@pytest.mark.parametrize(
    ("name", "wanted"),
    [("plus-full", "a network trained on COCO or the like"), ("plus-imagenet", "a backbone trained on ImageNet")],
)
def test_a_recipe_that_needs_weights_says_which(name: str, wanted: str) -> None:
    with pytest.raises(ConfigurationError, match=f"start: this recipe begins with {wanted}: name its file with"):
        begin(RECIPES[name], None, Choice())


def test_a_preset_that_nobody_knows() -> None:
    with pytest.raises(ConfigurationError, match="preset: expected one of street-nano, "):
        begin(NANO, None, Choice(preset="huge"))


def test_classes_of_the_users_own() -> None:
    assert begin(NANO, None, Choice(class_names=("a", "b"))).network.config.class_names == ("a", "b")
    with pytest.raises(ConfigurationError, match="classes: expected every name once"):
        begin(NANO, None, Choice(class_names=("a", "a")))


def test_an_input_of_the_users_own_keeps_weights_and_anchors() -> None:
    file = weights_of(TINY)
    start = begin(NANO, file, Choice(size_hw=(128, 192)))
    assert start.network.config == replace(TINY, size_hw=(128, 192))
    assert same(start.network, begin(NANO, file, Choice()).network, set(start.network.state_dict()))
    assert not start.new
    assert start.told[-1].startswith("input: 192x128 pixels; ")
    with pytest.raises(ConfigurationError, match=r"size: expected sides of 128 or more, but \(96, 192\) came"):
        begin(NANO, file, Choice(size_hw=(96, 192)))


# From COCO


@pytest.mark.parametrize("bare", [True, False])
def test_cocos_rows_are_carried_over_to_the_street(bare: bool) -> None:
    start = begin(PLUS, weights_of(COCO_TINY, bare=bare), Choice())
    original = seeded_network(COCO_TINY)
    assert start.network.config == TINY
    assert not start.new
    rows = start.network.semantic_seg_conv.weight
    assert torch.equal(rows, original.semantic_seg_conv.weight[[0, 0, 2, 7, 5, 6, 3, 1]])
    assert same(start.network, original, set(original.state_dict()) - CLASS_TENSORS)
    assert any("rider from person" in line for line in start.told)
    size = f"{TINY.size_hw[1]}x{TINY.size_hw[0]}"
    assert start.told[-2] == f"classes: {', '.join(STREET_CLASSES)}"
    assert start.told[-1] == f"input: {size} pixels; anchors: sides of 12 to 90 pixels"


@pytest.mark.parametrize("bare", [True, False])
def test_weights_of_the_same_classes_are_taken_as_they_are(bare: bool) -> None:
    start = begin(PLUS, weights_of(TINY, bare=bare), Choice())
    assert not start.new
    assert same(start.network, seeded_network(), set(start.network.state_dict()))


def test_a_class_without_a_source_makes_its_layers_new() -> None:
    pascal = weights_of(replace(TINY, class_names=PASCAL_CLASSES))
    start = begin(PLUS, pascal, Choice())
    assert start.new == CLASS_TENSORS
    assert any("rows of truck: no class of the file stands for them" in line for line in start.told)


def test_class_layers_anew_on_request() -> None:
    assert begin(PLUS, weights_of(TINY), Choice(reinitialise_classes=True)).new == CLASS_TENSORS
    assert begin(PLUS, weights_of(COCO_TINY), Choice(reinitialise_classes=True)).new == CLASS_TENSORS


def test_classes_of_which_the_file_knows_none() -> None:
    with pytest.raises(DataError, match=r"tiny.pth has the classes a, b, none of which .* --class-map.* or start the"):
        begin(PLUS, weights_of(replace(TINY, class_names=("a", "b"))), Choice())


def test_a_file_that_does_not_name_its_classes() -> None:
    with pytest.raises(DataError, match="does not name its 2 classes: convert it with --classes first"):
        begin(PLUS, weights_of(replace(TINY, class_names=("a", "b")), bare=True), Choice())


def test_a_bare_file_of_another_network_than_the_recipes() -> None:
    wider = replace(TINY, fpn_channels=8)
    with pytest.raises(DataError, match=r"does not hold this network .* choose the preset that it is of"):
        begin(PLUS, weights_of(wider, bare=True), Choice())


def test_the_weights_own_network_is_trained_where_they_tell() -> None:
    wider = replace(COCO_TINY, fpn_channels=8, size_hw=(96, 96))
    assert begin(PLUS, weights_of(wider), Choice()).network.config == replace(wider, class_names=STREET_CLASSES)


def test_a_recipe_of_the_one_network_refuses_weights_of_the_other() -> None:
    with pytest.raises(ConfigurationError, match=r"start: this recipe trains a YOLACT\+\+, but the weights are of a Y"):
        begin(PLUS, weights_of(TINY_YOLACT), Choice())
    with pytest.raises(ConfigurationError, match=r"this recipe trains a YOLACT, but the weights are of a YOLACT\+\+"):
        begin(RECIPES["yolact-head"], weights_of(TINY), Choice())


def test_a_recipe_from_coco_refuses_a_backbone() -> None:
    for file in (imagenet_backbone(), replace(weights_of(TINY), progress=Progress(step=0, data=[]))):
        with pytest.raises(
            ConfigurationError, match=r"begins with a network trained on COCO .* but .* holds a backbone"
        ):
            begin(PLUS, file, Choice())


def test_a_recipe_for_any_weights_keeps_their_classes() -> None:
    names = ("car", "van")
    assert begin(NANO, weights_of(replace(TINY, class_names=names)), Choice()).network.config.class_names == names


# From ImageNet


def test_a_backbone_is_built_on() -> None:
    start = begin(RECIPES["plus-imagenet"], imagenet_backbone(), Choice())
    assert start.told[0].endswith(" tensors of the backbone in resnet.pth")
    original, ours = seeded_network().state_dict(), start.network.state_dict()
    assert torch.equal(ours["backbone.layers.2.0.conv2.weight"], original["backbone.layers.2.0.conv2.weight"])
    assert {name for name in start.new if not name.startswith("backbone.")} == {
        name for name, _ in start.network.named_parameters() if not name.startswith("backbone.")
    }
    assert {name.rpartition(".")[2] for name in start.new if name.startswith("backbone.")} == {"weight", "bias"}
    assert all("conv2" in name for name in start.new if name.startswith("backbone.")), "deformable parts alone"


def test_what_was_only_built_on_a_backbone_is_as_good() -> None:
    file = replace(weights_of(TINY), progress=Progress(step=0, data=["whatever"]))
    start = begin(RECIPES["plus-imagenet"], file, Choice())
    assert start.new == begin(RECIPES["plus-imagenet"], imagenet_backbone(), Choice()).new


def test_a_recipe_from_imagenet_refuses_a_trained_network() -> None:
    with pytest.raises(ConfigurationError, match=r"a backbone trained on ImageNet, but .* holds a whole network"):
        begin(RECIPES["plus-imagenet"], weights_of(TINY), Choice())


# Anchors


def test_half_anchor_scales_are_half_of_the_presets_however_often() -> None:
    first = begin(HALF, weights_of(COCO_TINY), Choice()).network.config
    assert first.anchors == TINY.anchors.scaled(0.5)
    assert begin(HALF, weights_of(first), Choice()).network.config == first
    assert begin(PLUS, weights_of(first), Choice()).network.config == first, "as trained, where the recipe says nothing"


# Scoring and prior


@pytest.mark.parametrize("kind", get_args(ClassLossKind))
def test_the_network_is_scored_as_its_loss_teaches(kind: ClassLossKind) -> None:
    start = begin(teaching(kind), weights_of(TINY), Choice())
    assert start.network.config.scoring == ClassLossSettings(kind).scoring


@pytest.mark.parametrize(("kind", "scoring"), [("ohem", "sigmoid"), ("sigmoid-focal", "softmax"), ("ohem", "gated")])
def test_a_class_layer_whose_logits_meant_something_else_starts_anew(kind: ClassLossKind, scoring: Scoring) -> None:
    start = begin(teaching(kind), weights_of(replace(TINY, scoring=scoring)), Choice())
    layer = {name for name in CLASS_TENSORS if name.startswith(CLASS_LAYER)}
    assert start.new == layer
    assert any(f"its logits were read as {scoring}" in line for line in start.told)
    assert same(start.network, seeded_network(), set(start.network.state_dict()) - layer)


def test_a_class_without_a_source_changes_nothing_for_the_others() -> None:
    """Under the prior they keep their rows; where logits meant something else, all of the layer starts anew."""
    names = Choice(class_names=(*STREET_CLASSES, "caravan"))
    weight = f"{CLASS_LAYER}.weight"
    plain, focal = (begin(recipe, weights_of(COCO_TINY), names).network for recipe in (PLUS, FOCAL))
    rows, others = plain.get_parameter(weight), focal.get_parameter(weight)
    carried = [a * (len(names.class_names) + 1) + row for a in range(TINY.anchors.per_cell) for row in range(9)]
    assert torch.equal(rows[carried], others[carried])
    start = begin(PLUS, weights_of(replace(COCO_TINY, scoring="sigmoid")), names)
    assert weight in start.new
    assert any("its logits were read as sigmoid" in line for line in start.told)
    assert not torch.equal(start.network.get_parameter(weight)[carried], rows[carried])


def foreground(network: Yolact) -> float:
    """The mean probability that an anchor of a picture of noise is foreground, as the network reads its logits."""
    with torch.no_grad():
        logits = network.eval()(normalise(batch().images, network.config)).class_logits
    probabilities = class_probabilities(logits, network.config.scoring)
    whole = probabilities.mean(dim=-1) if network.config.scoring == "sigmoid" else probabilities.sum(dim=-1)
    return float(whole.mean())


@pytest.mark.parametrize("kind", ["focal", "sigmoid-focal", "focal-star", "focal-objectness"])
@pytest.mark.parametrize("anew", [True, False])
def test_a_focal_loss_starts_at_its_prior(kind: ClassLossKind, anew: bool) -> None:
    """A class layer that nothing was carried over to, whatever the rest of the network has learned."""
    torch.manual_seed(0)
    file = weights_of(TINY) if anew else None
    start = begin(teaching(kind), file, Choice(reinitialise_classes=anew))
    assert foreground(start.network) == pytest.approx(0.01, rel=0.1)
    assert f"{CLASS_LAYER}.bias" in start.new
    assert any("starts at a foreground prior of 0.01" in line for line in start.told)


def test_without_a_focal_loss_there_is_no_prior() -> None:
    torch.manual_seed(0)
    assert foreground(begin(NANO, None, Choice()).network) == pytest.approx(8 / 9, abs=0.1)


def test_under_the_prior_a_carried_class_layer_keeps_its_weights() -> None:
    start = begin(FOCAL, weights_of(COCO_TINY), Choice())
    plain = begin(PLUS, weights_of(COCO_TINY), Choice())
    assert start.new == {f"{CLASS_LAYER}.bias"}
    assert same(start.network, plain.network, set(plain.network.state_dict()) - {f"{CLASS_LAYER}.bias"})
    bias = start.network.state_dict()[f"{CLASS_LAYER}.bias"].view(TINY.anchors.per_cell, 9)
    assert torch.allclose(bias.softmax(dim=1)[:, 1:].sum(dim=1), torch.tensor(0.01))


def test_the_order_of_conversion_and_recipe_does_not_matter() -> None:
    """COCO's weights mapped by the recipe, or converted to the street's classes before."""
    converted = begin(PLUS, weights_of(COCO_TINY), Choice()).network
    file = WeightFile(Path("street.pt"), "PyTorch zip", converted.state_dict(), converted.config)
    one, other = begin(FOCAL, weights_of(COCO_TINY), Choice()), begin(FOCAL, file, Choice())
    assert same(one.network, other.network, set(one.network.state_dict()))
    assert one.new == other.new
