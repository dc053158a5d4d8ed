"""Which node of a graph that OpenVINO runs belongs to which stage."""

import pytest

from bench.openvino_split import RunNode, openvino_split, run_stages
from scene.image import decode_image
from tests.export.conftest import Published


def test_no_node_has_no_stage() -> None:
    assert run_stages([]) == []


def test_stages_follow_the_edges_of_the_graph_as_it_runs() -> None:
    nodes = [
        RunNode("backbone", "Convolution", ("image",), 9.0),
        RunNode("protonet", "Convolution", ("backbone",), 9.0),
        RunNode("rank", "TopK", ("backbone",), 9.0),
        RunNode("scores", "Pad", ("rank",), 9.0),
        RunNode("assemble", "Eltwise", ("protonet", "rank"), 9.0),
        RunNode("masks", "Pad", ("assemble",), 9.0),
    ]
    assert run_stages(nodes) == ["network", "network", "nms", "nms", "masks", "masks"]


def test_an_exported_graph_is_divided_into_shares_of_one(published: Published) -> None:
    pytest.importorskip("openvino", reason="needs the package openvino")
    picture = decode_image((published.folder / published.artifact.golden.path).read_bytes())
    shares = openvino_split(published.folder / "model.onnx", [picture[None]], 1, "float32")
    assert set(shares) == {"network", "nms", "masks"}
    assert min(shares.values()) > 0
    assert abs(sum(shares.values()) - 1) < 0.001
