"""The choice of a file that an engine here runs."""

from dataclasses import replace

import pytest

from scene.errors import ArtifactError
from serve.engines import runnable
from serve.models import Model


def test_an_artifact_without_a_file_for_this_server_is_refused(tiny: Model) -> None:
    plan = replace(tiny.artifact.files[0], engine="tensorrt")
    with pytest.raises(ArtifactError, match="expected one for the engine onnx, found tensorrt float32"):
        runnable(replace(tiny.artifact, files=[plan]))


def test_files_keep_their_order_and_others_are_left_out(tiny: Model) -> None:
    (float32,) = tiny.artifact.files
    plan, int8 = replace(float32, engine="tensorrt", path="model.plan"), replace(float32, precision="int8")
    artifact = replace(tiny.artifact, files=[plan, int8, float32])
    assert runnable(artifact) == [int8, float32]
    assert runnable(artifact, "float32") == [float32]


def test_a_precision_that_was_not_exported_is_told(tiny: Model) -> None:
    with pytest.raises(ArtifactError, match=r"engine onnx in int8, found onnx float32; .* again with --int8"):
        runnable(tiny.artifact, "int8")
