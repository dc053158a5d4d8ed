"""Which node of a graph belongs to which stage."""

from onnx import TensorProto, helper

from bench.graph_split import graph_split, stages_of
from scene.image import decode_image
from tests.export.conftest import Published


def test_nodes_before_the_top_k_are_network_and_those_for_masks_alone_are_masks() -> None:
    nodes = [
        helper.make_node("Relu", ["image"], ["features"], "backbone"),
        helper.make_node("Neg", ["features"], ["prototypes"], "protonet"),
        helper.make_node("TopK", ["features", "k"], ["scores", "places"], "rank"),
        helper.make_node("Abs", ["scores"], ["boxes"], "suppress"),
        helper.make_node("Mul", ["prototypes", "boxes"], ["masks"], "assemble"),
    ]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("scores", "boxes", "masks")]
    graph = helper.make_graph(nodes, "g", [], outputs)
    assert stages_of(graph) == {
        "backbone": "network",
        "protonet": "network",
        "rank": "nms",
        "suppress": "nms",
        "assemble": "masks",
    }


def test_an_exported_graph_is_divided_into_shares_of_one(published: Published) -> None:
    picture = decode_image((published.folder / published.artifact.golden.path).read_bytes())
    shares = graph_split(published.folder / "model.onnx", [picture[None]], 1)
    assert set(shares) == {"network", "nms", "masks"}
    assert min(shares.values()) > 0
    assert abs(sum(shares.values()) - 1) < 0.001
