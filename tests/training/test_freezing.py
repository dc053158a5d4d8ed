"""Which tensors one step of every recipe changes, and which it must not."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
import torch

from model.config import PRESETS, BackboneConfig, YolactConfig
from model.yolact import Yolact
from scene.classes import COCO_CLASSES, STREET_CLASSES
from scene.errors import ConfigurationError
from tests.model.tiny_network import TINY, seeded_network
from tests.training.one_step import TINY_YOLACT, changed_by_a_step, imagenet_backbone, weights_of
from training.batch_norm import to_training
from training.convolutions import OFFSETS, convolutions
from training.freezing import carried_over, freeze, freezing_in_words
from training.recipes import HEAD, NO_BACKBONE, RECIPES, Recipe
from training.start import Choice, begin
from training.step import Learner

TINY_DARKNET = replace(TINY, backbone=BackboneConfig(4, (1,) * 5, (4, 4, 8, 8, 16), (0,) * 5, kind="darknet"))

PREDICTION_HEAD = {
    f"prediction_layers.0.{layer}.{part}"
    for layer in ("upfeature.0", "bbox_layer", "conf_layer", "mask_layer")
    for part in ("weight", "bias")
}
PROTONET = {f"proto_net.{layer}.{part}" for layer in (0, 4, 6) for part in ("weight", "bias")}
RESCORING = {f"maskiou_net.maskiou_net.{layer}.{part}" for layer in (0, 2, 4, 6) for part in ("weight", "bias")}
LAST_OF_RESCORING = {"maskiou_net.maskiou_net.6.weight", "maskiou_net.maskiou_net.6.bias"}
SEMANTIC = {"semantic_seg_conv.weight", "semantic_seg_conv.bias"}

EVERYTHING = "every parameter, and every statistic of BatchNorm"
HEAD_ONLY = PREDICTION_HEAD
ALL_BUT_BACKBONE = PREDICTION_HEAD | PROTONET | SEMANTIC

CHANGED: dict[str, str | set[str]] = {
    "yolact-imagenet": EVERYTHING,
    "plus-imagenet": EVERYTHING,
    "yolact-head": HEAD_ONLY,
    "yolact-no-backbone": ALL_BUT_BACKBONE,
    "yolact-full": EVERYTHING,
    "yolact-full-half": EVERYTHING,
    "plus-head": HEAD_ONLY,
    "plus-no-backbone": ALL_BUT_BACKBONE | RESCORING,
    "plus-full": EVERYTHING,
    "plus-full-coco1000": EVERYTHING,
    "plus-full-coco5000": EVERYTHING,
    "plus-full-paste": EVERYTHING,
    "plus-full-half": EVERYTHING,
    "plus-full-focal": EVERYTHING,
    "plus-head-coco1000": HEAD_ONLY,
    "plus-no-backbone-coco1000": ALL_BUT_BACKBONE | RESCORING,
    "plus-full-half-coco1000": EVERYTHING,
    "nano": EVERYTHING,
    "nano-onwards": EVERYTHING,
    "nano-study": EVERYTHING,
}
NEW_LAYERS = {"yolact": SEMANTIC, "plus": SEMANTIC | LAST_OF_RESCORING}
"""What learns beside it where a class has nothing to carry over; the class layer itself learns in any case."""

FROM_COCO = [name for name in CHANGED if RECIPES[name].start == "coco"]


def started(name: str, classes: tuple[str, ...], choice: Choice) -> Yolact:
    """The recipe's tiny network, from weights of these classes, frozen as the recipe says."""
    config = replace(TINY_YOLACT if name.startswith("yolact") else TINY, class_names=classes)
    start = begin(RECIPES[name], weights_of(config), choice)
    freeze(start.network, RECIPES[name].trains, start.new)
    return start.network


def test_every_recipe_that_trains_is_listed() -> None:
    assert set(CHANGED) == {name for name, recipe in RECIPES.items() if recipe.steps}


@pytest.mark.parametrize("classes", [COCO_CLASSES, STREET_CLASSES], ids=["coco", "same"])
@pytest.mark.parametrize("name", FROM_COCO)
def test_a_step_changes_exactly_this(name: str, classes: tuple[str, ...], tmp_path: Path) -> None:
    """Rows of COCO's 80 are carried over to all of the street's, so that the prefix alone decides."""
    network = started(name, classes, Choice())
    assert network.config.class_names == STREET_CLASSES
    expected = CHANGED[name]
    everything = set(network.state_dict())
    assert changed_by_a_step(network, RECIPES[name], tmp_path) == (everything if expected is EVERYTHING else expected)


@pytest.mark.parametrize(
    "choice",
    [Choice(class_names=(*STREET_CLASSES, "caravan")), Choice(reinitialise_classes=True)],
    ids=["a class more", "anew"],
)
@pytest.mark.parametrize("name", [name for name in FROM_COCO if RECIPES[name].trains])
def test_class_layers_that_could_not_be_carried_over_learn_whatever_is_frozen(
    name: str, choice: Choice, tmp_path: Path
) -> None:
    network = started(name, COCO_CLASSES, choice)
    expected = set(CHANGED[name]) | NEW_LAYERS[name.partition("-")[0]]
    assert changed_by_a_step(network, RECIPES[name], tmp_path) == expected


@pytest.mark.parametrize(("name", "config"), [("yolact-imagenet", TINY_YOLACT), ("plus-imagenet", TINY)])
def test_a_step_from_imagenet_changes_everything(
    name: str, config: YolactConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PRESETS, RECIPES[name].preset, config)
    torch.manual_seed(0)
    start = begin(RECIPES[name], imagenet_backbone(), Choice())
    freeze(start.network, RECIPES[name].trains, start.new)
    assert start.network.config == config
    assert CHANGED[name] is EVERYTHING
    assert changed_by_a_step(start.network, RECIPES[name], tmp_path) == set(start.network.state_dict())


@pytest.mark.parametrize("name", ["nano", "nano-onwards", "nano-study"])
def test_a_step_of_the_nanos_recipes_changes_everything(name: str, tmp_path: Path) -> None:
    network = started(name, STREET_CLASSES, Choice())
    assert CHANGED[name] is EVERYTHING
    assert changed_by_a_step(network, RECIPES[name], tmp_path) == set(network.state_dict())


def test_nothing_named_freezes_nothing() -> None:
    network = seeded_network()
    freeze(network, HEAD)
    freeze(network, ())
    assert all(parameter.requires_grad for parameter in network.parameters())


@pytest.mark.parametrize("optimiser", ["sgd", "adamw"])
def test_the_optimiser_knows_nothing_of_what_is_frozen(optimiser: Literal["sgd", "adamw"]) -> None:
    network = seeded_network()
    freeze(network, NO_BACKBONE)
    learner = Learner(network, Recipe(steps=1, optimiser=optimiser), torch.device("cpu"), seed=1)
    held = {id(parameter) for group in learner.optimiser.param_groups for parameter in group["params"]}
    names = {name for name, parameter in network.named_parameters() if id(parameter) in held}
    assert names == ALL_BUT_BACKBONE | RESCORING


def test_frozen_norms_answer_in_training_as_in_use() -> None:
    network = seeded_network()
    freeze(network, HEAD)
    images = torch.randn(2, 3, *TINY.size_hw, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        used = network.eval()(images)
        to_training(network, learn_statistics=True)
        assert torch.equal(network(images).prototypes, used.prototypes)
        freeze(network, ())
        to_training(network, learn_statistics=True)
        assert not torch.allclose(network(images).prototypes, used.prototypes)


def test_freezing_in_words() -> None:
    network = seeded_network()
    freeze(network, HEAD, {"maskiou_net.maskiou_net.6.bias"})
    learns, frozen, new = freezing_in_words(network, {"maskiou_net.maskiou_net.6.bias"})
    assert learns == f"learns: maskiou_net.maskiou_net.6 (72), prediction_layers ({2320 + 1740 + 3915 + 3480})"
    assert frozen.startswith("frozen: backbone (")
    assert "proto_net (" in frozen
    assert "3 x maskiou_net.maskiou_net.* (" in frozen
    assert "prediction_layers" not in frozen
    assert new == "new: maskiou_net.maskiou_net.6 (8)"


def test_everything_in_words() -> None:
    network = seeded_network()
    freeze(network, ())
    learns, *rest = freezing_in_words(network, ())
    assert [part.split(" (")[0] for part in learns.removeprefix("learns: ").split(", ")] == [
        *("backbone", "proto_net", "maskiou_net", "fpn", "prediction_layers", "semantic_seg_conv"),
    ]
    assert rest == ["frozen: nothing", "new: nothing"]


NAMES = convolutions(seeded_network().state_dict())


def frozen_names(network: Yolact) -> set[str]:
    return {name for name, parameter in network.named_parameters() if not parameter.requires_grad}


def test_the_first_none_freezes_nothing() -> None:
    network = seeded_network()
    freeze(network, (), first=0)
    assert frozen_names(network) == set()


def test_the_first_are_frozen_with_their_norms() -> None:
    network = seeded_network()
    freeze(network, (), first=3)
    block = ("downsample.0", "downsample.1", "conv1", "bn1")
    layers = ("conv1", "bn1", *(f"layers.0.0.{layer}" for layer in block))
    names = {f"backbone.{layer}.{part}" for layer in layers for part in ("weight", "bias")}
    assert frozen_names(network) == names & {name for name, _ in network.named_parameters()}
    assert len(frozen_names(network)) == 3 + 2 * 3


def test_a_deformable_convolution_is_frozen_with_its_offsets() -> None:
    network, name = seeded_network(), "backbone.layers.2.0.conv2"
    freeze(network, (), first=NAMES.index(name))
    before = frozen_names(network)
    freeze(network, (), first=NAMES.index(name) + 1)
    parts = ("conv2", "conv2.conv_offset_mask", "bn2")
    assert frozen_names(network) - before == {
        f"backbone.layers.2.0.{part}.{kind}" for part in parts for kind in ("weight", "bias")
    }


@pytest.mark.parametrize("config", [TINY, TINY_DARKNET], ids=["resnet", "darknet"])
@pytest.mark.parametrize("first", [1, 9, 25])
def test_a_step_changes_nothing_of_the_first_and_all_of_the_rest(
    config: YolactConfig, first: int, tmp_path: Path
) -> None:
    """Statistics of BatchNorm too: the first 9 end within the backbone, the first 25 within the FPN."""
    network = seeded_network(config)
    freeze(network, (), first=first)
    names = convolutions(network.state_dict())
    changed = changed_by_a_step(network, Recipe(steps=1, batch_norm="learned"), tmp_path)
    behind = {f"{name}.weight" for name in names[first:]}
    assert behind <= changed
    assert not {f"{name}.weight" for name in names[:first]} & changed
    norms = [name for name in network.state_dict() if name.endswith("running_mean")]
    in_backbone = [name for name in names if name.startswith("backbone.")]
    assert len(norms) == len(in_backbone)
    assert len([name for name in norms if name not in changed]) == min(first, len(in_backbone))


def test_a_convolution_of_new_weights_among_the_first_learns_with_its_norm_and_offsets() -> None:
    network, layer = seeded_network(), "backbone.layers.2.0.conv2"
    first = NAMES.index("fpn.lat_layers.0")
    freeze(network, (), {f"{layer}.weight"}, first)
    learns = {name for name, each in network.named_parameters() if name.startswith("backbone.") and each.requires_grad}
    parts = ("conv2", "conv2.conv_offset_mask", "bn2")
    assert learns == {f"backbone.layers.2.0.{part}.{kind}" for part in parts for kind in ("weight", "bias")}


def test_of_plain_convolutions_made_deformable_only_what_is_new_learns_among_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Weights and norms from ImageNet stay; offsets and biases begin to learn."""
    monkeypatch.setitem(PRESETS, RECIPES["plus-imagenet"].preset, TINY)
    torch.manual_seed(0)
    start = begin(RECIPES["plus-imagenet"], imagenet_backbone(), Choice())
    assert carried_over(start.network, start.new) == 20
    freeze(start.network, (), start.new, 20)
    layers = [f"backbone.layers.{block}.conv2" for block in ("2.0", "2.1", "3.0")]
    fresh = {
        f"{layer}.{part}" for layer in layers for part in ("bias", *(f"{OFFSETS}.{k}" for k in ("weight", "bias")))
    }
    assert fresh == {name for name in start.new if name.startswith("backbone.")}
    *_, told = freezing_in_words(start.network, start.new, 20)
    assert told == (
        "frozen from the input side: the first 20 of 40 convolutions, backbone.conv1 to backbone.layers.3.0.conv3, "
        "but for what is new: 3 x backbone.layers.*.*.conv*.bias, "
        "3 x backbone.layers.*.*.conv*.conv_offset_mask.weight, 3 x backbone.layers.*.*.conv*.conv_offset_mask.bias"
    )
    recipe = Recipe(steps=1, batch_norm="learned")
    changed = {name for name in changed_by_a_step(start.network, recipe, tmp_path) if name.startswith("backbone.")}
    assert changed == fresh


@pytest.mark.parametrize(
    ("new", "count"),
    [
        (set(), 40),
        ({"semantic_seg_conv.weight"}, 39),
        ({"backbone.conv1.weight"}, 40),
        ({"semantic_seg_conv.bias"}, 40),
    ],
)
def test_how_many_were_carried_over(new: set[str], count: int) -> None:
    assert carried_over(seeded_network(), new) == count


def test_of_no_weights_none_were_carried_over() -> None:
    network = seeded_network()
    assert carried_over(network, [name for name, _ in network.named_parameters()]) == 0


def test_the_first_are_frozen_of_what_a_recipe_lets_learn() -> None:
    network = seeded_network()
    freeze(network, NO_BACKBONE, first=NAMES.index("proto_net.4") + 1)
    learns = {name for name, _ in network.named_parameters()} - frozen_names(network)
    assert learns == (ALL_BUT_BACKBONE | RESCORING) - {
        f"proto_net.{layer}.{kind}" for layer in (0, 4) for kind in ("weight", "bias")
    }


@pytest.mark.parametrize("first", [-1, 41])
def test_there_are_no_so_many_convolutions(first: int) -> None:
    with pytest.raises(ConfigurationError, match=f"freeze_first: expected 0 to 40, .* but {first} came"):
        freeze(seeded_network(), (), first=first)


@pytest.mark.parametrize(("trains", "first"), [((), 40), (HEAD, NAMES.index("maskiou_net.maskiou_net.0"))])
def test_something_must_learn(trains: tuple[str, ...], first: int) -> None:
    with pytest.raises(ConfigurationError, match=f"leave nothing to learn, but {first} of 40 came"):
        freeze(seeded_network(), trains, first=first)
    freeze(seeded_network(), trains, {"prediction_layers.0.conf_layer.bias"}, first)  # what is new learns in any case
    freeze(seeded_network(), trains, first=first - 1)


def test_the_first_in_words() -> None:
    network = seeded_network()
    freeze(network, (), first=2)
    *_, frozen, new, told = freezing_in_words(network, (), 2)
    assert frozen == "frozen: 2 x backbone.layers.*.*.downsample.* and backbone.conv1 and backbone.bn1 (1352)"
    assert new == "new: nothing"
    assert told == (
        "frozen from the input side: the first 2 of 40 convolutions, backbone.conv1 to backbone.layers.0.0.downsample.0"
    )
