"""Plans. TensorRT-RTX builds them with no GPU, so they are really built and looked into; what a plan answers, and what
full TensorRT builds, only a GPU can show."""

import errno
import re
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any, get_args

import numpy as np
import onnx
import pytest
import torch

import export.to_tensorrt
from export.graph import deployable
from export.lowering import Lowering
from export.to_onnx import write_onnx
from export.to_tensorrt import PlanRequest, build_plan, describe_network, lowering_for
from model.config import PRESETS
from model.yolact import Yolact
from scene.artifact import OUTPUTS, TensorSpec, tensor_specs
from scene.disk import whole_file
from scene.errors import ArtifactError, ConfigurationError, DataError
from serve.engines.gpu import Gpu
from serve.engines.tensorrt_engine import TensorRtEngine, why_no_tensorrt
from serve.engines.tensorrt_library import Product, library_log, machine_platform
from tests.export.conftest import Published
from tests.model.tiny_network import TINY, seeded_network
from training.checkpoint import load_network

rtx = pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx is not installed, and it alone builds without a GPU")

FOR_86 = PlanRequest(compute_capability="8.6", largest_batch=4)
RELU = onnx.helper.make_node("Relu", ["image"], ["num"])
DESCRIBED = (b"tensor={", b"corrltn={", b"runtime_fusion={")
NANO = Path(__file__).parents[2] / "models" / "street-nano" / "1"


def write_half(network: Yolact, path: Path, lowering: Lowering = "GridSample") -> Path:
    return write_onnx(deployable(network, dtype=torch.float16, lowering=lowering), path, fixed_rows=True)


def contract_of(network: Yolact) -> dict[str, TensorSpec]:
    segmenter = deployable(network)
    return tensor_specs(network.config.size_hw, segmenter.settings.rows, segmenter.mask_size_hw)


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny network in half precision, its deformable convolutions as the parser takes them."""
    return write_half(seeded_network(), tmp_path_factory.mktemp("half") / "model.float16.onnx")


def convolutions_in(plan: bytes) -> Counter[str]:
    """How many convolutions of a TensorRT-RTX plan write maps of which type, by its own description of itself, and how
    many became a matrix product that does its ReLU as well."""
    lines = [line.decode("latin-1") for line in plan.split(b"\n") if line.lstrip().startswith(DESCRIBED)]
    tensors = [found for line in lines if (found := re.search(r'name="([^"]+)".* type=(\w+) }', line))]
    types = {found[1]: found[2] for found in tensors}
    maps = [found[1] for line in lines if (found := re.search(r'corrltn={ .* output={"([^"]+)"', line))]
    products = sum("__gemm_from_conv1x1" in line for line in lines)
    return Counter(types[name.removesuffix("^deref")] for name in maps) + Counter({"product": products})


def assert_holds(plan: Path, graph: Path, network: Yolact) -> None:
    """The plan has the contract's tensors, and the parsed network every convolution and sampling of the graph."""
    contract = contract_of(network)
    found = describe_network(graph, "tensorrt-rtx")
    for tensors, names in ((found.inputs, ("image",)), (found.outputs, OUTPUTS)):
        assert sorted(each.name for each in tensors) == sorted(names)
        for each in tensors:
            assert each.dtype == contract[each.name].dtype
            assert list(each.shape) == [-1 if isinstance(side, str) else side for side in contract[each.name].shape]
    operators = Counter(node.op_type for node in onnx.load(graph, load_external_data=False).graph.node)
    assert found.layers["GRID_SAMPLE"] == operators["GridSample"] > 0
    assert found.layers["CONVOLUTION"] == operators["Conv"]
    assert not [kind for kind in found.layers if "PLUGIN" in kind]
    data = plan.read_bytes()
    assert data.startswith(b"vtrt"), "the plan is stored as it was built, with nothing before it"
    assert all(name.encode() in data for name in ("image", *OUTPUTS))
    assert convolutions_in(data).total() == operators["Conv"]


@pytest.mark.parametrize("capability", ["8.6", "8.9"])
def test_a_float16_plan_for_a_gpu_that_is_not_here(graph: Path, tmp_path: Path, capability: str) -> None:
    plan = tmp_path / "plans" / "model.plan"
    built_for = build_plan(graph, plan, replace(FOR_86, compute_capability=capability, best_batch=2))
    assert built_for == {
        "product": "tensorrt-rtx",
        "version": rtx.__version__,
        "platform": machine_platform(),
        "compute_capability": capability,
        "smallest_batch": "1",
        "best_batch": "2",
        "largest_batch": "4",
    }
    assert [each.name for each in plan.parent.iterdir()] == ["model.plan"]
    assert_holds(plan, graph, seeded_network())
    kinds = convolutions_in(plan.read_bytes())
    assert kinds["half"] > 10 * kinds["float"] > 0, "all but the rescoring of masks are half precision"


@pytest.mark.slow
@pytest.mark.parametrize("capability", ["8.6", "8.9"])
@pytest.mark.parametrize("preset", ["street-nano", "yolact-plus-resnet50"])
def test_float16_plans_of_whole_networks(preset: str, capability: str, tmp_path: Path) -> None:
    network = load_network(NANO / "checkpoint.pt") if preset == "street-nano" else seeded_network(PRESETS[preset])
    graph = write_half(network, tmp_path / "model.float16.onnx")
    plan = tmp_path / "model.plan"
    built_for = build_plan(graph, plan, replace(FOR_86, compute_capability=capability))
    assert built_for["compute_capability"] == capability
    assert_holds(plan, graph, network)
    kinds = convolutions_in(plan.read_bytes())
    assert kinds["half"] > 10 * kinds["float"] > 0


def test_the_parser_says_which_lowering_it_takes() -> None:
    assert lowering_for("tensorrt-rtx") == "GridSample"


def test_a_missing_product_is_named_with_what_installs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'streetmask\[tensorrt\]'"):
        build_plan(save_graph(tmp_path, [RELU]), tmp_path / "model.plan", PlanRequest("tensorrt"))


@pytest.mark.parametrize(
    ("request_", "sentence"),
    [
        (replace(FOR_86, smallest_batch=0), "batch: expected 1 <= smallest <= best <= largest, but '0 to 1 to 4' came"),
        (replace(FOR_86, smallest_batch=4, largest_batch=1), "but '4 to 1 to 1' came"),
        (replace(FOR_86, best_batch=8), "but '1 to 8 to 4' came"),
        (replace(FOR_86, workspace_mib=0), "workspace: expected at least one MiB, but 0 came"),
        (replace(FOR_86, compute_capability="9.0"), "expected one of 7.5, 8.0, 8.6, 8.9, .*, but '9.0' came"),
        (replace(FOR_86, compute_capability="sm86"), "compute_capability: expected one of .*, but 'sm86' came"),
    ],
)
def test_requests_that_make_no_sense(tmp_path: Path, request_: PlanRequest, sentence: str) -> None:
    with pytest.raises(ConfigurationError, match=sentence):
        build_plan(save_graph(tmp_path, [RELU]), tmp_path / "model.plan", request_)
    assert not (tmp_path / "model.plan").exists()


def test_a_graph_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"expected an ONNX graph at .*none.onnx, found none; export the checkpoint again"
    ):
        build_plan(tmp_path / "none.onnx", tmp_path / "model.plan", FOR_86)


@pytest.mark.parametrize("content", [b"", b"no graph"])
def test_a_file_that_is_no_graph(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"model.onnx (is no graph that|should have one input)"):
        build_plan(path, tmp_path / "model.plan", FOR_86)


def test_a_graph_for_a_cpu_is_refused_with_the_lowering_to_use(published: Published, tmp_path: Path) -> None:
    path = published.folder / "model.onnx"
    with pytest.raises(ArtifactError, match=r"tensorrt-rtx has no operator DeformConv; write .* lowering GridSample"):
        build_plan(path, tmp_path / "model.plan", FOR_86)
    assert not list(tmp_path.iterdir())


def test_an_operator_that_the_parser_does_not_know_is_named(tmp_path: Path) -> None:
    path = save_graph(tmp_path, [onnx.helper.make_node("Unknown", ["image"], ["num"], name="odd", domain="ours")])
    with pytest.raises(ArtifactError, match=r"does not take the operator Unknown of the node odd: .*; use another"):
        build_plan(path, tmp_path / "model.plan", FOR_86)


def test_a_graph_with_another_input_is_refused(tmp_path: Path) -> None:
    path = save_graph(tmp_path, [onnx.helper.make_node("Relu", ["pixels"], ["num"])], image="pixels")
    with pytest.raises(ArtifactError, match="should have one input, image, but has pixels; write it with fixed rows"):
        describe_network(path, "tensorrt-rtx")


def test_a_graph_of_one_batch_size_is_refused(tmp_path: Path) -> None:
    path = save_graph(tmp_path, [RELU], batch=2)
    with pytest.raises(
        ArtifactError, match="takes batches of 2 alone, where an open batch was expected; export it again"
    ):
        build_plan(path, tmp_path / "model.plan", FOR_86)


def test_what_parses_but_cannot_be_built_is_told_with_the_builder_s_words(tmp_path: Path) -> None:
    eight_bits = onnx.numpy_helper.from_array(np.array(3, np.int8))
    nodes = [
        onnx.helper.make_node("Constant", [], ["eight"], value=eight_bits),
        onnx.helper.make_node("Cast", ["eight"], ["wide"], to=onnx.TensorProto.FLOAT),
        onnx.helper.make_node("Add", ["image", "wide"], ["num"]),
    ]
    with pytest.raises(
        ArtifactError, match=r"cannot build .* for 8.6: .*Quantized constant .*; try a smaller --plan-batch"
    ):
        build_plan(save_graph(tmp_path, nodes), tmp_path / "model.plan", FOR_86)
    assert not (tmp_path / "model.plan").exists()


def test_without_a_gpu_one_must_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not why_no_tensorrt("tensorrt-rtx"):
        pytest.skip("this machine has a GPU")
    graph = save_graph(tmp_path, [RELU])
    with pytest.raises(ConfigurationError, match="NVIDIA GPU"):
        build_plan(graph, tmp_path / "model.plan", PlanRequest())
    monkeypatch.setattr(export.to_tensorrt, "find_gpu", lambda: Gpu("none such", "8.6"))
    with pytest.raises(ArtifactError, match=r"for this GPU: .*; name a compute capability, which needs no GPU here"):
        build_plan(graph, tmp_path / "model.plan", PlanRequest())


def test_types_are_strong_whether_or_not_the_library_has_a_flag_for_it() -> None:
    assert export.to_tensorrt._strong_types(SimpleNamespace()) == 0
    assert export.to_tensorrt._strong_types(SimpleNamespace(NetworkDefinitionCreationFlag=SimpleNamespace())) == 0
    flags = SimpleNamespace(STRONGLY_TYPED=1)
    assert export.to_tensorrt._strong_types(SimpleNamespace(NetworkDefinitionCreationFlag=flags)) == 2


@pytest.mark.filterwarnings("ignore:Use Deprecated in TensorRT-RTX:DeprecationWarning")
def test_full_tensorrt_builds_for_the_gpu_that_is_here_and_keeps_its_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """TensorRT-RTX stands in for it: their interface is the same, times included, which it does not take."""
    monkeypatch.setitem(sys.modules, "tensorrt", rtx)
    monkeypatch.setattr(export.to_tensorrt, "find_gpu", lambda: Gpu("Big GPU", "9.0"))
    library_log.cache_clear()
    times, graph, plan = tmp_path / "times", save_graph(tmp_path, [RELU]), tmp_path / "model.plan"
    for _ in range(2):  # the second time it reads the first one's
        built_for = build_plan(graph, plan, PlanRequest("tensorrt", timing_cache=times))
        assert times.is_file()
    build_plan(graph, plan, PlanRequest("tensorrt", timing_cache=times / "below a file"))
    assert "kernels' times are not kept for the next build" in caplog.text
    assert plan.stat().st_size > 0
    assert (built_for["product"], built_for["gpu"], built_for["compute_capability"]) == ("tensorrt", "Big GPU", "9.0")
    with pytest.raises(ConfigurationError, match=r"expected none, since TensorRT builds on the GPU .* but 8.6 came"):
        build_plan(graph, plan, PlanRequest("tensorrt", compute_capability="8.6"))
    library_log.cache_clear()


def test_a_full_disk_leaves_the_old_plan_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    graph, plan = save_graph(tmp_path, [RELU]), tmp_path / "plans" / "model.plan"
    plan.parent.mkdir()
    plan.write_bytes(b"the old one")

    @contextmanager
    def on_a_full_disk(path: Path) -> Any:
        with whole_file(path) as stream:
            yield FullStream(stream)

    monkeypatch.setattr(export.to_tensorrt, "whole_file", on_a_full_disk)
    with pytest.raises(DataError, match=r"cannot write .*model.plan: No space left on device; .* make room"):
        build_plan(graph, plan, FOR_86)
    assert plan.read_bytes() == b"the old one"
    assert [each.name for each in plan.parent.iterdir()] == ["model.plan"]


class FullStream:
    """Takes a few bytes and then has no room."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def write(self, data: memoryview) -> int:
        self._stream.write(data[:100])
        raise OSError(errno.ENOSPC, "No space left on device")


def save_graph(folder: Path, nodes: Sequence[onnx.NodeProto], image: str = "image", batch: int | str = "B") -> Path:
    """A few nodes from ``image`` to ``num``, which a parser takes in no time."""
    tensors = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [batch, 4, 8, 3]) for name in (image, "num")
    ]
    made = onnx.helper.make_graph(nodes, "few", tensors[:1], tensors[1:])
    opsets = [onnx.helper.make_opsetid("", 21), onnx.helper.make_opsetid("ours", 1)]
    path = folder / "few.onnx"
    onnx.save(onnx.helper.make_model(made, opset_imports=opsets, ir_version=10), path)
    return path


@pytest.mark.gpu
@pytest.mark.parametrize("product", get_args(Product))
def test_a_plan_built_here_answers_as_torch_does(product: Product, tmp_path: Path) -> None:
    """Only a GPU runs a plan, and full TensorRT builds on none but the GPU that will run it."""
    if missing := why_no_tensorrt(product):
        pytest.skip(missing)
    network = seeded_network()
    module = deployable(network, lowering=lowering_for(product))
    graph, plan = tmp_path / "model.onnx", tmp_path / "model.plan"
    write_onnx(module, graph, fixed_rows=True)
    request = PlanRequest(product, largest_batch=3, timing_cache=tmp_path / "times")
    built_for = build_plan(graph, plan, request)
    assert built_for["gpu"]
    assert (tmp_path / "times").exists() == (product == "tensorrt")
    engine = TensorRtEngine(plan, contract_of(network), product, built_for)
    images = np.random.default_rng(0).integers(0, 256, (3, *TINY.size_hw, 3), np.uint8)
    for count in (1, 3, 1):
        ours = engine.run(images[:count])
        with torch.inference_mode():
            theirs = module(torch.from_numpy(images[:count]))
        assert ours.num.tolist() == theirs.num.tolist()
        np.testing.assert_allclose(ours.scores, theirs.scores.numpy(), atol=1e-3)


@pytest.mark.gpu
def test_the_timing_cache_of_full_tensorrt_is_read_again(graph: Path, tmp_path: Path) -> None:
    """Full TensorRT times its kernels, which needs the GPU that they will run on."""
    if missing := why_no_tensorrt("tensorrt"):
        pytest.skip(missing)
    request = PlanRequest("tensorrt", timing_cache=tmp_path / "times")
    build_plan(graph, tmp_path / "first.plan", request)
    known = (tmp_path / "times").stat().st_size
    build_plan(graph, tmp_path / "second.plan", request)
    assert (tmp_path / "times").stat().st_size >= known > 0
