"""What is in a fused graph's milliseconds on OpenVINO: its own profile, gathered into the stages of ``graph_split``.

It is read from the graph as it really runs, nodes merged, whose edges OpenVINO tells as well as its nodes' times.
"""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.graph_split import RANKING, ROUNDS, shares
from scene.artifact import Precision, read_artifact
from serve.engines.openvino_engine import OpenVinoEngine, _core

_DETECTION = ("Softmax", "SoftMax", "TopK")
"""``Exp`` is not among them: a merged node has another type, and it stands behind the top-k."""


class RunNode(NamedTuple):
    """A node of a graph as it runs: type, names of the nodes that it waits for, microseconds, and whether it is one of
    the outputs."""

    name: str
    kind: str
    inputs: tuple[str, ...]
    micros: float


class ProfiledEngine(OpenVinoEngine):
    """The engine that is timed, keeping count of every node's time."""

    def __init__(self, path: Path, threads: int, precision: Precision) -> None:
        _core().set_property("CPU", {"PERF_COUNT": True})
        super().__init__(path, read_artifact(path.parent).tensors, threads, precision)

    def nodes(self, batch: int) -> list[RunNode]:
        """Of the graph that runs batches of that size, in an order in which they can run."""
        model = self._request(batch).get_compiled_model().get_runtime_model()
        return [_run_node(node) for node in model.get_ordered_ops()]


def openvino_split(
    path: Path,
    batches: Sequence[NDArray[np.uint8]],
    threads: int,
    precision: Precision,
    score_threshold: float = 0.0,
) -> dict[str, float]:
    """The shares of ``network``, ``nms`` and ``masks`` in a run, adding up to 1, as ``graph_split`` tells them of ONNX
    Runtime; ``path`` is a model folder's ONNX file, ``batches`` uint8 [B, H, W, 3]."""
    engine = ProfiledEngine(path, threads, precision)
    for number in range(ROUNDS):
        engine.run(batches[number % len(batches)], score_threshold)
    nodes = engine.nodes(len(batches[0]))
    spent_us: dict[str, float] = defaultdict(float)
    for node, stage in zip(nodes, run_stages(nodes), strict=True):
        spent_us[stage] += node.micros
    return shares(spent_us)


def run_stages(nodes: list[RunNode]) -> list[str]:
    """The stage of each node: until the first softmax or top-k all is network, then what boxes or scores wait for is
    NMS, and the rest makes masks."""
    late: set[str] = set()
    for node in nodes:
        if node.kind in _DETECTION or late.intersection(node.inputs):
            late.add(node.name)
    ranking = set(RANKING)
    for node in reversed(nodes):
        if node.name in ranking:
            ranking.update(node.inputs)
    return ["network" if node.name not in late else "nms" if node.name in ranking else "masks" for node in nodes]


def _run_node(node: Any) -> RunNode:
    told = {key: node.get_rt_info()[key] for key in ("layerType", "execTimeMcs")}
    kind, micros = (str(getattr(value, "value", value)) for value in told.values())
    inputs = tuple(source.get_node().get_friendly_name() for source in node.input_values())
    return RunNode(node.get_friendly_name(), kind, inputs, float(micros) if micros.isdecimal() else 0.0)
