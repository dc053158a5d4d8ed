"""``streetmask layers``: what it prints, what it writes, and how it complains."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from model.weight_file import save_safetensors
from scene.classes import COCO_CLASSES
from scene.errors import ConfigurationError, DataError
from streetmask.cli import main
from tests.model.tiny_network import TINY, seeded_network
from tests.training.coco_on_disk import annotation, rectangle, rle, write_coco
from tests.training.one_step import TINY_YOLACT, imagenet_backbone
from training.checkpoint import save_checkpoint
from training.layers_command import split_pair


@pytest.fixture
def base(tmp_path: Path) -> Path:
    path = tmp_path / "base.pt"
    save_checkpoint(path, seeded_network(), step=7, data=["3 pictures: a park"])
    return path


@pytest.fixture
def imagenet(tmp_path: Path) -> Path:
    path = tmp_path / "resnet.pth"
    torch.save(dict(imagenet_backbone().state), path)
    return path


@pytest.fixture
def tuned(tmp_path: Path, base: Path) -> Path:
    """Two steps on one picture, the first twelve convolutions frozen."""
    rows = [annotation(1, rle(rectangle(TINY.size_hw, (10, 8, 60, 50))), category_id=3)]
    street = write_coco(tmp_path / "street", TINY.size_hw, 1, rows)
    words = ["--target", street, "--start", base, "--out", tmp_path / "run", "--steps", 2, "--batch", 1]
    words += ["--workers", 0, "--device", "cpu", "--precision", "float32", "--freeze-first", 12]
    assert main(["train", *map(str, words)]) == 0
    return tmp_path / "run/last.pt"


def run(*arguments: object) -> int:
    return main(["layers", *(str(each) for each in arguments)])


def test_at_least_one_pair(capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == 1
    assert capsys.readouterr().err == (
        "streetmask: pairs: expected BASE:TUNED at least once, two weight files with a colon between\n"
    )


def test_frozen_layers_differ_by_exactly_nothing(
    base: Path, tuned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert run(f"{base}:{tuned}", "--out", tmp_path / "layers") == 0
    printed = capsys.readouterr().out
    assert printed.startswith("(1) base.pt:run/last.pt\n")
    assert printed.endswith(f"wrote {', '.join(str(tmp_path / f'layers/layers.{k}') for k in ('json', 'md', 'png'))}\n")
    assert "\n12  backbone.layers.2.0.conv2" in printed
    (pair,) = json.loads((tmp_path / "layers/layers.json").read_text())["pairs"]
    found = [each["difference"] for each in pair["layers"]]
    assert found[:12] == [0.0] * 12
    assert len(found) == 40
    assert all(0 < each < 0.1 for each in found[12:])
    assert (pair["target"], pair["steps"]) == (["1 pictures: instances.json"], 2)


def test_several_starts_are_compared(
    base: Path, imagenet: Path, tuned: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a backbone trained elsewhere the network's other layers cannot be compared."""
    other = tmp_path / "other.pth"
    torch.save({name: each + 0.01 * each.flip(0) for name, each in imagenet_backbone().state.items()}, other)
    capsys.readouterr()
    assert run(f"{base}:{tuned}", f"{other}:{tuned}") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["(1) base.pt:run/last.pt", "(2) other.pth:run/last.pt"]
    row = next(line for line in lines if "fpn.lat_layers.0" in line)
    assert row.endswith("  -")
    assert any(line.startswith(f"(2) not comparable, not in {other}: 3 x fpn.lat_layers.*") for line in lines)
    assert any(line.startswith("Of the starts for 1 pictures: instances.json, which the ") for line in lines)
    assert not any(tmp_path.glob("**/layers.*"))


def test_published_weights_and_safetensors(base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    published, safe = tmp_path / "tiny_54_800000.pth", tmp_path / "mine.safetensors"
    network = seeded_network(replace(TINY, class_names=COCO_CLASSES))
    torch.save(network.state_dict(), published, _use_new_zipfile_serialization=False)
    save_safetensors(safe, seeded_network(), {"step": 3})
    assert run(f"{published}:{safe}", f"{base}:{safe}") == 0
    printed = capsys.readouterr().out
    assert "(1) not comparable, a row a class, and the classes differ: " in printed
    assert "(2) freeze nothing: no layer moved at all" in printed


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ("{base}", "pairs: expected BASE:TUNED, two weight files with a colon between, but {base} came"),
        ("{base}:none.pt", "expected BASE:TUNED, but of {base}:none.pt there is no file none.pt"),
        ("none.pt:{base}", "expected BASE:TUNED, but of none.pt:{base} there is no file none.pt"),
        ("a.pt:b.pt", "expected BASE:TUNED, but of a.pt:b.pt there is no file a.pt and none b.pt"),
        ("{base}:{base}", "pairs: expected two files, before and after a training, but {base}:{base} is one"),
        ("{base}:{link}", "pairs: expected two files, before and after a training, but {base}:{link} is one"),
        ("{base}:{strange}", "{strange} holds no convolution of a network that StreetMask knows, but tensors such as "),
        ("{imagenet}:{fpn}", "{imagenet} and {fpn} have no convolution in common: expected two of one network"),
        ("{base}:{deeper}", "{base} (a network of no preset) and {deeper} (a network of no preset) are of different"),
    ],
)
def test_a_sentence_for_each_mistake(
    base: Path, imagenet: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: str, sentence: str
) -> None:
    paths = {name: tmp_path / f"{name}.pt" for name in ("link", "strange", "fpn", "deeper")}
    paths |= {"base": base, "imagenet": imagenet}
    paths["link"].symlink_to(base)
    torch.save({"roi_heads.weight": torch.ones(3)}, paths["strange"])
    torch.save({"fpn.lat_layers.0.weight": torch.ones(3, 3, 1, 1)}, paths["fpn"])
    blocks = replace(TINY.backbone, blocks=(1, 1, 3, 1))
    save_checkpoint(paths["deeper"], seeded_network(replace(TINY, backbone=blocks)))
    assert run(words.format(**paths), "--out", tmp_path / "layers") == 1
    captured = capsys.readouterr()
    assert captured.err.startswith(f"streetmask: {sentence.format(**paths)}")
    assert captured.err.count("\n") == 1
    assert captured.out == ""
    assert not (tmp_path / "layers").exists()


def test_a_pair_twice(base: Path, tuned: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert run(f"{base}:{tuned}", f"{base}:{tuned}") == 1
    assert capsys.readouterr().err == f"streetmask: pairs: expected every pair once, but {base}:{tuned} came twice\n"


def test_pairs_of_different_networks(base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [base]
    for name, config in (("wide", replace(TINY, fpn_channels=24)), ("plain", TINY_YOLACT)):
        paths += [tmp_path / f"{name}.pt", tmp_path / f"{name}_tuned.pt"]
        for path in paths[-2:]:
            save_checkpoint(path, seeded_network(config))
    tuned = tmp_path / "tuned.pt"
    save_checkpoint(tuned, seeded_network())
    for start, other, count, name in (
        (paths[1], paths[2], 14, "fpn.lat_layers.0"),
        (paths[3], paths[4], 4, "maskiou_net.maskiou_net.0"),
    ):
        assert run(f"{base}:{tuned}", f"{start}:{other}") == 1
        assert capsys.readouterr().err == (
            f"streetmask: expected pairs of one network, but {tuned} and {other} differ in {count} convolutions "
            f"such as {name}: compare them in a command of their own\n"
        )


def test_paths_may_hold_colons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b", "c", "a:b", "b:c"):
        Path(name).touch()
    assert split_pair("a:b") == (Path("a"), Path("b"))
    assert split_pair("a:b:c") == (Path("a:b"), Path("c")), "the last colon that leaves two files"
    Path("a:b").unlink()
    assert split_pair("a:b:c") == (Path("a"), Path("b:c"))
    with pytest.raises(DataError, match=r"there is no file d$"):
        split_pair("b:c:d")
    with pytest.raises(ConfigurationError, match="but abc came"):
        split_pair("abc")
