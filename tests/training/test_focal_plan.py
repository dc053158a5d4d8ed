"""Every loss of the focal plan, trained by the command for two steps on ten pictures."""

from dataclasses import replace
from math import isfinite
from pathlib import Path

import pytest

from model.config import PRESETS
from scene.classes import EVERYDAY_CLASSES, STREET_CLASSES
from streetmask.cli import main
from tests.model.tiny_network import TINY, seeded_network
from tests.training.coco_on_disk import annotation, rectangle, rle, write_coco
from tests.training.runs import log_of
from training.checkpoint import save_checkpoint
from training.study_plan import PLANS


def test_every_loss_learns_from_weights_of_other_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PRESETS, "tiny", replace(TINY, class_names=STREET_CLASSES))
    network = seeded_network(replace(TINY, class_names=EVERYDAY_CLASSES))
    save_checkpoint(tmp_path / "everyday.pt", network, step=7, data=["everyday things"])
    shapes = [rle(rectangle(TINY.size_hw, (8 * n, 8, 8 * n + 50, 50))) for n in range(10)]
    rows = [annotation(n, shape, category_id=3) for n, shape in enumerate(shapes, start=1)]
    for name in ("target", "held-out"):
        write_coco(tmp_path / name, TINY.size_hw, 10, rows)
    words = ["--plan", "focal", "--schedule", "nano-study", "--preset", "tiny", "--start", tmp_path / "everyday.pt"]
    words += ["--target", tmp_path / "target", "--held-out", tmp_path / "held-out", "--out", tmp_path / "study"]
    words += ["--seeds", "1", "--steps", "2", "--batch", "2", "--workers", "0", "--evaluate-every", "0"]
    assert main(["study", *map(str, words)]) == 0
    steps = {name: log_of(tmp_path / "study" / name / "seed-1")[:2] for name in PLANS["focal"].rows}
    assert all(isfinite(step["total"]) for lines in steps.values() for step in lines)
    first = {name: round(lines[0]["total"], 3) for name, lines in steps.items()}
    assert len({*first.values()}) >= len(first) - 1, "OHEM of few negatives may be the same with and without balance"
