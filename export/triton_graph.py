"""The graph that a release of Triton can run: the artifact's own, or the network written anew and held against it."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx

from export.agreement import compare_detections, summarise
from export.graph import deployable
from export.to_onnx import write_onnx
from export.triton_config import TritonOptions
from export.triton_release import TritonRelease
from export.verify import detect_settings
from scene.artifact import SCORE_THRESHOLD, Artifact, ModelFile
from scene.errors import ArtifactError, require
from scene.image import network_input
from serve.engines.onnx_engine import OnnxEngine
from serve.model import detections
from training.checkpoint import load_network
from training.data.synthetic import SceneSettings, scene

VERIFY_SCENES = 8
_VERIFY_SEED = 910_000
_THREADS = 2
_DEFORM_CONV = "DeformConv"


@dataclass(frozen=True)
class Source:
    """What is to be served: a file of an artifact in its folder, by a release of Triton, under options."""

    folder: Path
    artifact: Artifact
    entry: ModelFile
    options: TritonOptions
    release: TritonRelease

    @property
    def path(self) -> Path:
        """Of the file."""
        return self.folder / self.entry.path


def write_graph(source: Source, path: Path, say: Callable[[str], None]) -> str:
    """Write the graph and return the operator of its deformable convolutions, empty if it has none.

    The file is copied if the release can run it as it is. Raises ``ConfigurationError`` where nothing can run under the
    options, ``ArtifactError`` where the new graph answers otherwise than the artifact's.
    """
    graph = onnx.load(source.path, load_external_data=False)
    deformable = any(node.op_type == _DEFORM_CONV for node in graph.graph.node)
    if SCORE_THRESHOLD not in {each.name for each in graph.graph.input}:
        refuse_threshold(source)
    again = deformable and source.release.lowering != _DEFORM_CONV
    if not again and source.options.score_threshold == 0:
        shutil.copyfile(source.path, path)
        return _DEFORM_CONV if deformable else source.entry.lowering
    if again:
        release = source.release
        say(f"Triton {release.version} has ONNX Runtime {release.onnxruntime}, without {_DEFORM_CONV}: exporting anew")
        _export_anew(source, path)
        graph = onnx.load(path)
    _set_threshold(graph, source.options.score_threshold)
    onnx.save(graph, path)
    say(f"comparing with {source.entry.path} on {VERIFY_SCENES} scenes")
    _hold_against(source, path)
    return source.release.lowering if deformable else source.entry.lowering


def refuse_threshold(source: Source) -> None:
    """``ConfigurationError`` for a score threshold with a file that has none."""
    threshold = source.options.score_threshold
    require(SCORE_THRESHOLD, threshold == 0, f"0, since {source.entry.path} leaves no row out", threshold)


def _export_anew(source: Source, path: Path) -> None:
    """The float32 graph of the artifact's checkpoint, in the release's lowering."""
    release, entry = source.release, source.entry
    require(
        "precision",
        entry.precision == "float32",
        f"float32, since {entry.path} holds {_DEFORM_CONV}, which Triton {release.version} lacks with its ONNX Runtime "
        f"{release.onnxruntime}",
        entry.precision,
    )
    weights = next((each for each in source.artifact.files if each.engine == "torch"), None)
    if weights is None:
        raise ArtifactError(
            f"{source.folder} has no checkpoint, from which to export what Triton {release.version} can run; name a "
            f"release that has {_DEFORM_CONV}, or export the model again"
        )
    network = load_network(source.folder / weights.path)
    write_onnx(deployable(network, detect_settings(source.artifact), lowering=release.lowering), path)


def _set_threshold(graph: onnx.ModelProto, score_threshold: float) -> None:
    """Turn the input into a constant: Triton cannot pass it on, and ONNX Runtime folds what it knows."""
    inputs = [each for each in graph.graph.input if each.name != SCORE_THRESHOLD]
    del graph.graph.input[:]
    graph.graph.input.extend(inputs)
    default = next(each for each in graph.graph.initializer if each.name == SCORE_THRESHOLD)
    default.CopyFrom(onnx.numpy_helper.from_array(np.array(score_threshold, np.float32), SCORE_THRESHOLD))


def _hold_against(source: Source, path: Path) -> None:
    """Raise ``ArtifactError`` unless ONNX Runtime answers with the new graph as with the artifact's, on generated
    scenes."""
    tensors, threshold = source.artifact.tensors, source.options.score_threshold
    reference, written = OnnxEngine(source.path, tensors, _THREADS), OnnxEngine(path, tensors, _THREADS)
    settings = detect_settings(source.artifact)
    settings = replace(settings, score_threshold=max(settings.score_threshold, threshold))
    parts = []
    for index in range(VERIFY_SCENES):
        picture = scene(_VERIFY_SEED + index, SceneSettings(height=512, width=1024)).image
        frame = network_input(picture, source.artifact.size_hw)[None]
        ours, theirs = detections(reference.run(frame, threshold)), detections(written.run(frame))
        parts.append(compare_detections(ours, theirs, settings))
    try:
        summarise(parts).require()
    except ArtifactError as error:
        raise ArtifactError(f"with {source.path} in the place of torch: {error}") from error
