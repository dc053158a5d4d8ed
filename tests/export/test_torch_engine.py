"""Weights without an export find what their export finds."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import streetmask
from export.graph import deployable
from export.torch_engine import TorchEngine, open_weights
from model.detect import NmsKind
from model.segmenter import Segmenter
from scene.artifact import OUTPUTS
from scene.errors import DataError, FrameError
from scene.image import RgbImage
from serve.answer import Options
from serve.engines.onnx_engine import OnnxEngine
from tests.export.conftest import Published
from tests.model.tiny_network import seeded_network

FRAMES: list[RgbImage] = [
    np.random.default_rng(5).integers(0, 256, size, np.uint8) for size in ((64, 128, 3), (100, 83, 3), (700, 300, 3))
]
LOW = Options(score_threshold=0.1)


def test_a_blank_frame_is_answered_alike(published: Published) -> None:
    blank = np.zeros((32, 32, 3), np.uint8)
    found = [streetmask.load(path, threads=1).segment(blank) for path in (published.folder, published.checkpoint)]
    assert len(found[0].instances) == len(found[1].instances)


@pytest.mark.parametrize("frame", FRAMES)
def test_weights_and_artifact_find_the_same_instances(published: Published, frame: RgbImage) -> None:
    folder, weights = (streetmask.load(path, threads=1) for path in (published.folder, published.checkpoint))
    theirs, ours = folder.segment(frame, LOW).instances, weights.segment(frame, LOW).instances
    assert len(ours) == len(theirs) > 10
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.class_name == other.class_name
        assert (mine.score, mine.mask_score) == pytest.approx((other.score, other.mask_score), abs=1e-4)
        assert mine.box_xyxy == pytest.approx(other.box_xyxy, abs=1e-4 * max(frame.shape))
        assert mine.mask is not None
        assert other.mask is not None
        assert mine.mask.xy == other.mask.xy
        assert (mine.mask.pixels() != other.mask.pixels()).mean() < 0.01


def test_an_artifacts_weights_draw_what_the_artifact_draws(published: Published) -> None:
    folder, weights = (streetmask.load(published.folder / name) for name in ("", "checkpoint.pt"))
    assert weights.artifact.thresholds == folder.artifact.thresholds
    assert weights.artifact.class_names == folder.artifact.class_names


def test_both_engines_leave_out_what_scores_no_more_than_the_threshold(published: Published) -> None:
    batch = np.stack([FRAMES[0], FRAMES[0][::-1]])
    onnx = OnnxEngine(published.folder / "model.onnx", published.artifact.tensors, threads=1)
    torch_engine = TorchEngine(deployable(seeded_network()))
    for threshold in (0.0, 0.3, 1.0):
        theirs, ours = onnx.run(batch, threshold), torch_engine.run(batch, threshold)
        assert ours.num.tolist() == theirs.num.tolist()
        for name in OUTPUTS:
            mine, other = getattr(ours, name), getattr(theirs, name)
            assert mine.dtype == other.dtype
            assert mine.shape == other.shape
        np.testing.assert_allclose(ours.scores, theirs.scores, atol=1e-4)


@pytest.mark.parametrize("nms", ["cross-class", "traditional"])
def test_another_nms_is_the_segmenters(published: Published, nms: NmsKind) -> None:
    model = open_weights(published.checkpoint, nms=nms, threads=1)
    settings = replace(Segmenter(seeded_network()).settings, nms=nms)
    with torch.inference_mode():
        expected = Segmenter(seeded_network(), settings).eval()(torch.from_numpy(FRAMES[0])[None])
    found = model.engine.run(FRAMES[0][None])
    assert found.scores.shape == (1, settings.rows)
    np.testing.assert_allclose(found.scores, expected.scores.numpy(), atol=1e-4)


def test_grey_pictures_are_answered_and_others_refused_in_a_sentence(published: Published) -> None:
    model = streetmask.load(published.checkpoint)
    grey = FRAMES[0][..., 0]
    assert model.segment(grey, LOW).instances == model.segment(np.stack([grey] * 3, axis=-1), LOW).instances
    with pytest.raises(FrameError, match="but uint16 came"):
        model.segment(FRAMES[0].astype(np.uint16))
    with pytest.raises(FrameError, match="at least 16x16 pixels, but 1x1 came"):
        model.segment(FRAMES[0][:1, :1])


def test_what_is_no_weight_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(b"no weights")
    with pytest.raises(DataError, match=r"weights.pth is damaged"):
        streetmask.load(path)
    torch.save({"layer.weight": torch.zeros(3)}, path)
    with pytest.raises(DataError, match="no network that StreetMask knows"):
        streetmask.load(path)
