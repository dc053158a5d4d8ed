"""The choice of an engine."""

from dataclasses import replace
from pathlib import Path

import pytest

from scene.errors import ArtifactError
from serve.engines import open_engine
from serve.models import Model


def test_an_artifact_without_a_file_for_this_server_is_refused(tiny: Model, model_folder: Path) -> None:
    plan = replace(tiny.artifact.files[0], engine="tensorrt")
    with pytest.raises(ArtifactError, match="expected one for the engine onnx, found tensorrt"):
        open_engine(model_folder, replace(tiny.artifact, files=[plan]), 1)


def test_the_first_file_that_can_run_is_opened(tiny: Model, model_folder: Path) -> None:
    plan = replace(tiny.artifact.files[0], engine="tensorrt", path="model.plan")
    open_engine(model_folder, replace(tiny.artifact, files=[plan, *tiny.artifact.files]), 1)
