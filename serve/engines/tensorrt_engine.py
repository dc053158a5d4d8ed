"""Plans on the GPU that they were built for, by TensorRT or TensorRT-RTX, which share one Python interface."""

import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from scene.artifact import OUTPUTS, TensorSpec, file_sha256
from scene.disk import whole_file
from scene.errors import ArtifactError, ConfigurationError, DataError, ForeignPlanError
from serve.engines import Outputs
from serve.engines.contract import check_contract
from serve.engines.gpu import Device, PinnedArray, cache_folder, find_gpu, load_runtime, why_no_gpu
from serve.engines.tensorrt_library import Product, library_log, load_library, machine_platform, numpy_dtype

LOG = logging.getLogger(__name__)

_IMAGE = "image"

_INT8_PLAN = ".int8.plan"
"""How the names of plans in eight bits end, as ``export.plans`` gives them."""

_MUST_AGREE = ("product", "version", "platform", "compute_capability")
"""A plan runs on nothing else: not on the next version, not on another kind of GPU."""


def why_no_tensorrt(engine: Product) -> str:
    """Why the engine cannot run on this machine, as a sentence that says what to do; empty if it can."""
    if missing := why_no_gpu(engine):  # asked first: the library takes 100 MB of memory
        return missing
    try:
        load_library(engine)
    except ConfigurationError as error:
        return str(error).removeprefix(f"{error.field}: ")
    return ""


def check_built_for(path: Path, built_for: Mapping[str, str], here: Mapping[str, str]) -> None:
    """Hold what a plan was built for against what is ``here``; ``ArtifactError`` says both and how to build it anew."""
    if any(built_for.get(key) != here[key] for key in _MUST_AGREE):
        raise ForeignPlanError(
            f"{path} was built for {_in_words(built_for)}, but this is {_in_words(here)}; build it anew on this "
            f"machine: {rebuild_command(path, here['product'])}"
        )


def rebuild_command(path: Path, product: str) -> str:
    """The command that makes the next version of the artifact that the plan lies in, with a plan for this machine, in
    as many bits."""
    folder = path.parent
    int8 = ":int8" if path.name.endswith(_INT8_PLAN) else ""
    return f"streetmask export {folder / 'checkpoint.pt'} --out {_next_version(folder)} --plan {product}{int8}"


def _next_version(folder: Path) -> Path:
    """Behind the last of the versions beside the folder: export would write over one that exists."""
    if not folder.name.isdecimal():
        return folder.with_name("VERSION")
    beside = folder.parent.iterdir() if folder.parent.is_dir() else ()
    return folder.with_name(str(1 + max(int(each.name) for each in (folder, *beside) if each.name.isdecimal())))


class _Place(NamedTuple):
    """One tensor's memory on both sides, large enough for the largest batch."""

    host: PinnedArray
    device: int
    spec: TensorSpec

    def array(self, batch: int) -> NDArray[Any]:
        """The host's side as the tensor of a batch, no copy."""
        return self.host.values[: size_bytes(self.spec, batch)].view(self.spec.dtype).reshape(sides(self.spec, batch))


class _Ready(NamedTuple):
    """A batch size's own context, and its work as recorded; None where the library cannot have it recorded."""

    context: Any
    work: Any


class TensorRtEngine:
    """One plan of the contract; raises ``ArtifactError`` for one that was built for another version or GPU.

    Pictures go in and answers come out through memory of the host that the GPU copies by itself. Each batch size is
    made ready when it first comes; from then on its copies and kernels are one CUDA graph. ``batches`` are the sizes
    that the plan takes.
    """

    def __init__(
        self, path: Path, tensors: dict[str, TensorSpec], engine: Product, built_for: Mapping[str, str]
    ) -> None:
        check_built_for(path, built_for, _here(engine))
        self._path = path
        self._plan = _deserialised(path, engine)
        check_contract(_described(self._plan), tensors, path)
        self.batches = _batches(self._plan)
        self._device = Device(load_runtime())
        self._contexts = _Contexts(self._plan, engine, path)
        self._workspace_size = int(self._plan.device_memory_size_v2)
        self._workspace = self._device.memory(max(self._workspace_size, 1))
        self._places = {name: _place(self._device, tensors[name], self.batches[-1]) for name in (_IMAGE, *OUTPUTS)}
        self._ready: dict[int, _Ready] = {}

    def run(self, images: NDArray[np.uint8], score_threshold: float = 0.0) -> Outputs:
        """Answer a batch: uint8 [B, H, W, 3], RGB, at the network's input size; every row, whatever the threshold.

        Raises ``ArtifactError`` for a batch of a size that the plan was not built for.
        """
        batch = len(images)
        if batch not in self.batches:
            raise ArtifactError(
                f"{self._path} was built for batches of {self.batches[0]} to {self.batches[-1]} pictures, but one of "
                f"{batch} came; lower the largest batch of the server, or export again for a larger one"
            )
        self._places[_IMAGE].array(batch)[...] = images
        ready = self._ready.get(batch) or self._make_ready(batch)
        if ready.work is None:
            self._queue(ready.context, batch)
        else:
            self._device.replay(ready.work)
        self._device.wait()
        return Outputs(*(self._places[name].array(batch).copy() for name in OUTPUTS))

    def _make_ready(self, batch: int) -> _Ready:
        """Run once, in which the library does what it does only once, and then record."""
        context = self._contexts.open()
        # All batch sizes compute in the same memory: never two at once.
        context.set_device_memory(self._workspace, self._workspace_size)
        shape = sides(self._places[_IMAGE].spec, batch)
        if not context.set_input_shape(_IMAGE, shape):
            raise ArtifactError(f"{self._path} does not take pictures of the shape {list(shape)}; export again")
        for name, place in self._places.items():
            context.set_tensor_address(name, place.device)
        self._queue(context, batch)
        self._device.wait()
        self._contexts.keep_compiled()
        can_record = self._contexts.can_record(context, self._device.stream)
        work = self._device.record(lambda: self._queue(context, batch)) if can_record else None
        self._ready[batch] = _Ready(context, work)
        return self._ready[batch]

    def _queue(self, context: Any, batch: int) -> None:
        """Pictures to the GPU, the network, answers back."""
        image = self._places[_IMAGE]
        self._device.upload(image.device, image.host.address, size_bytes(image.spec, batch))
        if not context.execute_async_v3(int(self._device.stream)):
            raise ArtifactError(
                f"{self._path} failed on the GPU: {self._contexts.log.reason()}; free its memory, or export again"
            )
        for name in OUTPUTS:
            place = self._places[name]
            self._device.download(place.host.address, place.device, size_bytes(place.spec, batch))


class _Contexts:
    """Makes the contexts that a plan is run in, in memory that is given to them.

    TensorRT-RTX compiles kernels for the GPU and the batch size on the spot and would, unless it is told otherwise,
    run slower ones meanwhile; what it compiled is kept for the next start.
    """

    def __init__(self, plan: Any, engine: Product, path: Path) -> None:
        library = load_library(engine)
        self.log = library_log(engine)
        self._plan = plan
        self._compiles = engine == "tensorrt-rtx"
        self._memory = library.ExecutionContextAllocationStrategy.USER_MANAGED
        if self._compiles:
            self._config = plan.create_runtime_config()
            self._config.set_execution_context_allocation_strategy(self._memory)
            self._config.dynamic_shapes_kernel_specialization_strategy = (
                library.DynamicShapesKernelSpecializationStrategy.EAGER
            )
            self._cache = self._config.create_runtime_cache()
            self._cache_file = cache_folder() / f"{file_sha256(path)}.rtx"
            if self._cache_file.is_file():
                self._cache.deserialize(self._cache_file.read_bytes())  # what another GPU compiled is left aside
            self._config.set_runtime_cache(self._cache)

    def open(self) -> Any:
        """A new context."""
        self.log.clear()
        context = self._plan.create_execution_context(self._config if self._compiles else self._memory)
        if context is None:
            raise ArtifactError(f"the GPU cannot take another batch size: {self.log.reason()}; free its memory")
        return context

    def keep_compiled(self) -> None:
        """Keep the kernels that were compiled up to now. A disk without room costs time at the next start, no more."""
        if self._compiles:
            try:
                with whole_file(self._cache_file) as stream:
                    stream.write(memoryview(self._cache.serialize()))
            except (DataError, OSError) as error:
                LOG.warning("compiled kernels are not kept for the next start: %s", error)

    def can_record(self, context: Any, stream: Any) -> bool:
        """Whether what the context queues can be recorded; TensorRT-RTX cannot where a shape depends on a value."""
        return not self._compiles or bool(context.is_stream_capturable(int(stream)))


def sides(spec: TensorSpec, batch: int) -> tuple[int, ...]:
    """The tensor's shape for a batch."""
    return tuple(batch if isinstance(side, str) else side for side in spec.shape)


def size_bytes(spec: TensorSpec, batch: int) -> int:
    """The bytes of the tensor for a batch."""
    return math.prod(sides(spec, batch)) * np.dtype(spec.dtype).itemsize


def _place(device: Device, spec: TensorSpec, batch: int) -> _Place:
    size = size_bytes(spec, batch)
    return _Place(device.pinned(size), device.memory(size), spec)


def _here(engine: Product) -> dict[str, str]:
    """This machine, in the words of ``built_for``."""
    library, gpu = load_library(engine), find_gpu()
    return {
        "product": engine,
        "version": str(library.__version__),
        "platform": machine_platform(),
        "compute_capability": gpu.compute_capability,
        "gpu": gpu.name,
    }


def _in_words(target: Mapping[str, str]) -> str:
    product, version, system, capability = (target.get(key) or "unknown" for key in _MUST_AGREE)
    gpu = f" ({target['gpu']})" if target.get("gpu") else ""
    return f"{product} {version} on {system} and a GPU of compute capability {capability}{gpu}"


def _deserialised(path: Path, engine: Product) -> Any:
    log = library_log(engine)
    log.clear()
    plan = load_library(engine).Runtime(log).deserialize_cuda_engine(path.read_bytes())
    if plan is None:
        raise ArtifactError(f"{path} cannot be loaded by {engine}: {log.reason()}; export the checkpoint again")
    return plan


def _described(plan: Any) -> dict[str, tuple[str, list[int | None]]]:
    """Each tensor's dtype by numpy's name and its shape, None for open sides."""
    names = [plan.get_tensor_name(index) for index in range(plan.num_io_tensors)]
    return {
        name: (
            numpy_dtype(plan.get_tensor_dtype(name)),
            [None if side < 0 else side for side in plan.get_tensor_shape(name)],
        )
        for name in names
    }


def _batches(plan: Any) -> range:
    smallest, _, largest = plan.get_tensor_profile_shape(_IMAGE, 0)
    return range(smallest[0], largest[0] + 1)
