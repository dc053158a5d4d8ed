"""``streetmask analyse focal``, as it is typed. It lies here since it needs torch."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from model.config import PRESETS
from model.weight_file import save_safetensors
from scene.classes import COCO_CLASSES
from streetmask.cli import main
from tests.model.tiny_network import TINY, seeded_network
from tests.training.coco_on_disk import annotation, rectangle, rle, write_coco
from training.checkpoint import save_checkpoint


@pytest.fixture
def ten(tmp_path: Path) -> Path:
    """Ten pictures, twice the network's size; a car on each but the last two, and on one a person too."""
    size_hw = (128, 256)
    boxes = [(8 * n, 10, 8 * n + 60 + 4 * n, 90) for n in range(1, 9)]
    rows = [annotation(n, rle(rectangle(size_hw, box))) for n, box in enumerate(boxes, start=1)]
    rows.append(annotation(3, rle(rectangle(size_hw, (200, 40, 230, 120))), category_id=1))
    return write_coco(tmp_path / "data", size_hw, 10, rows)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    save_checkpoint(tmp_path / "best.pt", seeded_network())
    return tmp_path / "best.pt"


def run(*words: object) -> int:
    return main(["analyse", "focal", *map(str, words)])


def test_ten_pictures(ten: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "deeper" / "out"
    assert run(checkpoint, "--data", ten, "--out", out, "--device", "cpu", "--gammas", 0, 2, "--negatives", 500) == 0
    told = capsys.readouterr()
    assert told.err == "10 of 10 pictures\n"
    printed = told.out.splitlines()
    plain = json.loads((out / "focal.json").read_text())
    assert printed[0].startswith("10 pictures; ")
    assert printed[2] == f"negatives: 500 samples of {plain['negatives']['seen']:,}"
    assert len(printed) == 9
    assert printed[-1].startswith("With gamma 2 instead of 0 the hardest 1 % of the negatives carry ")
    assert (plain["checkpoint"], plain["pictures"], plain["seed"]) == (str(checkpoint), 10, 1)
    assert plain["data"].startswith("10 pictures: ")
    for side in ("positives", "negatives"):
        assert [each["gamma"] for each in plain[side]["curves"]] == [0, 2]
        low, high = (each["hardest"]["0.05"] for each in plain[side]["curves"])
        assert 0.05 <= low < high <= 1
        assert (out / f"focal-{side}.png").stat().st_size > 0


def test_every_kind_of_file_gives_the_same(
    ten: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PRESETS, "street-tiny", TINY)
    save_safetensors(tmp_path / "best.safetensors", seeded_network(), {})
    torch.save(seeded_network().state_dict(), tmp_path / "plain.pth")
    sides = []
    for path, more in ((checkpoint, ()), (tmp_path / "best.safetensors", ()), (tmp_path / "plain.pth", ("--preset",))):
        words = (*more, "street-tiny") if more else ()
        assert run(path, "--data", ten, "--out", tmp_path / "out", "--device", "cpu", "--pictures", 4, *words) == 0
        plain = json.loads((tmp_path / "out" / "focal.json").read_text())
        sides.append((plain["pictures"], plain["positives"], plain["negatives"]))
    assert sides[0][0] == 4
    assert sides[0] == sides[1] == sides[2]


def test_a_network_of_other_classes_sees_those_that_it_knows(ten: Path, tmp_path: Path) -> None:
    counts = {}
    for names in (TINY.class_names, COCO_CLASSES, ("person", "dog")):
        save_checkpoint(tmp_path / "last.pt", seeded_network(replace(TINY, class_names=names)))
        assert run(tmp_path / "last.pt", "--data", ten, "--out", tmp_path / "out", "--device", "cpu") == 0
        counts[len(names)] = json.loads((tmp_path / "out" / "focal.json").read_text())["positives"]["seen"]
    assert 0 < counts[2] < counts[8] == counts[80]


def test_nothing_to_find_is_told(checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    empty = write_coco(tmp_path / "empty", TINY.size_hw, 3, [])
    assert run(checkpoint, "--data", empty, "--out", tmp_path / "out", "--device", "cpu") == 1
    assert "but the 3 pictures hold none, so that there are no positives" in capsys.readouterr().err
    assert not (tmp_path / "out" / "focal.json").exists()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--gammas", "0", "-1"], "gammas: expected one or more numbers of 0 or more, but (0.0, -1.0) came"),
        (["--gammas", "2", "2"], "gammas: expected every gamma once, but (2.0, 2.0) came"),
        (["--pictures", "0"], "pictures: expected 1 or more, but 0 came"),
        (["--positives", "0"], "positives: expected 1 or more, but 0 came"),
        (["--negatives", "-1"], "negatives: expected 1 or more, but -1 came"),
        (["--seed", "-1"], "seed: expected 0 or more, but -1 came"),
        (["--threads", "-1"], "threads: expected 0 or more, but -1 came"),
        (["--device", "toaster"], "expected a device such as auto, cpu or cuda:0, but 'toaster' came"),
        (["--preset", "huge"], "preset: expected one of"),
    ],
)
def test_what_is_wrong_is_told(
    ten: Path, checkpoint: Path, words: list[str], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(checkpoint, "--data", ten, "--out", tmp_path / "out", *words) == 1
    told = capsys.readouterr().err
    assert sentence in told
    assert told.count("\n") == 1


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        ("models", "models is a folder; of a model folder take the weights that it came from, "),
        ("localhost:50051", "localhost:50051 is a server's address, which answers no logits"),
        ("nowhere.pt", "expected a weight file at nowhere.pt, found none"),
    ],
)
def test_what_is_no_weight_file_is_told(
    ten: Path, model: str, sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    assert run(model, "--data", ten) == 1
    assert sentence in capsys.readouterr().err
    assert not (tmp_path / "focal").exists()


def test_classes_that_the_network_does_not_know_are_told(
    ten: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_checkpoint(tmp_path / "cats.pt", seeded_network(replace(TINY, class_names=("cat", "dog"))))
    assert run(tmp_path / "cats.pt", "--data", ten, "--out", tmp_path / "out") == 1
    assert "none of which is one of ['cat', 'dog']" in capsys.readouterr().err


def test_a_network_that_answers_overlaps_is_told(ten: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_checkpoint(tmp_path / "gated.pt", seeded_network(replace(TINY, scoring="gated")))
    assert run(tmp_path / "gated.pt", "--data", ten, "--out", tmp_path / "out", "--device", "cpu") == 1
    assert "which is no probability of an object" in capsys.readouterr().err
