"""``streetmask weights``: what it prints, what it writes, and how it complains."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from model.backbone_weights import backbone_tensors
from model.config import PRESETS, YolactConfig
from model.weight_file import WeightFile, read_state
from scene.classes import COCO_CLASSES, STREET_CLASSES
from streetmask.cli import main
from tests.model.tiny_network import TINY, seeded_network
from tests.training.one_step import imagenet_backbone
from training.checkpoint import load_network, read_checkpoint, save_checkpoint, training_history

COCO_TINY = replace(TINY, class_names=COCO_CLASSES)


@pytest.fixture(autouse=True)
def tiny_presets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PRESETS, "street-tiny", TINY)
    monkeypatch.setitem(PRESETS, "tiny", COCO_TINY)


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """A file such as the authors': legacy format, nothing but tensors, COCO's classes."""
    path = tmp_path / "tiny_54_800000.pth"
    torch.save(seeded_network(COCO_TINY).state_dict(), path, _use_new_zipfile_serialization=False)
    return path


@pytest.fixture
def imagenet(tmp_path: Path) -> Path:
    """The tiny backbone by torchvision's names, plain where ours is deformable."""
    path = tmp_path / "resnet.pth"
    torch.save({"fc.weight": torch.ones(10, 64), "fc.bias": torch.ones(10)} | imagenet_backbone().state, path)
    return path


def run(*arguments: object) -> int:
    return main(["weights", *(str(each) for each in arguments)])


def test_inspect_wants_a_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run("inspect", tmp_path / "none.pth") == 1
    assert capsys.readouterr().err == f"streetmask: expected a weight file at {tmp_path / 'none.pth'}, found none\n"


def test_inspect_describes_published_weights(published: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("inspect", published) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "format      PyTorch legacy"
    assert lines[1] == "holds       YOLACT network, fits the presets street-tiny, tiny"
    assert lines[2].startswith("classes     80: person, bicycle, car, ")
    assert lines[3] == "tensors     169: 149 float32, 20 int64"
    assert lines[4].startswith("parameters  0.")
    assert len(lines) == 5


def test_inspect_describes_a_checkpoint_of_ours(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_checkpoint(tmp_path / "last.pt", seeded_network(), step=7, data=["3 pictures"], optimiser={})
    assert run("inspect", tmp_path / "last.pt") == 0
    out = capsys.readouterr().out
    assert "holds       checkpoint of StreetMask, street-tiny, 7 steps on 3 pictures\n" in out
    assert f"classes     8: {', '.join(STREET_CLASSES)}\n" in out
    assert out.endswith("  left over, not weights: optimiser\n")


def test_inspect_describes_a_backbone(imagenet: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("inspect", imagenet) == 0
    out = capsys.readouterr().out
    assert "holds       ResNet-17 backbone" in out
    assert "classes" not in out
    assert out.endswith("  left over, no part of the backbone: fc.weight, fc.bias\n")


def test_inspect_says_what_it_does_not_know(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save({"roi_heads.weight": torch.ones(3), "epoch": 4}, tmp_path / "other.pth")
    assert run("inspect", tmp_path / "other.pth") == 0
    out = capsys.readouterr().out
    assert "nothing that StreetMask knows; the first tensors are roi_heads.weight\n" in out
    assert out.endswith("  left over, no plain tensor: epoch\n")


def test_inspect_counts_classes_that_the_file_does_not_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save(seeded_network(replace(TINY, class_names=("a", "b"))).state_dict(), tmp_path / "two.pth")
    assert run("inspect", tmp_path / "two.pth") == 0
    assert "classes     2, which the file does not name\n" in capsys.readouterr().out


def test_convert_makes_a_checkpoint_of_published_weights(
    published: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "deeper" / "mine.pt"
    assert run("convert", published, out) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "tensors: 169 loaded, 0 mapped, 0 initialised, 0 left over"
    assert lines[1].startswith(f"wrote {out}: tiny, 80 classes: person, bicycle")
    network = load_network(out)
    assert network.config == COCO_TINY
    original = seeded_network(COCO_TINY).state_dict()
    assert all(torch.equal(tensor, original[name]) for name, tensor in network.state_dict().items())
    history = training_history(read_checkpoint(out))
    assert history.startswith("whatever tiny_54_800000.pth (SHA-256 ")


def test_convert_carries_coco_over_to_the_street(
    published: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "street.pt"
    assert run("convert", published, out, "--preset", "street-tiny", "--class-map", "street") == 0
    assert "rows of the background, person, rider from person, car" in capsys.readouterr().out
    network, original = load_network(out), seeded_network(COCO_TINY)
    assert network.config == TINY
    bias, theirs = network.semantic_seg_conv.bias, original.semantic_seg_conv.bias
    assert bias is not None
    assert theirs is not None
    assert torch.equal(bias, theirs[[0, 0, 2, 7, 5, 6, 3, 1]])


def test_convert_takes_names_and_pairs(published: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "mine.pt"
    words = ["--preset", "tiny", "--classes", "car", "van", "tree", "--class-map", "van=truck"]
    assert run("convert", published, out, *words) == 0
    printed = capsys.readouterr().out
    assert "rows of car, van from truck" in printed
    assert "initialised, rows of tree: no class of the file stands for them" in printed
    assert load_network(out).config.class_names == ("car", "van", "tree")


@pytest.mark.parametrize("words", [["street", "rider=bicycle"], ["rider=bicycle", "street"]])
def test_a_pair_counts_more_than_the_map_in_whatever_order(
    published: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    assert run("convert", published, tmp_path / "mine.pt", "--preset", "street-tiny", "--class-map", *words) == 0
    assert "rows of the background, person, rider from bicycle, car" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (TINY, "street-tiny,"),
        (COCO_TINY, "tiny,"),
        (replace(TINY, class_names=("a", "b")), "street-tiny with classes of its own,"),
        (
            replace(COCO_TINY, anchors=TINY.anchors.scaled(0.5), scoring="gated"),
            "tiny with anchors of its own and classes read as gated,",
        ),
        (replace(TINY, size_hw=(32, 64)), "a network of its own configuration,"),
    ],
)
def test_a_checkpoint_is_called_by_its_preset_and_what_is_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], config: YolactConfig, said: str
) -> None:
    save_checkpoint(tmp_path / "last.pt", seeded_network(config))
    assert run("inspect", tmp_path / "last.pt") == 0
    assert f"holds       checkpoint of StreetMask, {said}" in capsys.readouterr().out


def test_convert_starts_class_layers_anew_by_the_seed(published: Path, tmp_path: Path) -> None:
    weights = []
    for seed in (1, 1, 2):
        out = tmp_path / "mine.pt"
        words = ["--preset", "tiny", "--classes", "a", "b", "--reinitialise-classes", "--seed", seed]
        assert run("convert", published, out, *words) == 0
        weights.append(load_network(out).semantic_seg_conv.weight)
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_convert_names_the_classes_of_a_file_that_does_not(tmp_path: Path) -> None:
    path, out = tmp_path / "two.pth", tmp_path / "mine.pt"
    torch.save(seeded_network(replace(TINY, class_names=("a", "b"))).state_dict(), path)
    assert run("convert", path, out, "--preset", "tiny", "--classes", "crack", "hole") == 0
    assert load_network(out).config.class_names == ("crack", "hole")


def test_convert_goes_to_safetensors_and_back_with_the_history(tmp_path: Path) -> None:
    path, between, out = tmp_path / "last.pt", tmp_path / "mine.safetensors", tmp_path / "again.pt"
    thresholds = [0.25] * TINY.class_count
    save_checkpoint(path, seeded_network(), step=7, data=["3 pictures"], thresholds=thresholds, optimiser={})
    assert run("convert", path, between) == 0
    assert read_state(between).format == "safetensors"
    assert run("convert", between, out) == 0
    content = read_checkpoint(out)
    assert (content["step"], content["data"], content["thresholds"]) == (7, ["3 pictures"], thresholds)
    assert content.keys() == {"config", "model", "step", "data", "thresholds"}
    original = seeded_network().state_dict()
    assert all(torch.equal(tensor, original[name]) for name, tensor in load_network(out).state_dict().items())


def test_convert_drops_thresholds_with_the_classes_that_they_are_for(tmp_path: Path) -> None:
    path, out = tmp_path / "last.pt", tmp_path / "mine.pt"
    save_checkpoint(path, seeded_network(), step=7, data=[], thresholds=[0.25] * TINY.class_count)
    assert run("convert", path, out, "--classes", "car", "person", "--class-map", "car=car") == 0
    assert read_state(out).progress == {"step": 7, "data": []}


def test_convert_may_replace_its_own_input(tmp_path: Path) -> None:
    path = tmp_path / "mine.safetensors"
    save_checkpoint(tmp_path / "last.pt", seeded_network())
    assert run("convert", tmp_path / "last.pt", path) == 0
    assert run("convert", path, path) == 0
    assert read_state(path).config == TINY


def test_convert_builds_a_network_on_a_backbone(
    imagenet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "mine.pt"
    assert run("convert", imagenet, out, "--preset", "street-tiny") == 0
    printed = capsys.readouterr().out
    assert "left over, no part of the backbone: fc.weight, fc.bias" in printed
    assert "initialised, of a deformable convolution" in printed
    network = load_network(out)
    expected = backbone_tensors(WeightFile(imagenet, "PyTorch zip", torch.load(imagenet))).state
    assert all(torch.equal(network.state_dict()[name], tensor) for name, tensor in expected.items())
    assert training_history(read_checkpoint(out)).startswith("0 steps on whatever the backbone's resnet.pth (SHA-256 ")


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "holds a ResNet-17 backbone, no whole network: say with --preset which to build on it"),
        (["--preset", "street-tiny", "--class-map", "street"], "class_map: expected none for a backbone"),
        (["--preset", "yolact-darknet53"], "does not hold this network's backbone"),
    ],
)
def test_convert_explains_what_a_backbone_needs(
    imagenet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], sentence: str
) -> None:
    assert run("convert", imagenet, tmp_path / "mine.pt", *words) == 1
    captured = capsys.readouterr().err
    assert sentence in captured
    assert captured.count("\n") == 1
    assert not (tmp_path / "mine.pt").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--preset", "street-tiny"], "has 80 classes, the network 8"),
        (["--preset", "huge"], "preset: expected one of"),
        (["--preset", "yolact-base"], "does not hold this network"),
        (["--classes", "a", "a"], "classes: expected every name once, but ('a', 'a') came"),
        (["--class-map", "rider"], "class_map: expected NAME=SOURCE or street, but 'rider' came"),
        (["--class-map", "rider=person"], "class_map: the network has no class rider"),
        (["--class-map", "cat=dog", "cat=cow"], "class_map: expected one source for cat, but dog and cow came: leave"),
        (["--class-map", "person=human"], "class_map: the file has no class human"),
        (["--class-map", "street", "--reinitialise-classes"], "not both"),
    ],
)
def test_convert_explains_what_is_wrong(
    published: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], sentence: str
) -> None:
    assert run("convert", published, tmp_path / "mine.pt", *words) == 1
    captured = capsys.readouterr().err
    assert captured.startswith("streetmask: ")
    assert sentence in captured
    assert captured.count("\n") == 1
    assert not (tmp_path / "mine.pt").exists()
