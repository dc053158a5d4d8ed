"""Every way of reading class logits goes into the graph: ONNX Runtime answers as torch does."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from export.agreement import compare_detections
from export.graph import deployable
from export.to_onnx import write_onnx
from model.config import BackboneConfig, Scoring
from scene.artifact import OUTPUTS
from serve.engines import Outputs
from serve.model import detections
from tests.model.tiny_network import TINY, seeded_network

SMALL = replace(
    TINY, backbone=BackboneConfig(4, blocks=(1, 1, 1, 1), planes=(4, 4, 4, 8), deformable=(0, 0, 0, 0), kind="basic")
)
"""Scoring knows nothing of the backbone, and a plain one is exported sooner."""


@pytest.mark.parametrize(
    "scoring", ["gated", *(pytest.param(each, marks=pytest.mark.slow) for each in ("sigmoid", "objectness"))]
)
def test_the_graph_scores_as_torch_does(scoring: Scoring, tmp_path: Path) -> None:
    network = seeded_network(replace(SMALL, scoring=scoring))
    with torch.no_grad():  # half of the anchors on either side of the gate
        network.get_parameter("prediction_layers.0.conf_layer.bias")[:: TINY.class_count + 1] -= 2.2
    segmenter = deployable(network)
    images = np.random.default_rng(0).integers(0, 256, (2, *TINY.size_hw, 3), np.uint8)
    session = onnxruntime.InferenceSession(write_onnx(segmenter, tmp_path / "model.onnx"))
    answered = Outputs(*session.run(list(OUTPUTS), {"image": images}))
    with torch.inference_mode():
        expected = Outputs(*(tensor.numpy() for tensor in segmenter(torch.from_numpy(images))))
        read_otherwise = deployable(seeded_network(SMALL))(torch.from_numpy(images))
    assert expected.num.min() > 10, "the case should find something"
    assert not np.allclose(expected.scores, read_otherwise.scores.numpy(), atol=1e-2), "the scoring should matter"
    for index in range(2):
        compare_detections(detections(expected, index), detections(answered, index), segmenter.settings).require()
