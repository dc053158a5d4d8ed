"""What an engine's name stands for, and what cannot run here."""

from pathlib import Path

import pytest

from bench.engine_names import Form, NamedEngine, named_engine
from scene.artifact import read_artifact
from scene.errors import ArtifactError, ConfigurationError
from tests.serve.tiny_model import write_tiny_model


@pytest.mark.parametrize("name", ["", "caffe", "float16", "onnxruntime-half", "torch-plain-bfloat16", "torch-int8"])
def test_no_engine_of_that_name_is_told(name: str) -> None:
    with pytest.raises(ConfigurationError, match="engines: expected "):
        named_engine(name)


@pytest.mark.parametrize(
    ("name", "runtime", "precision"),
    [
        ("onnxruntime", "onnxruntime", "float32"),
        ("onnxruntime-int8", "onnxruntime", "int8"),
        ("openvino-bfloat16", "openvino", "bfloat16"),
        ("onnxruntime-tensorrt-float16", "onnxruntime-tensorrt", "float16"),
        ("tensorrt-rtx", "tensorrt-rtx", "float32"),
        ("tensorrt-rtx-int8", "tensorrt-rtx", "int8"),
        ("torch-plain", "torch-plain", "float32"),
        ("torch-compile-float16", "torch-compile", "float16"),
    ],
)
def test_a_precision_may_stand_behind_an_engine(name: str, runtime: str, precision: str) -> None:
    named = named_engine(name)
    assert (named.runtime, named.precision) == (runtime, precision)
    assert named.is_torch == name.startswith("torch")


def test_gpus_get_fixed_rows_and_plans_are_for_batches_of_one_size() -> None:
    assert named_engine("openvino-bfloat16").form(4) == Form("onnx", "float32", fixed_rows=False)
    assert named_engine("onnxruntime-int8").form(4) == Form("onnx", "int8", fixed_rows=False)
    assert named_engine("onnxruntime-cuda").form(4) == Form("onnx", "float32", fixed_rows=True)
    assert named_engine("tensorrt-float16").form(4) == Form("tensorrt", "float16", fixed_rows=True, batch=4)


def test_a_folder_without_the_file_says_which_it_has(tmp_path: Path) -> None:
    artifact = read_artifact(write_tiny_model(tmp_path / "tiny" / "3"))
    assert named_engine("openvino-bfloat16").way(artifact).file.path == "model.onnx"
    with pytest.raises(ArtifactError, match="no file for onnxruntime in int8; there are onnx float32"):
        named_engine("onnxruntime-int8").way(artifact)


def test_what_cannot_run_here_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    assert NamedEngine("torch", "float16").why_not("cuda") == ""
    assert "for GPUs" in NamedEngine("torch", "float16").why_not("cpu")
    assert NamedEngine("onnxruntime", "float32").why_not("cpu") == ""
    monkeypatch.setattr("bench.engine_names.why_not_here", lambda way: f"no {way.engine}")
    assert NamedEngine("tensorrt", "float16").why_not("cpu") == "no tensorrt"
