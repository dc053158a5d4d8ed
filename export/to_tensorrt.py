"""A graph as a plan for one kind of GPU: by TensorRT 11 and 10 or TensorRT-RTX, through their common interface.

The network is strongly typed: precision is the graph's, the builder changes none. No plugin of ours is in a plan, and
nothing stands in its file but what the builder made.
"""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from scene.disk import whole_file
from scene.errors import ArtifactError, ConfigurationError, DataError, require
from serve.engines.gpu import Gpu, find_gpu
from serve.engines.tensorrt_library import Product, library_log, load_library, machine_platform, numpy_dtype, one_line

if TYPE_CHECKING:
    from export.lowering import Lowering  # needs torch

LOG = logging.getLogger(__name__)

_IMAGE = "image"
_MIB = 1 << 20
_CUDA_FAILED = "cudaError"


@dataclass(frozen=True)
class PlanRequest:
    """What a plan is to be built for.

    ``product`` runs it. It takes batches from ``smallest_batch`` to ``largest_batch`` and is fastest at ``best_batch``;
    while it is built, an operator may use ``workspace_mib`` MiB of the GPU's memory. ``compute_capability``, such as
    8.9, names a GPU that need not be here, which TensorRT-RTX alone can build for; None is this machine's.
    ``timing_cache`` keeps the times of kernels that full TensorRT measured from one build to the next.
    """

    product: Product = "tensorrt-rtx"
    smallest_batch: int = 1
    best_batch: int = 1
    largest_batch: int = 8
    workspace_mib: int = 2048
    compute_capability: str | None = None
    timing_cache: Path | None = None


class TensorDescription(NamedTuple):
    """A parsed network's input or output: its dtype by numpy's name and its shape, in which -1 is open."""

    name: str
    dtype: str
    shape: tuple[int, ...]


class NetworkDescription(NamedTuple):
    """What a parser made of a graph: its inputs, its outputs, and how many layers it has of each type."""

    inputs: tuple[TensorDescription, ...]
    outputs: tuple[TensorDescription, ...]
    layers: dict[str, int]


class _Parsed(NamedTuple):
    """A network with what it lives on: the parser holds its weights."""

    builder: Any
    network: Any
    parser: Any


def lowering_for(product: Product) -> "Lowering":
    """The operator that deformable convolutions must have in a graph for the product, as its parser says.

    Raises ``ConfigurationError`` where the product is not installed.
    """
    parser = _open_parser(product).parser
    return "DeformConv" if parser.supports_operator("DeformConv") else "GridSample"


def describe_network(graph: Path, product: Product) -> NetworkDescription:
    """Parse a graph, and say what came of it. Raises what ``build_plan`` raises for a graph."""
    network = _parse(graph, product).network
    inputs = [network.get_input(index) for index in range(network.num_inputs)]
    outputs = [network.get_output(index) for index in range(network.num_outputs)]
    kinds = Counter(network.get_layer(index).type.name for index in range(network.num_layers))
    return NetworkDescription(_described(inputs), _described(outputs), dict(kinds))


def build_plan(graph: Path, plan: Path, request: PlanRequest) -> dict[str, str]:
    """Build a graph, whose one input is ``image`` uint8 [B, H, W, 3], into the file ``plan``: whole, or not at all.

    Returns what the plan was built for, as the artifact says it: product, version, platform, compute_capability, gpu
    where it was this machine's, smallest_batch, best_batch, largest_batch. Raises ``ConfigurationError`` for a request
    that cannot be met here, ``DataError`` for a graph that is missing and for a full disk, ``ArtifactError`` for a
    graph that the product does not take.
    """
    gpu = _check(request)
    parsed = _parse(graph, request.product)
    config = _configured(parsed, graph, request)
    log = library_log(request.product)
    log.clear()
    built = parsed.builder.build_serialized_network(parsed.network, config)
    if built is None:
        raise ArtifactError(_unbuilt(graph, request, log.reason()))
    with whole_file(plan) as stream:
        stream.write(memoryview(built))
    _keep_times(config, request)
    return _built_for(request, gpu)


def _check(request: PlanRequest) -> Gpu | None:
    """The GPU of this machine, if the plan is for it."""
    library = load_library(request.product)
    sizes = (request.smallest_batch, request.best_batch, request.largest_batch)
    require(
        "batch", 1 <= sizes[0] <= sizes[1] <= sizes[2], "1 <= smallest <= best <= largest", " to ".join(map(str, sizes))
    )
    require("workspace", request.workspace_mib >= 1, "at least one MiB", request.workspace_mib)
    if request.compute_capability is None:
        return find_gpu()
    if request.product == "tensorrt":
        raise ConfigurationError(
            "compute_capability",
            "expected none, since TensorRT builds on the GPU that will run the plan, but "
            f"{request.compute_capability} came; tensorrt-rtx builds for others",
        )
    known = _capabilities(library)
    require(
        "compute_capability",
        request.compute_capability in known,
        f"one of {', '.join(known)}",
        request.compute_capability,
    )
    return None


def _capabilities(library: Any) -> dict[str, Any]:
    """The product's compute capabilities by their common names: SM86 is 8.6."""
    members = library.ComputeCapability.__members__
    return {f"{name[2:-1]}.{name[-1]}": value for name, value in members.items() if name.startswith("SM")}


def _open_parser(product: Product) -> _Parsed:
    """An empty network and its parser."""
    library, log = load_library(product), library_log(product)
    log.clear()
    builder = library.Builder(log)
    network = builder.create_network(_strong_types(library))
    return _Parsed(builder, network, library.OnnxParser(network, log))


def _strong_types(library: Any) -> int:
    """TensorRT 10 asks for the flag; to 11 types are always strong, and the flag may be gone."""
    flag = getattr(getattr(library, "NetworkDefinitionCreationFlag", None), "STRONGLY_TYPED", None)
    return 0 if flag is None else 1 << int(flag)


def _parse(graph: Path, product: Product) -> _Parsed:
    if not graph.is_file():
        raise DataError(f"expected an ONNX graph at {graph}, found none; export the checkpoint again")
    parsed = _open_parser(product)
    if not parsed.parser.parse_from_file(str(graph)):
        raise ArtifactError(_unparsed(graph, product, parsed.parser))
    names = [parsed.network.get_input(index).name for index in range(parsed.network.num_inputs)]
    if names != [_IMAGE]:
        raise ArtifactError(
            f"{graph} should have one input, {_IMAGE}, but has {', '.join(names) or 'none'}; write it with fixed rows"
        )
    return parsed


def _unparsed(graph: Path, product: Product, parser: Any) -> str:
    error = parser.get_error(0)
    operator = error.node_operator()
    if not operator:
        return f"{graph} is no graph that {product} can read: {one_line(error.desc())}; export the checkpoint again"
    if operator == "DeformConv":
        return f"{graph}: {product} has no operator DeformConv; write the graph with the lowering GridSample"
    return (
        f"{graph}: {product} does not take the operator {operator} of the node {error.node_name()}: "
        f"{one_line(error.desc())}; use another version of it, or leave its plan out"
    )


def _unbuilt(graph: Path, request: PlanRequest, said: str) -> str:
    start = f"{request.product} cannot build {graph} for {request.compute_capability or 'this GPU'}: {said}"
    if _CUDA_FAILED in said and request.product == "tensorrt-rtx":
        return f"{start}; name a compute capability, which needs no GPU here"
    return f"{start}; try a smaller --plan-batch, a larger --plan-workspace or another version of {request.product}"


def _configured(parsed: _Parsed, graph: Path, request: PlanRequest) -> Any:
    """The builder's configuration. float32 stays float32: convolutions would else round what they read to ten bits."""
    library = load_library(request.product)
    config = parsed.builder.create_builder_config()
    config.clear_flag(library.BuilderFlag.TF32)
    config.set_memory_pool_limit(library.MemoryPoolType.WORKSPACE, request.workspace_mib * _MIB)
    profile = parsed.builder.create_optimization_profile()
    batches = (request.smallest_batch, request.best_batch, request.largest_batch)
    batch, *frame = parsed.network.get_input(0).shape
    if batch >= 0:
        raise ArtifactError(
            f"{graph} takes batches of {batch} alone, where an open batch was expected; export it again"
        )
    profile.set_shape(_IMAGE, *((size, *frame) for size in batches))
    config.add_optimization_profile(profile)
    if request.product == "tensorrt-rtx":
        wanted = request.compute_capability
        config.set_flag(library.BuilderFlag.REQUIRE_USER_ALLOCATION)  # a CUDA graph cannot hold an allocation
        config.num_compute_capabilities = 1
        config.set_compute_capability(
            library.ComputeCapability.CURRENT if wanted is None else _capabilities(library)[wanted], 0
        )
    elif request.timing_cache is not None:  # to TensorRT-RTX, which times nothing, a cache means nothing
        known = request.timing_cache.read_bytes() if request.timing_cache.is_file() else b""
        if not config.set_timing_cache(config.create_timing_cache(known), False):  # of another version or GPU
            config.set_timing_cache(config.create_timing_cache(b""), False)
    return config


def _keep_times(config: Any, request: PlanRequest) -> None:
    """A folder that cannot be written costs time at the next build, no more."""
    if request.product == "tensorrt" and request.timing_cache is not None:
        try:
            with whole_file(request.timing_cache) as stream:
                stream.write(memoryview(config.get_timing_cache().serialize()))
        except (DataError, OSError) as error:
            LOG.warning("kernels' times are not kept for the next build: %s", error)


def _built_for(request: PlanRequest, gpu: Gpu | None) -> dict[str, str]:
    """What ``serve.engines.tensorrt_engine`` holds against the machine that is to run the plan."""
    return {
        "product": request.product,
        "version": str(load_library(request.product).__version__),
        "platform": machine_platform(),
        "compute_capability": gpu.compute_capability if gpu else str(request.compute_capability),
        **({"gpu": gpu.name} if gpu else {}),
        "smallest_batch": str(request.smallest_batch),
        "best_batch": str(request.best_batch),
        "largest_batch": str(request.largest_batch),
    }


def _described(tensors: Sequence[Any]) -> tuple[TensorDescription, ...]:
    return tuple(TensorDescription(each.name, numpy_dtype(each.dtype), tuple(each.shape)) for each in tensors)
