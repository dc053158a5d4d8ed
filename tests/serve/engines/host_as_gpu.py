"""NVIDIA's libraries at their edge, doing in the host's memory what they do on a GPU: copy, run, record and replay."""

import ctypes
import sys
from collections.abc import Callable, Sequence
from enum import Enum
from functools import partial
from itertools import count
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from scene.artifact import OUTPUTS, TensorSpec
from serve.engines.onnx_engine import OnnxEngine
from serve.engines.tensorrt_library import library_log

OUT_OF_MEMORY = 2


class HostRuntime(ModuleType):
    """What ``cuda.bindings.runtime`` offers an engine. ``failing`` names a call that has no memory left."""

    cudaStreamNonBlocking = 1  # noqa: N815 - the library's own names
    cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2)  # noqa: N815
    cudaStreamCaptureMode = SimpleNamespace(cudaStreamCaptureModeThreadLocal=1)  # noqa: N815

    def __init__(self, capability: str = "8.9") -> None:
        super().__init__("runtime")
        self.capability = capability
        self.devices: tuple[int, int | None] = (0, 1)
        self.failing = ""
        self.held: dict[int, Any] = {}
        self.replays = 0
        self._recording: list[Callable[[], None]] | None = None
        self._handles = count(1)

    def do(self, work: Callable[[], None]) -> None:
        """Do it, or note it while a graph is recorded."""
        if self._recording is None:
            work()
        else:
            self._recording.append(work)

    def cudaGetDeviceCount(self) -> tuple[int, int | None]:  # noqa: N802
        return self.devices

    def cudaGetDeviceProperties(self, _: int) -> tuple[int, Any]:  # noqa: N802
        major, minor = map(int, self.capability.split("."))
        return 0, SimpleNamespace(name=b"Host as GPU\0\0", major=major, minor=minor)

    def cudaGetErrorString(self, status: int) -> tuple[int, bytes]:  # noqa: N802
        return 0, {OUT_OF_MEMORY: b"out of memory", 35: b"driver version is insufficient"}[status]

    def cudaMalloc(self, size: int) -> tuple[int, int | None]:  # noqa: N802
        return self._allocated("cudaMalloc", size)

    def cudaMallocHost(self, size: int) -> tuple[int, int | None]:  # noqa: N802
        return self._allocated("cudaMallocHost", size)

    def cudaStreamCreateWithFlags(self, _: int) -> tuple[int, int]:  # noqa: N802
        return 0, self._kept("stream")

    def cudaFree(self, handle: int) -> tuple[int]:  # noqa: N802
        del self.held[handle]
        return (0,)

    cudaFreeHost = cudaStreamDestroy = cudaGraphExecDestroy = cudaGraphDestroy = cudaFree  # noqa: N815

    def cudaMemcpyAsync(self, target: int, source: int, size: int, kind: int, stream: int) -> tuple[int]:  # noqa: N802
        assert self.held[stream] == "stream"
        self.do(partial(_moved, target, source, size))
        return (0,)

    def cudaStreamBeginCapture(self, _stream: int, _mode: int) -> tuple[int]:  # noqa: N802
        self._recording = []
        return (0,)

    def cudaStreamEndCapture(self, _stream: int) -> tuple[int, int]:  # noqa: N802
        recorded, self._recording = self._recording, None
        return 0, self._kept(recorded)

    def cudaGraphInstantiate(self, graph: int, _flags: int) -> tuple[int, int]:  # noqa: N802
        return 0, self._kept(self.held[graph])

    def cudaGraphLaunch(self, recorded: int, _stream: int) -> tuple[int]:  # noqa: N802
        self.replays += 1
        for work in self.held[recorded]:
            work()
        return (0,)

    def cudaStreamSynchronize(self, _stream: int) -> tuple[int]:  # noqa: N802
        return (0,)

    def _allocated(self, name: str, size: int) -> tuple[int, int | None]:
        if self.failing == name:
            return OUT_OF_MEMORY, None
        buffer = (ctypes.c_uint8 * size)()
        self.held[ctypes.addressof(buffer)] = buffer
        return 0, ctypes.addressof(buffer)

    def _kept(self, thing: Any) -> int:
        handle = next(self._handles)
        self.held[handle] = thing
        return handle


class HostPlan:
    """A plan whose network is an ONNX file on the CPU, built for batches of 1 to ``largest``."""

    device_memory_size_v2 = 64

    def __init__(self, runtime: HostRuntime, graph: Path, tensors: dict[str, TensorSpec], largest: int) -> None:
        self.runtime = runtime
        self.engine = OnnxEngine(graph, tensors, 1)
        self.tensors = tensors
        self.largest = largest
        self.dtypes = {name: spec.dtype for name, spec in tensors.items()}
        self.contexts: list[HostContext] = []
        self.compiled = b""
        self.recordable = True
        self.num_io_tensors = len(tensors)

    def get_tensor_name(self, index: int) -> str:
        return list(self.tensors)[index]

    def get_tensor_dtype(self, name: str) -> Any:
        return SimpleNamespace(name={"float32": "FLOAT"}.get(self.dtypes[name], self.dtypes[name].upper()))

    def get_tensor_shape(self, name: str) -> list[int]:
        return [-1 if isinstance(side, str) else side for side in self.tensors[name].shape]

    def get_tensor_profile_shape(self, name: str, _profile: int) -> list[list[int]]:
        return [[batch, *self.get_tensor_shape(name)[1:]] for batch in (1, 1, self.largest)]

    def create_runtime_config(self) -> Any:
        cache = SimpleNamespace(deserialize=self._take, serialize=lambda: b"kernels")
        return SimpleNamespace(
            create_runtime_cache=lambda: cache,
            set_runtime_cache=lambda _: True,
            set_execution_context_allocation_strategy=lambda _: None,
        )

    def create_execution_context(self, _: Any) -> "HostContext":
        self.contexts.append(HostContext(self))
        return self.contexts[-1]

    def _take(self, compiled: bytes) -> bool:
        self.compiled = compiled
        return True


class HostContext:
    """Answers what lies at the addresses that it was given; ``runs`` counts how often it was asked to."""

    def __init__(self, plan: HostPlan) -> None:
        self.plan = plan
        self.addresses: dict[str, int] = {}
        self.shape: tuple[int, ...] = ()
        self.runs = 0

    def set_device_memory(self, address: int, size: int) -> None:
        assert len(self.plan.runtime.held[address]) >= size

    def set_input_shape(self, _: str, shape: Sequence[int]) -> bool:
        self.shape = tuple(shape)
        return True

    def set_tensor_address(self, name: str, address: int) -> bool:
        self.addresses[name] = address
        return True

    def is_stream_capturable(self, _: int) -> bool:
        return self.plan.recordable

    def execute_async_v3(self, _: int) -> bool:
        self.runs += 1
        self.plan.runtime.do(self._answer)
        return True

    def _answer(self) -> None:
        size = int(np.prod(self.shape))
        images = np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(self.addresses["image"]))
        outputs = self.plan.engine.run(images.reshape(self.shape))
        for name in OUTPUTS:
            values = np.ascontiguousarray(getattr(outputs, name))
            ctypes.memmove(self.addresses[name], values.ctypes.data, values.nbytes)


class Severity(Enum):
    """The library's, as far as a log tells them apart."""

    INTERNAL_ERROR = 0
    ERROR = 1
    WARNING = 2


class HostTensorRt(ModuleType):
    """What ``tensorrt`` and ``tensorrt_rtx`` offer an engine; the file ``b"damaged"`` is no plan."""

    __version__ = "1.7.1.116"
    ExecutionContextAllocationStrategy = SimpleNamespace(USER_MANAGED=2)
    DynamicShapesKernelSpecializationStrategy = SimpleNamespace(EAGER=1)

    class ILogger:
        Severity = Severity

    def __init__(self, plan: HostPlan) -> None:
        super().__init__("tensorrt")
        self.plan = plan

    def init_libnvinfer_plugins(self, _log: Any, _namespace: str) -> bool:
        return True

    def Runtime(self, log: Any) -> Any:  # noqa: N802
        def deserialise(data: bytes) -> HostPlan | None:
            if data != b"damaged":
                return self.plan
            log.log(Severity.WARNING, "there is something")
            log.log(Severity.ERROR, "magic tag\ndoes not match.")
            return None

        return SimpleNamespace(deserialize_cuda_engine=deserialise)


def _moved(target: int, source: int, size: int) -> None:
    ctypes.memmove(target, source, size)


def install(patched: pytest.MonkeyPatch, runtime: HostRuntime | None, library: HostTensorRt | None) -> None:
    """Let imports find them, or find none."""
    bindings = None if runtime is None else ModuleType("bindings")
    if bindings is not None:
        bindings.runtime = runtime  # type: ignore[attr-defined]
    patched.setitem(sys.modules, "cuda.bindings", bindings)  # None stands for no package
    for package in ("tensorrt", "tensorrt_rtx"):
        patched.setitem(sys.modules, package, library)
    library_log.cache_clear()
