from pathlib import Path

import pytest
import torch

from model.config import PRESETS
from tests.model.tiny_network import TINY
from tests.training.coco_on_disk import annotation, rectangle, rle, write_coco
from tests.training.small_study import STREET, SmallStudy, small_study
from training.data.coco import CocoDataset


@pytest.fixture
def street(tmp_path: Path) -> CocoDataset:
    """Two pictures with a large and a small object each, and a crowd."""
    rows = []
    for image_id in (1, 2):
        rows.append(annotation(image_id, rle(rectangle(TINY.size_hw, (10, 8, 60 + image_id, 50))), category_id=3))
        rows.append(annotation(image_id, rle(rectangle(TINY.size_hw, (90, 30, 110, 60))), category_id=1))
    rows.append(annotation(2, rle(rectangle(TINY.size_hw, (64, 0, 128, 10))), category_id=2, iscrowd=1))
    return CocoDataset(write_coco(tmp_path / "data", TINY.size_hw, 2, rows))


@pytest.fixture(autouse=True)
def seeded() -> None:
    """What is drawn at random does not hang on which tests ran before in the same process."""
    torch.manual_seed(0)


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SmallStudy:
    """The command, with small data and a preset "tiny"."""
    monkeypatch.setitem(PRESETS, "tiny", STREET)
    return small_study(tmp_path)
