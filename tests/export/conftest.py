"""One export of a tiny network, which takes ten seconds, for all tests of this folder."""

from pathlib import Path
from typing import NamedTuple

import pytest

from export.publish import Publication, publish
from scene.artifact import Artifact
from tests.model.tiny_network import TINY, seeded_network
from tests.training.coco_on_disk import annotation, rectangle, rle, write_coco
from training.checkpoint import save_checkpoint

VERIFIED_SCENES = 2


class Published(NamedTuple):
    """A checkpoint, what became of it, and what was said meanwhile."""

    checkpoint: Path
    folder: Path
    artifact: Artifact
    data: Path
    said: list[str]


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Published:
    """Weights, offset layers and BatchNorm's statistics are random; the data set has three pictures."""
    root = tmp_path_factory.mktemp("export")
    checkpoint, folder = root / "last.pt", root / "models" / "tiny" / "1"
    save_checkpoint(checkpoint, seeded_network(), step=12, data=["3 pictures: rectangles"])
    objects = [annotation(n, rle(rectangle(TINY.size_hw, (10 * n, 8, 60, 50))), category_id=3) for n in (1, 2, 3)]
    data = write_coco(root / "data", TINY.size_hw, 3, objects)
    publication = Publication(
        "finds little", "Apache-2.0", "only for tests", accuracy=[("rectangles", data)], scenes=VERIFIED_SCENES
    )
    said: list[str] = []
    artifact = publish(checkpoint, folder, publication, said.append)
    return Published(checkpoint, folder, artifact, data, said)
