"""What is in a fused graph's milliseconds: ONNX Runtime's own profile, node by node, gathered into three stages."""

import json
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

ROUNDS = 12
_WARM = 2
_ERRORS_ONLY = 3
_DETECTION = ("Softmax", "Exp", "TopK")
RANKING = ("num", "boxes", "scores", "classes")


def graph_split(
    path: Path, batches: Sequence[NDArray[np.uint8]], threads: int, score_threshold: float = 0.0
) -> dict[str, float]:
    """The shares of ``network``, ``nms`` and ``masks`` in a run, adding up to 1; ``batches`` uint8 [B, H, W, 3], shown
    in turn.

    Until the first softmax, exponential (of decoding boxes) or top-k all is network; what follows and the boxes or
    scores depend on is NMS; the rest makes masks.
    A profiled run is slower than one that is not, so shares are all that is taken from it.
    """
    spent_us: dict[str, float] = defaultdict(float)
    with tempfile.TemporaryDirectory() as folder:
        runs, optimised = _profile(path, batches, threads, score_threshold, Path(folder))
    stage_of = stages_of(optimised)
    for name, micros in runs:
        spent_us[stage_of.get(name, "network")] += micros
    return shares(spent_us)


def shares(spent_us: Mapping[str, float]) -> dict[str, float]:
    """Of each stage in all; empty where no time was told."""
    whole = sum(spent_us.values())
    return {stage: round(spent_us.get(stage, 0.0) / whole, 4) for stage in ("network", "nms", "masks")} if whole else {}


def stages_of(graph: onnx.GraphProto) -> dict[str, str]:
    """The stage of each node by name."""
    late = _descendants(graph)
    ranking = _ancestors(graph, RANKING)
    return {
        node.name: "network" if node.name not in late else "nms" if node.name in ranking else "masks"
        for node in graph.node
    }


def _descendants(graph: onnx.GraphProto) -> set[str]:
    """Where detection begins, and every node that waits for it; nodes are stored in an order in which they can run."""
    tensors: set[str] = set()
    found: set[str] = set()
    for node in graph.node:
        if node.op_type in _DETECTION or tensors.intersection(node.input):
            found.add(node.name)
            tensors.update(node.output)
    return found


def _ancestors(graph: onnx.GraphProto, outputs: tuple[str, ...]) -> set[str]:
    """Every node that one of the outputs waits for."""
    tensors = set(outputs)
    found: set[str] = set()
    for node in reversed(graph.node):
        if tensors.intersection(node.output):
            found.add(node.name)
            tensors.update(node.input)
    return found


def _profile(
    path: Path, batches: Sequence[NDArray[np.uint8]], threads: int, score_threshold: float, folder: Path
) -> tuple[list[tuple[str, float]], onnx.GraphProto]:
    """(node, microseconds) of every node's every run after the first ones, and the graph as it really ran: optimised,
    with nodes merged and renamed."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = _ERRORS_ONLY
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # as the engine that is timed
    options.enable_profiling = True
    options.profile_file_prefix = str(folder / "profile")
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    optional = {node.name: np.array(score_threshold, np.float32) for node in session.get_overridable_initializers()}
    for number in range(ROUNDS):
        session.run(None, {"image": batches[number % len(batches)], **optional})
    events = json.loads(Path(session.end_profiling()).read_text())
    runs = [
        (str(event["name"]).removesuffix("_kernel_time"), float(event["dur"]))
        for event in events
        if event.get("cat") == "Node" and str(event["name"]).endswith("_kernel_time")
    ]
    return runs[len(runs) * _WARM // ROUNDS :], onnx.load(folder / "optimised.onnx").graph
