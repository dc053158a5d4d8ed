"""Which tensors one step of every recipe changes, and which it must not."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
import torch

from model.config import PRESETS, YolactConfig
from model.yolact import Yolact
from scene.classes import COCO_CLASSES, STREET_CLASSES
from tests.model.tiny_network import TINY, seeded_network
from tests.training.one_step import TINY_YOLACT, changed_by_a_step, imagenet_backbone, weights_of
from training.batch_norm import to_training
from training.freezing import freeze, freezing_in_words
from training.recipes import HEAD, NO_BACKBONE, RECIPES, Recipe
from training.start import Choice, begin
from training.step import Learner

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


@pytest.mark.parametrize("name", ["nano", "nano-onwards"])
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
