"""ONNX files that are not ours, on each engine: a sentence each. They lie here since making one needs ``onnx``."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from scene.artifact import ModelFile
from scene.errors import ArtifactError
from serve.engines import EngineName, Way, open_engine
from serve.engines.contract import first_line
from tests.export.conftest import Published

ENGINES: list[EngineName] = ["onnxruntime", "openvino"]
NUMBERS = 16


def loaded(path: Path, published: Published, engine: EngineName) -> None:
    open_engine(path.parent, published.artifact, Way(engine, "float32", ModelFile(path.name, "onnx", "float32", "")), 1)


def foreign(path: Path, weights: TensorProto) -> Path:
    """A graph that adds weights to an ``image`` of so many numbers."""
    image, answer = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [NUMBERS]) for name in ("image", "answer"))
    graph = helper.make_graph([helper.make_node("Add", ["image", "w"], ["answer"])], "g", [image], [answer], [weights])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10), path)
    return path


def kept_elsewhere(location: str) -> TensorProto:
    """Weights that a graph says lie in another file."""
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[NUMBERS], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", location), ("offset", "0"), ("length", str(4 * NUMBERS))):
        tensor.external_data.add(key=key, value=value)
    return tensor


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("content", [b"", b"no graph at all"])
def test_what_is_no_graph_is_told(published: Published, tmp_path: Path, engine: EngineName, content: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"model\.onnx (cannot be loaded: .|has no tensor)"):
        loaded(path, published, engine)


@pytest.mark.parametrize("engine", ENGINES)
def test_anothers_graph_is_told(published: Published, tmp_path: Path, engine: EngineName) -> None:
    path = foreign(tmp_path / "model.onnx", onnx.numpy_helper.from_array(np.zeros(NUMBERS, np.float32), "w"))
    with pytest.raises(ArtifactError, match="the tensor image should be uint8"):
        loaded(path, published, engine)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("location", [lambda _: "../secret.bin", str, lambda _: "link.bin"])
def test_weights_outside_the_folder_are_not_read(
    published: Published, tmp_path: Path, engine: EngineName, location: Callable[[Path], str]
) -> None:
    """By a path upwards, an absolute path, and a link: the engines' own refusals, as a sentence."""
    secret = tmp_path / "secret.bin"
    secret.write_bytes(bytes(4 * NUMBERS))
    folder = tmp_path / "1"
    folder.mkdir()
    (folder / "link.bin").symlink_to(secret)
    path = foreign(folder / "model.onnx", kept_elsewhere(location(secret)))
    with pytest.raises(ArtifactError, match=r"model\.onnx cannot be loaded: .*(outside|escapes|Absolute path)"):
        loaded(path, published, engine)


def test_of_a_librarys_error_the_first_line_that_says_something_is_told() -> None:
    assert first_line(RuntimeError("")) == "RuntimeError"
    assert first_line(RuntimeError("\n  it broke  \nat x.cpp:3")) == "it broke"
    traces = ["Exception from src/core.cpp:84:", "Check 'false' failed at src/frontend.cpp:47:", "Loading input model"]
    assert first_line(RuntimeError("\n".join([*traces, "the path is outside"]))) == "the path is outside"
