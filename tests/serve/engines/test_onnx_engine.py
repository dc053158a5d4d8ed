"""ONNX files on the CPU."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from scene.artifact import TensorSpec, tensor_specs
from scene.errors import ArtifactError
from serve.engines import Outputs
from serve.engines.onnx_engine import OnnxEngine
from serve.model import Model
from tests.serve.tiny_model import MASK_HW, NAMES, SIZE_HW, street

SPECS = tensor_specs(SIZE_HW, len(NAMES), MASK_HW)


def test_a_picture_of_nothing_has_no_rows(tiny: Model) -> None:
    outputs = tiny.engine.run(np.zeros((1, *SIZE_HW, 3), np.uint8))
    assert outputs.num.tolist() == [0]
    assert not any(rows.any() for rows in outputs)


def test_a_batch_is_answered_row_by_row_in_the_contract_s_types(tiny: Model) -> None:
    first, second = street((1, (0, 0, 16, 16)), size_hw=SIZE_HW), street(size_hw=SIZE_HW)
    outputs = tiny.engine.run(np.stack([first, second]))
    assert outputs.num.tolist() == [1, 0]
    assert outputs.classes[0, 0] == 1
    assert outputs.boxes[0, 0].tolist() == [0, 0, 0.25, 0.5]
    for name in Outputs._fields:
        rows: np.ndarray = getattr(outputs, name)
        assert rows.dtype == SPECS[name].dtype
        assert list(rows.shape) == [2, *SPECS[name].shape[1:]]


def test_a_file_that_is_no_graph_is_refused_in_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"no graph")
    with pytest.raises(ArtifactError, match=r"model.onnx cannot be loaded: .*; export the checkpoint again"):
        OnnxEngine(path, SPECS, 1)


@pytest.mark.parametrize(
    ("name", "spec", "sentence"),
    [
        ("depth", TensorSpec("float32", ["B"]), "has no tensor depth"),
        ("scores", replace(SPECS["scores"], dtype="uint8"), "the tensor scores should be uint8"),
        ("masks", replace(SPECS["masks"], shape=["B", 3, 9, 16]), "the tensor masks should be"),
        ("num", replace(SPECS["num"], shape=["B", 1]), "the tensor num should be"),
    ],
)
def test_a_graph_of_another_contract_is_refused(model_folder: Path, name: str, spec: TensorSpec, sentence: str) -> None:
    with pytest.raises(ArtifactError, match=sentence):
        OnnxEngine(model_folder / "model.onnx", {**SPECS, name: spec}, 1)
