"""The sweep of frozen layers, on ten pictures and two steps."""

from dataclasses import replace
from pathlib import Path

import cv2
import pytest

from model.config import PRESETS
from scene.classes import STREET_CLASSES
from scene.errors import ConfigurationError
from streetmask.cli import main
from tests.model.tiny_network import TINY, seeded_network
from tests.training.coco_on_disk import annotation, rectangle, rle, write_coco
from tests.training.runs import log_of
from training.checkpoint import read_checkpoint, save_checkpoint
from training.freeze_sweep import Sweep

STREET = replace(TINY, class_names=STREET_CLASSES)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for name in ("target", "held-out"):
        boxes = [(8 * n, 8, 8 * n + 30, 50) for n in range(1, 11)]
        rows = [annotation(n, rle(rectangle(TINY.size_hw, box)), category_id=3) for n, box in enumerate(boxes, start=1)]
        write_coco(tmp_path / name, TINY.size_hw, 10, rows)
    return tmp_path


@pytest.fixture
def pair(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Weights, and the same with a first convolution that has moved."""
    monkeypatch.setitem(PRESETS, "tiny", STREET)
    network = seeded_network(STREET)
    save_checkpoint(tmp_path / "base.pt", network, step=3, data=["a source"])
    network.get_parameter("backbone.conv1.weight").data[0] += 1.0
    save_checkpoint(tmp_path / "tuned.pt", network, step=9, data=["a target"])
    return f"{tmp_path / 'base.pt'}:{tmp_path / 'tuned.pt'}"


def test_a_sweep_of_no_steps_is_none() -> None:
    with pytest.raises(ConfigurationError, match="every: expected 1 or more, but 0 came"):
        Sweep(0, 5, (1,), "plus-full", {})


def test_it_trains_with_more_and_more_frozen_and_draws_that(
    pair: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--sweep", "--target", data / "target", "--preset", "tiny", "--steps", "2", "--batch", "2"]
    words += ["--workers", "0", "--seeds", "1", "--every", "4", "--most", "9"]
    alike = ["--held-out", data / "target" / "instances.json"]
    assert main(["layers", pair, "--out", str(tmp_path / "out"), *map(str, (*words, *alike))]) == 1
    assert "held_out: expected other pictures than those of --target" in capsys.readouterr().err
    words += ["--held-out", data / "held-out"]
    assert main(["layers", pair, "--out", str(tmp_path / "out"), *map(str, words)]) == 0
    assert "| base, first 8 |" in capsys.readouterr().out
    rows = {path.parent.parent.name: path.parent for path in sorted((tmp_path / "out").glob("*/seed-1/last.pt"))}
    assert list(rows) == ["base, first 4", "base, first 8", "base, none"]
    first = "backbone.conv1.weight"
    moved = {name: read_checkpoint(folder / "last.pt")["model"][first] for name, folder in rows.items()}
    begun = read_checkpoint(tmp_path / "base.pt")["model"][first]
    assert {name: bool((weight == begun).all()) for name, weight in moved.items()} == {
        "base, first 4": True, "base, first 8": True, "base, none": False
    }  # fmt: skip
    assert len(log_of(rows["base, none"])) >= 2
    assert cv2.imread(str(tmp_path / "out" / "sweep.png")) is not None


def test_a_sweep_without_data_is_told_what_is_missing(pair: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["layers", pair, "--sweep"]) == 1
    assert "--target, --held-out, --out is missing" in capsys.readouterr().err
