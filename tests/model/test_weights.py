import ast
import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from model.config import PRESETS, YolactConfig
from model.weight_file import WeightFile
from model.weights import (
    Report,
    blueprint,
    class_count,
    config_for,
    fitting_presets,
    identify,
    known_classes,
    load_weights,
    same_class_map,
    street_class_map,
)
from model.yolact import Yolact
from scene.classes import COCO_CLASSES, PASCAL_CLASSES, STREET_CLASSES
from scene.errors import ConfigurationError, DataError
from tests.model.tiny_network import TINY, seeded_network

KEYS = Path(__file__).parents[1] / "testdata" / "parity" / "keys"
THREE = replace(TINY, class_names=("person", "bicycle", "car"))
FOUR = replace(TINY, class_names=("tram", "car", "rider", "person"))
CARRIED = {"car": "car", "rider": "person", "person": "person"}
CONF, SEMANTIC, RESCORING = "prediction_layers.0.conf_layer", "semantic_seg_conv", "maskiou_net.maskiou_net.6"
CLASS_TENSORS = {f"{layer}.{part}" for layer in (CONF, SEMANTIC, RESCORING) for part in ("weight", "bias")}


def file_of(state: Mapping[str, Tensor], name: str = "some.pth", config: YolactConfig | None = None) -> WeightFile:
    return WeightFile(Path(name), "PyTorch zip", dict(state), config)


def tiny_file(config: YolactConfig = TINY) -> WeightFile:
    return file_of(seeded_network(config).state_dict())


def sized(preset: str, count: int | None = None) -> dict[str, Tensor]:
    """The tensors of a preset with so many classes, without numbers in them."""
    config = PRESETS[preset]
    names = config.class_names if count is None else tuple(map(str, range(count)))
    return blueprint(replace(config, class_names=names)).state_dict()


# The report


def test_an_empty_report() -> None:
    assert Report().lines() == ["tensors: 0 loaded, 0 mapped, 0 initialised, 0 left over"]


def test_a_report_names_whatever_was_not_plainly_loaded() -> None:
    report = Report(
        loaded=(("a", ""), ("b", "")),
        mapped=(("x.0.weight", "layer1.weight in the file"), ("x.1.weight", "layer2.weight in the file")),
        initialised=(("y.3.bias", "rows of van"),),
        left_over=(("old.1", "unused"), ("old.2", "unused"), ("fc", "unused"), ("epoch", "not weights")),
    )
    assert report.lines() == [
        "tensors: 2 loaded, 2 mapped, 1 initialised, 4 left over",
        "  mapped, layer*.weight in the file: 2 x x.*.weight",
        "  initialised, rows of van: y.3.bias",
        "  left over, unused: 2 x old.*, fc",
        "  left over, not weights: epoch",
    ]


# Which network it is


def test_nothing_is_of_no_network() -> None:
    assert class_count({}) is None
    assert fitting_presets(file_of({})) == ()
    with pytest.raises(DataError, match="is no network that StreetMask knows"):
        identify(file_of({}))


PUBLISHED = {
    "darknet53": "yolact-darknet53",
    "im400": "yolact-im400",
    "im700": "yolact-im700",
    "plus_r101": "yolact-plus-base",
    "plus_r50": "yolact-plus-resnet50",
    "r101": "yolact-base",
    "r50": "yolact-resnet50",
    "r50_pascal": "yolact-resnet50-pascal",
}


@pytest.mark.parametrize(("keys", "preset"), PUBLISHED.items())
def test_every_published_file_is_known_by_its_name_and_tensors(keys: str, preset: str) -> None:
    lines = [line.split("\t") for line in (KEYS / f"keys_yolact_{keys}.txt").read_text().splitlines()]
    state = {
        key: torch.empty(ast.literal_eval(shape), dtype=getattr(torch, dtype), device="meta")
        for key, shape, dtype in lines
    }
    file = file_of(state, f"{preset.replace('-', '_')}_54_800000.pth")
    assert preset in fitting_presets(file)
    assert identify(file) == preset
    assert known_classes(file) == PRESETS[preset].class_names


@pytest.mark.parametrize("preset", ["yolact-resnet50", "yolact-plus-resnet50", "yolact-plus-base", "street-nano"])
def test_where_one_preset_has_the_tensors_and_the_classes_the_name_does_not_matter(preset: str) -> None:
    assert identify(file_of(sized(preset), "renamed.pth")) == preset


def test_twenty_classes_are_pascals_by_name_alone() -> None:
    """Whoever trained a network of 20 classes has COCO's anchors, and would get Pascal's unasked."""
    state = sized("yolact-resnet50-pascal")
    assert identify(file_of(state, "yolact_resnet50_pascal_112_120000.pth")) == "yolact-resnet50-pascal"
    with pytest.raises(DataError, match="say which with --preset"):
        identify(file_of(state, "mycity_10_2000.pth"))


def test_what_tensors_and_name_leave_open_is_asked_for() -> None:
    file = file_of(sized("yolact-base"), "renamed.pth")
    with pytest.raises(DataError, match=r"fits yolact-base, yolact-im400, yolact-im700, .* say which with --preset"):
        identify(file)
    assert config_for(file, "yolact-im700") is PRESETS["yolact-im700"]


@pytest.mark.parametrize("name", ["yolact_im700_54_800000", "yolact-im700", "yolact_im700_12_interrupt"])
def test_another_number_of_classes_leaves_it_to_the_name(name: str) -> None:
    state = sized("yolact-im700", 7)
    assert class_count(state) == 7
    assert identify(file_of(state, f"{name}.pth")) == "yolact-im700"


def test_a_name_decides_only_among_what_fits() -> None:
    assert identify(file_of(sized("yolact-plus-resnet50"), "yolact_base_54_800000.pth")) == "yolact-plus-resnet50"


def test_a_preset_a_checkpoints_own_configuration_and_identification_in_this_order() -> None:
    own = file_of({}, config=TINY)
    assert config_for(own) is TINY
    assert config_for(own, "street-nano") is PRESETS["street-nano"]
    assert config_for(file_of(sized("street-nano"))) is PRESETS["street-nano"]
    with pytest.raises(ConfigurationError, match=r"preset: expected one of street-nano, .* but 'huge' came"):
        config_for(own, "huge")


@pytest.mark.parametrize(("count", "names"), [(80, COCO_CLASSES), (20, PASCAL_CLASSES), (7, None)])
def test_class_names_are_known_by_their_number(count: int, names: tuple[str, ...] | None) -> None:
    assert known_classes(file_of(sized("street-nano", count))) == names


def test_a_checkpoints_class_names_are_its_own() -> None:
    assert known_classes(file_of({}, config=THREE)) == THREE.class_names


def test_a_blueprint_is_the_network_without_memory() -> None:
    ours, real = blueprint(TINY).state_dict(), Yolact(TINY).state_dict()
    assert {name: (tensor.shape, tensor.dtype) for name, tensor in ours.items()} == {
        name: (tensor.shape, tensor.dtype) for name, tensor in real.items()
    }
    assert all(tensor.is_meta for tensor in ours.values())


# The same classes


def test_loaded_weights_answer_as_the_network_they_are_of() -> None:
    original = seeded_network()
    network, report = load_weights(TINY, file_of(original.state_dict()))
    assert not network.training
    assert network.config is TINY
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert len(report.loaded) == len(original.state_dict())
    assert report == Report(loaded=report.loaded)
    image = torch.randn(1, 3, *TINY.size_hw, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        for ours, theirs in zip(network(image), original(image), strict=True):
            assert torch.equal(ours, theirs)


def test_tensors_are_taken_over_and_not_copied() -> None:
    file = tiny_file()
    network, _ = load_weights(TINY, file)
    assert network.semantic_seg_conv.weight.data_ptr() == file.state["semantic_seg_conv.weight"].data_ptr()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_kinds_of_floating_numbers_become_float32_and_are_reported(dtype: torch.dtype) -> None:
    state = seeded_network().state_dict()
    state[f"{CONF}.bias"] = state[f"{CONF}.bias"].to(dtype)
    network, report = load_weights(TINY, file_of(state))
    assert {tensor.dtype for tensor in network.state_dict().values()} == {torch.float32, torch.int64}
    assert report.mapped == ((f"{CONF}.bias", f"from {str(dtype).removeprefix('torch.')}"),)


def test_a_prefix_and_what_was_left_over_are_reported() -> None:
    name = "semantic_seg_conv.bias"
    left_over = (("fpn.downsample_layers.2.bias", "unused"),)
    file = replace(tiny_file(), renamed={name: f"module.{name}"}, left_over=left_over)
    _, report = load_weights(TINY, file)
    assert report.mapped == ((name, "without the prefix module."),)
    assert report.left_over == left_over


def test_counters_that_old_files_lack_count_from_zero() -> None:
    state = seeded_network().state_dict()
    counters = [name for name in state if name.endswith("num_batches_tracked")]
    network, report = load_weights(TINY, file_of({name: state[name] for name in state if name not in counters}))
    assert {name for name, _ in report.initialised} == set(counters)
    assert {int(network.state_dict()[name]) for name in counters} == {0}


def test_what_is_missing_too_much_or_of_another_size_is_named() -> None:
    state = seeded_network().state_dict()
    del state["proto_net.0.weight"]
    state["gate.weight"] = torch.ones(2)
    state["semantic_seg_conv.bias"] = torch.ones(9)
    state["fpn.lat_layers.0.bias"] = state["fpn.lat_layers.0.bias"].to(torch.int8)
    with pytest.raises(DataError) as caught:
        load_weights(TINY, file_of(state))
    assert str(caught.value) == (
        "some.pth does not hold this network (missing: 1 (proto_net.0.weight); not of it: 1 (gate.weight); "
        "of another size: 2 (fpn.lat_layers.0.bias: [16] int8 in the file, expected [16], "
        "semantic_seg_conv.bias: [9] in the file, expected [8])): choose the preset that it is of"
    )


def test_another_network_is_told() -> None:
    with pytest.raises(DataError, match=r"does not hold this network \(missing: \d+ \(.*, \.\.\.\)"):
        load_weights(TINY, file_of({"conv.weight": torch.ones(2)}))


# Other scoring


def test_weights_whose_logits_mean_something_else_are_not_read_as_if_they_did_not() -> None:
    file = replace(tiny_file(THREE), config=replace(THREE, scoring="sigmoid"))
    with pytest.raises(DataError, match=r"to be read as sigmoid, the network reads them as softmax: keep .* start"):
        load_weights(THREE, file)
    with pytest.raises(DataError, match="to be read as softmax, the network reads them as gated"):
        load_weights(replace(THREE, scoring="gated"), tiny_file(THREE))
    network, _ = load_weights(replace(THREE, scoring="gated"), tiny_file(THREE), reinitialise_classes=True)
    assert network.config.scoring == "gated"


def test_the_file_says_how_its_logits_are_read_whatever_the_preset() -> None:
    file = file_of({}, config=replace(TINY, scoring="objectness"))
    assert config_for(file, "street-nano") == replace(PRESETS["street-nano"], scoring="objectness")


# Other classes


def test_another_number_of_classes_is_told_with_the_sizes_and_both_ways_out() -> None:
    with pytest.raises(DataError) as caught:
        load_weights(FOUR, tiny_file(THREE))
    sentence = str(caught.value)
    assert "has 3 classes, the network 4" in sentence
    assert f"{CONF}.weight is [12, 16, 3, 3] in the file, [15, 16, 3, 3] in the network" in sentence
    assert "--class-map" in sentence
    assert "--reinitialise-classes" in sentence


def test_classes_of_other_names_are_told_where_the_file_names_its_own() -> None:
    other = replace(THREE, class_names=("car", "bicycle", "person"))
    file = tiny_file(THREE)
    with pytest.raises(DataError, match="has the classes person, bicycle, car, the network car, bicycle, person"):
        load_weights(other, replace(file, config=THREE))
    network, _ = load_weights(other, file)
    assert network.config.class_names == other.class_names


def test_rows_are_carried_over_by_hand() -> None:
    """The file's rows are background, person, bicycle, car; the network's background, tram, car, rider, person."""
    file = tiny_file(THREE)
    theirs = {name: tensor.clone() for name, tensor in file.state.items()}
    network, report = load_weights(FOUR, file, class_map=CARRIED, source_classes=THREE.class_names)
    ours = network.state_dict()
    for part in ("weight", "bias"):
        given, got = theirs[f"{CONF}.{part}"], ours[f"{CONF}.{part}"]
        assert len(given) == 3 * 4
        assert len(got) == 3 * 5
        for anchor in range(3):
            for row, source in ((0, 0), (2, 3), (3, 1), (4, 1)):
                assert torch.equal(got[5 * anchor + row], given[4 * anchor + source]), (part, anchor, row)
        for layer in (SEMANTIC, RESCORING):
            given, got = theirs[f"{layer}.{part}"], ours[f"{layer}.{part}"]
            assert len(got) == 4
            for row, source in ((1, 2), (2, 0), (3, 0)):
                assert torch.equal(got[row], given[source]), (layer, part, row)
    for name in ours.keys() - CLASS_TENSORS:
        assert torch.equal(ours[name], theirs[name]), name
    words = {name: words for name, words in report.mapped}
    assert words.keys() == {name for name, _ in report.initialised} == CLASS_TENSORS
    assert words[f"{CONF}.bias"] == "rows of the background, car, rider from person, person"
    assert words[f"{SEMANTIC}.bias"] == "rows of car, rider from person, person"
    assert {words for _, words in report.initialised} == {"rows of tram: no class of the file stands for them"}


def test_carried_classes_score_as_they_did() -> None:
    original = seeded_network(THREE)
    network, _ = load_weights(FOUR, tiny_file(THREE), class_map=CARRIED, source_classes=THREE.class_names)
    image = torch.randn(1, 3, *TINY.size_hw, generator=torch.Generator().manual_seed(0))
    masks = torch.rand(2, 1, 16, 32, generator=torch.Generator().manual_seed(1))
    assert network.maskiou_net is not None
    assert original.maskiou_net is not None
    with torch.inference_mode():
        ours, theirs = network(image), original(image)
        our_ious, their_ious = network.maskiou_net(masks), original.maskiou_net(masks)
    torch.testing.assert_close(ours.class_logits[..., [0, 2, 3, 4]], theirs.class_logits[..., [0, 3, 1, 1]])
    torch.testing.assert_close(our_ious[:, [1, 2, 3]], their_ious[:, [2, 0, 0]])
    assert torch.equal(ours.box_offsets, theirs.box_offsets)


@pytest.mark.parametrize("config", [FOUR, THREE])
def test_class_layers_are_started_anew_on_request_and_nothing_else_is(config: YolactConfig) -> None:
    file = tiny_file(THREE)
    network, report = load_weights(config, file, reinitialise_classes=True)
    state = network.state_dict()
    assert {name for name, _ in report.initialised} == CLASS_TENSORS
    assert {name for name, _ in report.loaded} == state.keys() - CLASS_TENSORS
    for layer in (CONF, SEMANTIC, RESCORING):
        weight = state[f"{layer}.weight"]
        reach = math.sqrt(6 / ((weight.shape[0] + weight.shape[1]) * weight[0, 0].numel()))
        assert 0.8 * reach < float(weight.abs().max()) <= reach
        assert not state[f"{layer}.bias"].any()


def test_a_row_without_a_source_is_as_fresh_as_a_layer_without() -> None:
    network, _ = load_weights(FOUR, tiny_file(THREE), class_map=CARRIED, source_classes=THREE.class_names)
    row = network.state_dict()[f"{SEMANTIC}.weight"][0]
    reach = math.sqrt(6 / (4 + 16))
    assert 0.5 * reach < float(row.abs().max()) <= reach


def test_a_network_without_rescoring_has_two_class_layers() -> None:
    three, four = (replace(config, rescoring_channels=()) for config in (THREE, FOUR))
    _, report = load_weights(four, tiny_file(three), reinitialise_classes=True)
    assert {name for name, _ in report.initialised} == {name for name in CLASS_TENSORS if "maskiou" not in name}


def test_a_checkpoint_names_the_classes_that_a_map_speaks_of() -> None:
    network, report = load_weights(FOUR, replace(tiny_file(THREE), config=THREE), class_map=CARRIED)
    assert network.config is FOUR
    assert len(report.mapped) == len(CLASS_TENSORS)


def test_a_map_needs_to_know_the_files_classes() -> None:
    with pytest.raises(DataError, match=r"does not name its 3 classes: convert it with --classes first"):
        load_weights(FOUR, tiny_file(THREE), class_map=CARRIED)


@pytest.mark.parametrize(
    ("class_map", "sentence"),
    [
        ({}, "class_map: expected at least one class that the file knows"),
        ({"car": "van"}, "class_map: the file has no class van, but person, bicycle, car"),
        ({"van": "car"}, "class_map: the network has no class van, but tram, car, rider, person"),
    ],
)
def test_a_map_that_names_what_is_not_there(class_map: dict[str, str], sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        load_weights(FOUR, tiny_file(THREE), class_map=class_map, source_classes=THREE.class_names)


def test_a_map_and_fresh_layers_exclude_each_other() -> None:
    with pytest.raises(ConfigurationError, match="not both"):
        load_weights(FOUR, tiny_file(THREE), class_map=CARRIED, reinitialise_classes=True)


# Class maps


def test_no_class_is_known_to_nobody() -> None:
    assert street_class_map(()) == {}
    assert same_class_map((), STREET_CLASSES) == {}


def test_coco_gives_every_street_class_and_riders_are_persons() -> None:
    same = {name: name for name in STREET_CLASSES if name != "rider"}
    assert street_class_map(COCO_CLASSES) == {**same, "rider": "person"}


def test_pascal_gives_the_street_classes_but_trucks() -> None:
    found = street_class_map(PASCAL_CLASSES)
    assert found.keys() == set(STREET_CLASSES) - {"truck"}
    assert found["motorcycle"] == "motorbike"
    assert found["rider"] == "person"


def test_a_class_of_the_same_name_comes_before_a_stand_in() -> None:
    assert street_class_map(STREET_CLASSES) == {name: name for name in STREET_CLASSES}
