"""The graph in a model repository: as it is, without an operator, without rows that nobody wants."""

import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

import export.triton_graph
from export.lowering import DeformConvNode, GridSampledConv
from export.triton_config import TritonOptions
from export.triton_graph import Source, write_graph
from export.triton_release import find_release
from model.segmenter import Segmenter
from scene.artifact import Artifact, ModelFile
from scene.errors import ArtifactError, ConfigurationError
from scene.image import decode_image
from serve.engines import Outputs
from serve.engines.onnx_engine import OnnxEngine
from tests.export.conftest import VERIFIED_SCENES, Published


@pytest.fixture(autouse=True)
def few_scenes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export.triton_graph, "VERIFY_SCENES", VERIFIED_SCENES)


def source_of(published: Published, options: TritonOptions, artifact: Artifact | None = None) -> Source:
    artifact = artifact or published.artifact
    return Source(published.folder, artifact, artifact.files[0], options, find_release(options.triton_version))


def operators(path: Path) -> Counter[str]:
    return Counter(node.op_type for node in onnx.load(path).graph.node)


def answer(path: Path, published: Published, score_threshold: float = 0.0) -> Outputs:
    golden = decode_image((published.folder / published.artifact.golden.path).read_bytes())
    return OnnxEngine(path, published.artifact.tensors, threads=1).run(golden[None], score_threshold)


def silent(_: str) -> None:
    pass


def test_a_graph_that_the_release_runs_is_copied(published: Published, tmp_path: Path) -> None:
    said: list[str] = []
    path = tmp_path / "model.onnx"
    assert write_graph(source_of(published, TritonOptions("26.07")), path, said.append) == "DeformConv"
    assert path.read_bytes() == (published.folder / "model.onnx").read_bytes()
    assert said == []


def test_what_is_exported_anew_is_held_against_the_artifact_and_has_no_second_input(
    published: Published, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[Segmenter, Path]] = []

    def copied(segmenter: Segmenter, path: Path) -> Path:
        asked.append((segmenter, path))
        return Path(shutil.copy(published.folder / "model.onnx", path))

    monkeypatch.setattr(export.triton_graph, "write_onnx", copied)
    said: list[str] = []
    path = tmp_path / "model.onnx"
    assert write_graph(source_of(published, TritonOptions("26.06")), path, said.append) == "GridSample"
    ((segmenter, target),) = asked
    assert target == path
    assert sum(isinstance(module, GridSampledConv) for module in segmenter.modules()) == 3
    assert not any(isinstance(module, DeformConvNode) for module in segmenter.modules())
    assert [each.name for each in onnx.load(path).graph.input] == ["image"]
    assert said == [
        "Triton 26.06 has ONNX Runtime 1.24.4, without DeformConv: exporting anew",
        "comparing with model.onnx on 2 scenes",
    ]


@pytest.mark.slow
def test_without_the_operator_the_network_is_exported_anew_and_answers_the_same(
    published: Published, tmp_path: Path
) -> None:
    path = tmp_path / "model.onnx"
    assert write_graph(source_of(published, TritonOptions("26.06")), path, silent) == "GridSample"
    convolutions = operators(published.folder / "model.onnx")["DeformConv"]
    assert (operators(path)["DeformConv"], operators(path)["GridSample"]) == (0, convolutions)
    ours, theirs = answer(published.folder / "model.onnx", published), answer(path, published)
    assert ours.num[0] > 0
    np.testing.assert_array_equal(ours.num, theirs.num)
    np.testing.assert_allclose(ours.scores, theirs.scores, atol=1e-4)


def test_a_new_graph_that_answers_otherwise_is_not_let_through(
    published: Published, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def with_other_weights(_: Segmenter, path: Path) -> Path:
        graph = onnx.load(published.folder / "model.onnx")
        weights = [each for each in graph.graph.initializer if len(each.dims) == 4]
        for each in weights:
            each.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(each) * np.float32(1.1), each.name))
        onnx.save(graph, path)
        return path

    monkeypatch.setattr(export.triton_graph, "write_onnx", with_other_weights)
    with pytest.raises(ArtifactError, match=r"with .*model\.onnx in the place of torch: .* does not answer as torch"):
        write_graph(source_of(published, TritonOptions("26.06")), tmp_path / "model.onnx", silent)


def test_rows_up_to_a_threshold_are_left_out_for_good(published: Published, tmp_path: Path) -> None:
    path, whole = tmp_path / "model.onnx", answer(published.folder / "model.onnx", published)
    threshold = float(np.median(whole.scores[0, : whole.num[0]]))
    wanted = int((whole.scores[0] > threshold).sum())
    write_graph(source_of(published, TritonOptions("26.08", score_threshold=threshold)), path, silent)
    assert [each.name for each in onnx.load(path).graph.input] == ["image"]
    found = answer(path, published)
    assert 0 < wanted < whole.num[0]
    assert found.num[0] == wanted
    np.testing.assert_array_equal(found.scores[0, :wanted], whole.scores[0, :wanted])
    np.testing.assert_array_equal(found.masks[0, :wanted], whole.masks[0, :wanted])
    assert not found.scores[0, wanted:].any()


def test_an_int8_graph_is_not_exported_anew(published: Published, tmp_path: Path) -> None:
    entry = replace(published.artifact.files[0], precision="int8")
    source = replace(source_of(published, TritonOptions("26.06", precision="int8")), entry=entry)
    with pytest.raises(ConfigurationError) as refused:
        write_graph(source, tmp_path / "model.onnx", silent)
    assert str(refused.value) == (
        "precision: expected float32, since model.onnx holds DeformConv, which Triton 26.06 lacks with its ONNX "
        "Runtime 1.24.4, but 'int8' came"
    )


def test_an_artifact_without_its_checkpoint_says_what_to_do(published: Published, tmp_path: Path) -> None:
    artifact = replace(published.artifact, files=published.artifact.files[:1])
    with pytest.raises(
        ArtifactError, match=r"no checkpoint, .* Triton 26\.06 can run; name a release that has DeformConv"
    ):
        write_graph(source_of(published, TritonOptions("26.06"), artifact), tmp_path / "model.onnx", silent)


def test_rows_of_no_known_suppression_are_told(published: Published, tmp_path: Path) -> None:
    artifact = replace(published.artifact, max_detections=7)
    with pytest.raises(
        ArtifactError, match="tiny version 1 has 7 rows, expected 100 or 200; export the checkpoint again"
    ):
        write_graph(source_of(published, TritonOptions("26.06"), artifact), tmp_path / "model.onnx", silent)


def test_a_graph_without_a_threshold_refuses_one(published: Published, tmp_path: Path) -> None:
    graph = onnx.load(published.folder / "model.onnx")
    del graph.graph.input[1]  # the initializer stays and is a constant
    onnx.save(graph, tmp_path / "fixed.onnx")
    entry = ModelFile("fixed.onnx", "onnx", "float32", "")
    source = replace(source_of(published, TritonOptions("26.08", score_threshold=0.5)), folder=tmp_path, entry=entry)
    with pytest.raises(ConfigurationError) as refused:
        write_graph(source, tmp_path / "model.onnx", silent)
    assert str(refused.value) == "score_threshold: expected 0, since fixed.onnx leaves no row out, but 0.5 came"
