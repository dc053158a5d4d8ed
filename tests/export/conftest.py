"""One export of a tiny network, which takes ten seconds, for all tests of this folder and all processes of a run."""

import json
from pathlib import Path
from typing import NamedTuple

import pytest
from filelock import FileLock

from export.publish import Publication, publish
from scene.artifact import Artifact, read_artifact
from tests.model.tiny_network import TINY, seeded_network
from tests.training.coco_on_disk import annotation, rectangle, rle, write_coco
from training.checkpoint import save_checkpoint

VERIFIED_SCENES = 2

_CHECKPOINT, _FOLDER, _DATA = "last.pt", "models/tiny/1", "data/instances.json"


class Published(NamedTuple):
    """A checkpoint, what became of it, and what was said meanwhile."""

    checkpoint: Path
    folder: Path
    artifact: Artifact
    data: Path
    said: list[str]


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Published:
    """Weights, offset layers and BatchNorm's statistics are random; the data set has three pictures."""
    base = tmp_path_factory.getbasetemp()
    root = (base if worker_id == "master" else base.parent) / "export"
    said = root / "said.json"
    with FileLock(root.with_suffix(".lock")):
        if not said.exists():
            said.write_text(json.dumps(_publish(root)))
    folder = root / _FOLDER
    return Published(root / _CHECKPOINT, folder, read_artifact(folder), root / _DATA, json.loads(said.read_text()))


def _publish(root: Path) -> list[str]:
    root.mkdir()
    save_checkpoint(root / _CHECKPOINT, seeded_network(), step=12, data=["3 pictures: rectangles"])
    objects = [annotation(n, rle(rectangle(TINY.size_hw, (10 * n, 8, 60, 50))), category_id=3) for n in (1, 2, 3)]
    data = write_coco(root / "data", TINY.size_hw, 3, objects)
    publication = Publication(
        "finds little", "Apache-2.0", "only for tests", accuracy=[("rectangles", data)], scenes=VERIFIED_SCENES
    )
    said: list[str] = []
    publish(root / _CHECKPOINT, root / _FOLDER, publication, said.append)
    return said
