"""A published network of full size through the whole export."""

from pathlib import Path

import pytest

from export.publish import Publication, publish
from export.torch_engine import open_weights
from model.config import PRESETS
from model.seeded_weights import fill_seeded_weights
from model.yolact import Yolact
from serve.answer import Options
from serve.model import Model
from training.checkpoint import save_checkpoint
from training.data.synthetic import SceneSettings, scene


@pytest.mark.slow
@pytest.mark.parametrize("preset", ["yolact-plus-resnet50", "yolact-darknet53"])
def test_a_published_network_is_exported_and_gives_torchs_detections(preset: str, tmp_path: Path) -> None:
    network = Yolact(PRESETS[preset])
    fill_seeded_weights(network)
    checkpoint = tmp_path / "seeded.pt"
    save_checkpoint(checkpoint, network)
    said: list[str] = []
    publication = Publication("seeded", "none", "finds nothing", scenes=3)
    artifact = publish(checkpoint, tmp_path / preset / "1", publication, said.append)
    assert artifact.verified[0].figures["pictures"] == 3
    assert artifact.verified[0].figures["detections"] == 300
    assert artifact.verified[0].figures["unmatched"] == 0
    frame = scene(910_000, SceneSettings(height=512, width=1024)).image
    options = Options(score_threshold=0.1)
    exported, in_torch = Model.load(tmp_path / preset / "1", threads=2), open_weights(checkpoint)
    theirs, ours = (model.segment(frame, options).instances for model in (exported, in_torch))
    assert len(ours) == len(theirs) == 100
    assert sorted(found.class_name for found in ours) == sorted(found.class_name for found in theirs)
    assert [found.score for found in ours] == pytest.approx([found.score for found in theirs], abs=1e-4)
